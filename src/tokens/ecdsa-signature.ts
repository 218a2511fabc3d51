/** The two numbers of an ECDSA signature as JWTs carry them (r ‖ s, RFC 7518 §3.4), and which of its two spellings is ours. */
import { shapes } from './algorithms.ts'
import type { Algorithm } from '../config/schema.ts'

/** Orders of the curves: SP 800-186 §3.2.1. */
const orders = {
  'P-256': 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  'P-384': 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  'P-521': 0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
} as const

/**
 * Beside (r, s) there is always (r, n − s), which anybody can make and which verifies as well. Our mint writes the lower s,
 * and where nobody else signs only that is taken: a token then has one spelling. Null when nothing is wrong.
 */
export function ecdsaFault (signature: Buffer, algorithm: Algorithm, spellings: 'lower-s' | 'any-s'): string | null {
  const order = orderOf(algorithm)
  if (order === null) return null
  const { r, s } = numbersOf(signature)
  // Zero is what CVE-2022-21449 took for a signature of anything. OpenSSL refuses it too; this costs nothing.
  if (r === 0n || s === 0n || r >= order || s >= order) return 'signature out of range'
  if (spellings === 'lower-s' && s > order / 2n) return 'signature in its other spelling'
  return null
}

/** The token with the lower s; as it is when the algorithm is no ECDSA. */
export function withLowerS (token: string, algorithm: Algorithm): string {
  const order = orderOf(algorithm)
  if (order === null) return token
  const start = token.lastIndexOf('.') + 1
  const signature = Buffer.from(token.slice(start), 'base64url')
  const { s } = numbersOf(signature)
  if (s <= order / 2n) return token
  const half = signature.length / 2
  signature.write((order - s).toString(16).padStart(half * 2, '0'), half, 'hex')
  return token.slice(0, start) + signature.toString('base64url')
}

function orderOf (algorithm: Algorithm): bigint | null {
  const shape = shapes[algorithm]
  return shape.kind === 'ec' ? orders[shape.curve] : null
}

function numbersOf (signature: Buffer): { r: bigint, s: bigint } {
  const half = signature.length / 2
  return { r: BigInt(`0x${signature.toString('hex', 0, half)}`), s: BigInt(`0x${signature.toString('hex', half)}`) }
}
