/** SHA-crypt, `$5$` and `$6$` (Unix crypt using SHA-256 and SHA-512, U. Drepper, version 0.6): the hash that a password gives. */
import { hash as digest } from 'node:crypto'

/** Without `rounds=` in the hash. */
export const defaultRounds = 5_000

export interface ShaCrypt {
  readonly algorithm: 'sha256' | 'sha512'
  readonly rounds: number
  /** At most 16 bytes. */
  readonly salt: string
}

/** The last part of the hash. The steps are numbered as in the specification. */
export function shaCrypt (password: string, { algorithm, rounds, salt: saltText }: ShaCrypt): string {
  const key = Buffer.from(password)
  const salt = Buffer.from(saltText)
  const sum = (...parts: readonly Uint8Array[]) => digest(algorithm, Buffer.concat(parts), 'buffer')

  // 4–8
  const b = sum(key, salt, key)
  // 1–3, 9–12
  const bits: Buffer[] = []
  for (let length = key.length; length > 0; length >>= 1) bits.push((length & 1) === 1 ? b : key)
  let c = sum(key, salt, repeated(b, key.length), ...bits)
  // 13–16, 17–20
  const p = repeated(sum(...Array.from(key, () => key)), key.length)
  const s = repeated(sum(...Array.from({ length: 16 + (c[0] ?? 0) }, () => salt)), salt.length)

  // 21: one buffer for all rounds, as long as the longest needs.
  const input = Buffer.allocUnsafe(2 * p.length + s.length + c.length)
  for (let round = 0; round < rounds; round++) {
    const odd = (round & 1) === 1
    let length = (odd ? p : c).copy(input)
    if (round % 3 !== 0) length += s.copy(input, length)
    if (round % 7 !== 0) length += p.copy(input, length)
    length += (odd ? c : p).copy(input, length)
    c = digest(algorithm, input.subarray(0, length), 'buffer')
  }
  return inOrder(c, algorithm === 'sha256' ? order256 : order512)
}

function repeated (block: Buffer, length: number): Buffer {
  return Buffer.alloc(length, block)
}

/** 22: three bytes a time, in a shuffled order that the specification lists; -1 stands for none. */
const order256 = [
  [0, 10, 20], [21, 1, 11], [12, 22, 2], [3, 13, 23], [24, 4, 14], [15, 25, 5], [6, 16, 26], [27, 7, 17], [18, 28, 8], [9, 19, 29],
  [-1, 31, 30],
] as const
const order512 = [
  [0, 21, 42], [22, 43, 1], [44, 2, 23], [3, 24, 45], [25, 46, 4], [47, 5, 26], [6, 27, 48], [28, 49, 7], [50, 8, 29], [9, 30, 51],
  [31, 52, 10], [53, 11, 32], [12, 33, 54], [34, 55, 13], [56, 14, 35], [15, 36, 57], [37, 58, 16], [59, 17, 38], [18, 39, 60],
  [40, 61, 19], [62, 20, 41], [-1, -1, 63],
] as const

const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function inOrder (bytes: Buffer, order: readonly (readonly number[])[]): string {
  let text = ''
  for (const places of order) {
    let value = places.reduce((sum, place) => sum * 256 + (bytes[place] ?? 0), 0)
    const characters = 4 - places.filter((place) => place === -1).length
    for (let count = 0; count < characters; count++) {
      text += alphabet.charAt(value % 64)
      value = Math.floor(value / 64)
    }
  }
  return text
}
