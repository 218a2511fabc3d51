/** A pen that writes any token at all: headers and payloads byte by byte, signed with whatever key it holds. */
import { constants, createHmac, createPrivateKey, sign } from 'node:crypto'
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
  const key = createPrivateKey(pen.key)
  if (algorithm === 'EdDSA') return sign(null, Buffer.from(input), key)
  if (algorithm.startsWith('ES')) return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  if (algorithm.startsWith('PS')) return sign(hash, Buffer.from(input), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
  return sign(hash, Buffer.from(input), key)
}
