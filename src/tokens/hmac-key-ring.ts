/** The key ring of HS…: one configured secret, never published, never beside an asymmetric key. */
import { createHmac } from 'node:crypto'
import { StartupFault } from '../errors.ts'
import { shapes, type HmacAlgorithm } from './algorithms.ts'
import type { KeyRing, SigningKey, VerifyingKey } from './key-ring.ts'

/**
 * The key is the bytes of the text as it is written (UTF-8), as every JWT library reads a secret: whoever else checks these
 * tokens uses the same text. Hex is measured by what it encodes; RFC 7518 §3.2 wants as many bytes as the hash has.
 * Throws a StartupFault for a secret that is absent, too short, or no secret at all but a key others may know.
 */
export function openHmacKeyRing (options: { algorithm: HmacAlgorithm, secret: string | undefined, directory: string | undefined }): KeyRing {
  const { algorithm, secret, directory } = options
  if (directory !== undefined) throw new StartupFault(`keys.directory holds key pairs, and accessToken.algorithm is ${algorithm}, which signs with accessToken.secret: remove one of the two`)
  const key = secretBytes(algorithm, secret)
  // Names the secret without telling of it; the same in every process.
  const kid = createHmac('sha256', key).update('gatewarden/v1/kid').digest('base64url')
  const signing: SigningKey = { kid, algorithm, key }
  const verifying: VerifyingKey = { kid, algorithm, key, signers: 'others-too' }

  return {
    signingKey: () => signing,
    verifyingKey: (asked) => asked === kid ? verifying : undefined,
    publicKeys: () => [],
    list: () => [{ kid, algorithm, state: 'signing', createdAt: null, activatesAt: null, expiresAt: null }],
    async rotate () {
      throw new StartupFault(`${algorithm} signs with accessToken.secret: change it there. Every access token that is out becomes invalid, and clients refresh`)
    },
    async maintain () {},
    async reload () {},
    onChange () {},
    close () {},
  }
}

function secretBytes (algorithm: HmacAlgorithm, secret: string | undefined): Buffer {
  const least = shapes[algorithm].kind === 'hmac' ? shapes[algorithm].signatureBytes : Infinity
  const remedy = `${algorithm} needs at least ${least} random bytes; make them with: node -p "crypto.randomBytes(${least}).toString('base64url')"`
  if (secret === undefined) throw new StartupFault(`accessToken.secret is missing: ${remedy}`)
  // A public key as an HMAC secret is how RS… is forged as HS…: everybody has it (fast-jwt GHSA-g3jj-5cmm-3hxx, GHSA-ww5h-9m49-7xx4).
  if (secret.includes('-----BEGIN ') || /"kty"\s*:/.test(secret)) throw new StartupFault(`accessToken.secret is a key in PEM or JWK form, not a secret: ${remedy}`)
  const bytes = /^(?:[0-9a-f]{2})+$/i.test(secret) ? secret.length / 2 : Buffer.byteLength(secret)
  if (bytes < least) throw new StartupFault(`accessToken.secret holds ${bytes} bytes: ${remedy}`)
  return Buffer.from(secret)
}
