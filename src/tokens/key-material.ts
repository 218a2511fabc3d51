/** One asymmetric key in the forms it is needed in: PEM to sign and verify with, JWK to publish, thumbprint for a name. */
import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { calculateJwkThumbprint } from 'jose'
import { shapes, type AsymmetricAlgorithm } from './algorithms.ts'
import type { PublicJwk, SigningKey, VerifyingKey } from './key-ring.ts'

export interface KeyMaterial {
  /** RFC 7638 thumbprint of the public key. */
  readonly kid: string
  readonly algorithm: AsymmetricAlgorithm
  /** Null when only the public half is known: it verifies, and never signs. */
  readonly signing: SigningKey | null
  readonly verifying: VerifyingKey
  readonly publicJwk: PublicJwk
}

/** NIST SP 800-57: 128 bits of strength until 2031 and after. */
const rsaBits = 3072
/** RFC 7518 §3.3: a key of 2048 bits or larger MUST be used. */
const leastRsaBits = 2048

const generate = promisify(generateKeyPair)

export async function generatePrivateKey (algorithm: AsymmetricAlgorithm): Promise<KeyObject> {
  const shape = shapes[algorithm]
  switch (shape.kind) {
    case 'ec': return (await generate('ec', { namedCurve: shape.nodeCurve })).privateKey
    case 'okp': return (await generate('ed25519')).privateKey
    case 'rsa': return (await generate('rsa', { modulusLength: rsaBits })).privateKey
    case 'hmac': throw new TypeError(`${algorithm} has no key pair`)
  }
}

/** The public half is always taken from the private one, so that the two cannot disagree. */
export async function materialOf (key: KeyObject, algorithm: AsymmetricAlgorithm, signers: VerifyingKey['signers']): Promise<KeyMaterial> {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  const members = publicMembers(publicKey)
  const kid = await calculateJwkThumbprint(members, 'sha256')
  return {
    kid,
    algorithm,
    signing: key.type === 'private' ? { kid, algorithm, key: String(key.export({ type: 'pkcs8', format: 'pem' })) } : null,
    verifying: { kid, algorithm, key: String(publicKey.export({ type: 'spki', format: 'pem' })), signers },
    publicJwk: { ...members, kid, alg: algorithm, use: 'sig' },
  }
}

/**
 * The algorithm that a key serves: the configured one if it fits, else the one of its type. An answer in words says why
 * the key serves none.
 */
export function algorithmFor (key: KeyObject, configured: AsymmetricAlgorithm): { algorithm: AsymmetricAlgorithm } | { fault: string } {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'ed25519') return { algorithm: 'EdDSA' }
  if (type === 'ec') {
    const fitting = (['ES256', 'ES384', 'ES512'] as const).find((algorithm) => nodeCurveOf(algorithm) === details?.namedCurve)
    if (fitting !== undefined) return { algorithm: fitting }
    return { fault: `is an EC key on the curve ${details?.namedCurve ?? 'unknown'}: use P-256 (ES256), P-384 (ES384) or P-521 (ES512)` }
  }
  if (type === 'rsa') {
    const bits = details?.modulusLength ?? 0
    if (bits < leastRsaBits) return { fault: `is an RSA key of ${bits} bits: use at least ${leastRsaBits} (RFC 7518 §3.3)` }
    return { algorithm: shapes[configured].kind === 'rsa' ? configured : 'RS256' }
  }
  return { fault: `is a key of the type ${type ?? 'unknown'}: use EC, RSA or Ed25519` }
}

function nodeCurveOf (algorithm: AsymmetricAlgorithm): string | null {
  const shape = shapes[algorithm]
  return shape.kind === 'ec' ? shape.nodeCurve : null
}

/** Named one by one: a private member (d, p, q, …) has no way in, whatever the key is. */
function publicMembers (publicKey: KeyObject): Pick<PublicJwk, 'kty' | 'crv' | 'x' | 'y' | 'n' | 'e'> {
  const { kty, crv, x, y, n, e } = publicKey.export({ format: 'jwk' })
  if (kty === 'EC' && crv !== undefined && x !== undefined && y !== undefined) return { kty, crv, x, y }
  if (kty === 'OKP' && crv !== undefined && x !== undefined) return { kty, crv, x }
  if (kty === 'RSA' && n !== undefined && e !== undefined) return { kty, n, e }
  throw new TypeError(`A key of the type ${kty ?? 'unknown'} cannot be published`)
}
