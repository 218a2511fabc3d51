/** A pen that writes any token at all: headers and payloads byte by byte, signed with whatever key it holds. */
import { constants, createHmac, createPrivateKey, sign, type KeyObject } from 'node:crypto'
import { shapes } from '../tokens/algorithms.ts'
import type { SigningKey } from '../tokens/key-ring.ts'

/** What a forger may sign with: the live key of a gateway. */
export type Pen = Pick<SigningKey, 'algorithm' | 'key' | 'kid'>

export function goodHeader (pen: Pen): Record<string, unknown> {
  return { alg: pen.algorithm, typ: 'at+jwt', kid: pen.kid }
}

/** Text and bytes go in as they are; anything else as JSON. */
export function segment (content: unknown): string {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
  return bytes.toString('base64url')
}

/** A token of these contents with a good signature. */
export function forge (pen: Pen, header: unknown, payload: unknown): string {
  return signSegments(pen, segment(header), segment(payload))
}

/** The same for segments that are written already, canonical or not. */
export function signSegments (pen: Pen, header: string, payload: string): string {
  return `${header}.${payload}.${signature(pen, `${header}.${payload}`).toString('base64url')}`
}

/** By node:crypto alone, so that what is tested is not its own witness. */
export function signature (pen: Pick<Pen, 'algorithm' | 'key'>, input: string): Buffer {
  const { algorithm } = pen
  const hash = `sha${algorithm.slice(2)}`
  if (algorithm.startsWith('HS')) return createHmac(hash, pen.key).update(input).digest()
  const key = keyOf(pen.key)
  if (algorithm === 'EdDSA') return sign(null, Buffer.from(input), key)
  const shape = shapes[algorithm]
  if (shape.kind === 'ec') return lowerS(sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }), curveOrders[shape.curve])
  if (algorithm.startsWith('PS')) return sign(hash, Buffer.from(input), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
  return sign(hash, Buffer.from(input), key)
}

let lastKey: { readonly from: string | Buffer, readonly key: KeyObject } | null = null

/** One pen writes thousands of tokens: the last key stays open. */
function keyOf (from: string | Buffer): KeyObject {
  if (lastKey === null || lastKey.from !== from) lastKey = { from, key: createPrivateKey(from) }
  return lastKey.key
}

/** SEC 2, in hex. */
export const curveOrders = {
  'P-256': 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
  'P-384': 'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
  'P-521': '01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409',
} as const

/** Of the two signatures that verify the one that the mint writes: else half of all twists were refused for nothing but this. */
function lowerS (bytes: Buffer, order: string): Buffer {
  const half = bytes.length / 2
  const n = BigInt(`0x${order}`)
  const s = BigInt(`0x${bytes.toString('hex', half)}`)
  return s * 2n <= n ? bytes : Buffer.concat([bytes.subarray(0, half), Buffer.from((n - s).toString(16).padStart(half * 2, '0'), 'hex')])
}
