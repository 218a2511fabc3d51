/** What each signing algorithm is made of (RFC 7518 §3.1, RFC 8037): key type, curve, length of a signature. */
import type { Algorithm } from '../config/schema.ts'

export type HmacAlgorithm = Extract<Algorithm, `HS${string}`>
export type AsymmetricAlgorithm = Exclude<Algorithm, HmacAlgorithm>

export type AlgorithmShape =
  | { readonly kind: 'ec', readonly curve: 'P-256' | 'P-384' | 'P-521', readonly nodeCurve: string, readonly signatureBytes: number }
  | { readonly kind: 'okp', readonly curve: 'Ed25519', readonly signatureBytes: number }
  | { readonly kind: 'rsa' }
  | { readonly kind: 'hmac', readonly signatureBytes: number }

const asymmetricAlgorithms = [
  'ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA',
] as const satisfies readonly AsymmetricAlgorithm[]

const rsa = { kind: 'rsa' } as const

/** One row for each algorithm of the configuration's schema; the type sees to it that none is forgotten. */
export const shapes: Readonly<Record<Algorithm, AlgorithmShape>> = {
  ES256: { kind: 'ec', curve: 'P-256', nodeCurve: 'prime256v1', signatureBytes: 64 },
  ES384: { kind: 'ec', curve: 'P-384', nodeCurve: 'secp384r1', signatureBytes: 96 },
  ES512: { kind: 'ec', curve: 'P-521', nodeCurve: 'secp521r1', signatureBytes: 132 },
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  EdDSA: { kind: 'okp', curve: 'Ed25519', signatureBytes: 64 },
  HS256: { kind: 'hmac', signatureBytes: 32 },
  HS384: { kind: 'hmac', signatureBytes: 48 },
  HS512: { kind: 'hmac', signatureBytes: 64 },
}

/** The algorithm of that name, if it has a key pair. */
export function asymmetricAlgorithm (name: string): AsymmetricAlgorithm | undefined {
  return asymmetricAlgorithms.find((algorithm) => algorithm === name)
}

export function isHmac (algorithm: Algorithm): algorithm is HmacAlgorithm {
  return shapes[algorithm].kind === 'hmac'
}
