/** Another issuer's JWKS → the keys of it that may verify tokens (RFC 7517, RFC 8725 §3.5); what may not is dropped, with the reason. */
import { KeyObject } from 'node:crypto'
import { importJWK } from 'jose'
import { asymmetricAlgorithm, shapes, type AsymmetricAlgorithm } from './algorithms.ts'
import { algorithmFor } from './key-material.ts'
import type { PublicJwk, VerifyingKey } from './key-ring.ts'
import { isName } from './own-claims.ts'

export interface IssuerKey {
  readonly verifying: VerifyingKey
  /** Public members alone, as it may be kept. */
  readonly jwk: PublicJwk
}

export interface KeySet {
  readonly keys: readonly IssuerKey[]
  readonly dropped: readonly DroppedKey[]
}

export interface DroppedKey {
  /** Cut short; null for none. */
  readonly kid: string | null
  readonly why: string
}

/** An issuer has a handful. Each costs an import, and each fetch imports all. */
const mostKeys = 100
/** Verifying by a larger key costs milliseconds, on every new token. */
const mostRsaBits = 8192

/** `{fault}` for what is no JWKS at all: then the keys before go on. */
export async function readKeySet (value: unknown, algorithms: readonly AsymmetricAlgorithm[]): Promise<KeySet | { readonly fault: string }> {
  const listed = typeof value === 'object' && value !== null && 'keys' in value ? value.keys : undefined
  if (!Array.isArray(listed)) return { fault: 'is no JWKS' }
  if (listed.length > mostKeys) return { fault: `holds ${listed.length} keys` }
  const keys: IssuerKey[] = []
  const dropped: DroppedKey[] = []
  for (const jwk of listed as unknown[]) {
    const read = await readKey(jwk, algorithms)
    if ('why' in read) dropped.push(read)
    else keys.push(read)
  }
  return { keys: keys.filter(isAlone(keys, dropped)), dropped }
}

/** Of two keys under one kid and algorithm it cannot be told which one is meant. */
function isAlone (keys: readonly IssuerKey[], dropped: DroppedKey[]) {
  return ({ verifying: { kid, algorithm } }: IssuerKey): boolean => {
    const alone = keys.filter(({ verifying }) => verifying.kid === kid && verifying.algorithm === algorithm).length === 1
    if (!alone) dropped.push({ kid: short(kid), why: 'shares its kid with another key' })
    return alone
  }
}

async function readKey (jwk: unknown, algorithms: readonly AsymmetricAlgorithm[]): Promise<IssuerKey | DroppedKey> {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) return { kid: null, why: 'is no object' }
  const members = jwk as Readonly<Record<string, unknown>>
  const kid = isName(members['kid']) ? members['kid'] : null
  const drop = (why: string): DroppedKey => ({ kid: kid === null ? null : short(kid), why })
  if (kid === null) return drop('has no usable kid')
  // Whoever publishes these has lost the key: anybody who read them can sign.
  if (privateMembers.some((name) => Object.hasOwn(members, name))) return drop('holds private members: whoever reads it can sign')
  if (members['use'] !== undefined && members['use'] !== 'sig') return drop('is for another use than signatures')
  if (members['key_ops'] !== undefined && !(Array.isArray(members['key_ops']) && members['key_ops'].includes('verify'))) return drop('is for other operations than to verify')
  const algorithm = algorithmOf(members, algorithms)
  if (algorithm === null) return drop('is for no algorithm that is taken of this issuer')
  const publicJwk = publicMembers(members, kid, algorithm)
  if (publicJwk === null) return drop('lacks a member, or has one that is not canonical base64url')
  try {
    const { kty, crv, x, y, n, e } = publicJwk
    const imported = await importJWK({ kty, ...(crv && { crv }), ...(x && { x }), ...(y && { y }), ...(n && { n }), ...(e && { e }) }, algorithm, { extractable: true })
    if (imported instanceof Uint8Array) return drop('is a symmetric key')
    const key = KeyObject.from(imported)
    const fault = strengthFault(key, algorithm)
    if (fault !== null) return drop(fault)
    return { jwk: publicJwk, verifying: Object.freeze<VerifyingKey>({ kid, algorithm, key: String(key.export({ type: 'spki', format: 'pem' })), signers: 'others-too' }) }
  } catch {
    return drop('is no valid key')
  }
}

/** `k` is a symmetric key (`oct`); the others are the private half of a pair. */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'] as const

/**
 * One algorithm a key, and never the token's choice (RFC 8725 §3.1). A key that names none serves the first configured one
 * that fits it.
 */
function algorithmOf ({ kty, crv, alg }: Readonly<Record<string, unknown>>, algorithms: readonly AsymmetricAlgorithm[]): AsymmetricAlgorithm | null {
  const fits = (algorithm: AsymmetricAlgorithm): boolean => {
    const shape = shapes[algorithm]
    switch (shape.kind) {
      case 'rsa': return kty === 'RSA'
      case 'ec': return kty === 'EC' && crv === shape.curve
      case 'okp': return kty === 'OKP' && crv === shape.curve
      case 'hmac': return false
    }
  }
  if (alg === undefined) return algorithms.find(fits) ?? null
  const named = typeof alg === 'string' ? asymmetricAlgorithm(alg) : undefined
  return named !== undefined && algorithms.includes(named) && fits(named) ? named : null
}

function publicMembers ({ kty, crv, x, y, n, e }: Readonly<Record<string, unknown>>, kid: string, alg: AsymmetricAlgorithm): PublicJwk | null {
  const common = { kid, alg, use: 'sig' } as const
  if (kty === 'RSA') return isBytes(n) && isBytes(e) ? { kty, n, e, ...common } : null
  if (kty === 'EC') return isBytes(x) && isBytes(y) ? { kty, crv: String(crv), x, y, ...common } : null
  if (kty === 'OKP') return isBytes(x) && !smallOrder.has(x) ? { kty, crv: String(crv), x, ...common } : null
  return null
}

/**
 * Points of small order: under such an Ed25519 key a signature can be made for any message without a private key, and OpenSSL
 * takes them (RFC 8032 §5.1.7 checks with the cofactor). Canonical encodings, and those of x = 0 with the sign set.
 */
const smallOrder: ReadonlySet<string> = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000080',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
].map((hex) => Buffer.from(hex, 'hex').toString('base64url')))

function isBytes (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 4096 && Buffer.from(value, 'base64url').toString('base64url') === value
}

function strengthFault (key: KeyObject, algorithm: AsymmetricAlgorithm): string | null {
  const served = algorithmFor(key, algorithm)
  if ('fault' in served) return served.fault
  if (served.algorithm !== algorithm) return 'is not of the type that its algorithm needs'
  const { modulusLength = 0, publicExponent = 65_537n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength > mostRsaBits) return `is an RSA key of ${modulusLength} bits: more than ${mostRsaBits} cost too much to verify by`
  // With 1 everything is its own signature. FIPS 186-5 §A.1.1: odd, and above 2^16.
  if (publicExponent < 65_537n || publicExponent % 2n === 0n || publicExponent > 0xffffffffn) return 'has a weak RSA exponent'
  return null
}

function short (kid: string): string {
  return kid.length > 64 ? `${kid.slice(0, 63)}…` : kid
}
