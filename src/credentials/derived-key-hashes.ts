/** scrypt and PBKDF2 as they stand in tables: PHC strings, passlib's, Django's, Werkzeug's, and ASP.NET Identity's bytes. */
import { pbkdf2Sync, scryptSync, timingSafeEqual } from 'node:crypto'

export type DerivedKeyHash =
  | { readonly kind: 'scrypt', readonly n: number, readonly r: number, readonly p: number, readonly salt: Buffer, readonly key: Buffer }
  | { readonly kind: 'pbkdf2', readonly digest: Digest, readonly iterations: number, readonly salt: Buffer, readonly key: Buffer }

type Digest = 'sha1' | 'sha256' | 'sha512'

/**
 * Bytes, as these tools write them. To an empty key every password would do, and the beginning of a PBKDF2 key is the key of that
 * length: what a column has cut off is no hash.
 */
const keyLengths: readonly number[] = [16, 20, 24, 32, 48, 64]

/** null for what is of neither kind. */
export function readDerivedKeyHash (hash: string): DerivedKeyHash | null {
  const read = readPhc(hash) ?? whole(readDjango(hash) ?? readWerkzeug(hash)) ?? readAspNet(hash)
  return read !== null && keyLengths.includes(read.key.length) ? read : null
}

export const digestLengths: Readonly<Record<Digest, number>> = { sha1: 20, sha256: 32, sha512: 64 }

/** Django and Werkzeug have PBKDF2 make as many bytes as the digest has. */
function whole (read: DerivedKeyHash | null): DerivedKeyHash | null {
  return read?.kind === 'pbkdf2' && read.key.length !== digestLengths[read.digest] ? null : read
}

/** Takes as long as the hash asks for. */
export function derivedKeyMatches (password: string, hash: DerivedKeyHash): boolean {
  return timingSafeEqual(derive(password, hash), hash.key)
}

function derive (password: string, hash: DerivedKeyHash): Buffer {
  if (hash.kind === 'pbkdf2') return pbkdf2Sync(password, hash.salt, hash.iterations, hash.key.length, hash.digest)
  const { n, r, p } = hash
  return scryptSync(password, hash.salt, hash.key.length, { N: n, r, p, maxmem: 128 * r * (n + p + 2) + 1024 })
}

function readPhc (hash: string): DerivedKeyHash | null {
  const ofScrypt = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,6}),p=(\d{1,6})\$([A-Za-z0-9+/]*)\$([A-Za-z0-9+/]+)$/.exec(hash)
  if (ofScrypt !== null) {
    const [, ln, r, p, salt = '', key = ''] = ofScrypt
    return { kind: 'scrypt', n: 2 ** Number(ln), r: Number(r), p: Number(p), salt: base64(salt), key: base64(key) }
  }
  // passlib writes the rounds alone, and `.` for `+`.
  const ofPbkdf2 = /^\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?(\d{1,10})(?:,l=\d{1,3})?\$([A-Za-z0-9+./]*)\$([A-Za-z0-9+./]+)$/.exec(hash)
  if (ofPbkdf2 === null) return null
  const [, digest = 'sha1', iterations, salt = '', key = ''] = ofPbkdf2
  return { kind: 'pbkdf2', digest: digest as Digest, iterations: Number(iterations), salt: base64(salt), key: base64(key) }
}

function readDjango (hash: string): DerivedKeyHash | null {
  const ofPbkdf2 = /^pbkdf2_(sha1|sha256)\$(\d{1,10})\$([^$]*)\$([A-Za-z0-9+/]+={0,2})$/.exec(hash)
  if (ofPbkdf2 !== null) {
    const [, digest, iterations, salt = '', key = ''] = ofPbkdf2
    return { kind: 'pbkdf2', digest: digest as Digest, iterations: Number(iterations), salt: Buffer.from(salt), key: base64(key) }
  }
  const ofScrypt = /^scrypt\$(\d{1,10})\$([^$]*)\$(\d{1,6})\$(\d{1,6})\$([A-Za-z0-9+/]+={0,2})$/.exec(hash)
  if (ofScrypt === null) return null
  const [, n, salt = '', r, p, key = ''] = ofScrypt
  return { kind: 'scrypt', n: Number(n), r: Number(r), p: Number(p), salt: Buffer.from(salt), key: base64(key) }
}

function readWerkzeug (hash: string): DerivedKeyHash | null {
  const ofPbkdf2 = /^pbkdf2:(sha1|sha256|sha512):(\d{1,10})\$([^$]*)\$((?:[0-9a-f]{2})+)$/.exec(hash)
  if (ofPbkdf2 !== null) {
    const [, digest, iterations, salt = '', key = ''] = ofPbkdf2
    return { kind: 'pbkdf2', digest: digest as Digest, iterations: Number(iterations), salt: Buffer.from(salt), key: Buffer.from(key, 'hex') }
  }
  const ofScrypt = /^scrypt:(\d{1,10}):(\d{1,6}):(\d{1,6})\$([^$]*)\$((?:[0-9a-f]{2})+)$/.exec(hash)
  if (ofScrypt === null) return null
  const [, n, r, p, salt = '', key = ''] = ofScrypt
  return { kind: 'scrypt', n: Number(n), r: Number(r), p: Number(p), salt: Buffer.from(salt), key: Buffer.from(key, 'hex') }
}

/** KeyDerivationPrf of ASP.NET Core, by its number. */
const prfs = ['sha1', 'sha256', 'sha512'] as const

/** Version 2: 00, 16 bytes of salt, 32 of key. Version 3: 01, PRF, iterations and length of the salt (four bytes each), salt, key. */
function readAspNet (hash: string): DerivedKeyHash | null {
  if (!/^A[A-Za-z0-9+/]{39,400}={0,2}$/.test(hash)) return null
  const bytes = base64(hash)
  if (bytes[0] === 0 && bytes.length === 49) {
    return { kind: 'pbkdf2', digest: 'sha1', iterations: 1_000, salt: bytes.subarray(1, 17), key: bytes.subarray(17) }
  }
  if (bytes[0] !== 1 || bytes.length < 13) return null
  const digest = prfs[bytes.readUInt32BE(1)]
  const saltLength = bytes.readUInt32BE(9)
  if (digest === undefined || saltLength < 16 || saltLength > bytes.length - 13) return null
  return { kind: 'pbkdf2', digest, iterations: bytes.readUInt32BE(5), salt: bytes.subarray(13, 13 + saltLength), key: bytes.subarray(13 + saltLength) }
}

/** Nothing, for what is not written as an encoder writes it. */
function base64 (text: string): Buffer {
  const plain = text.replaceAll('.', '+')
  const bytes = Buffer.from(plain, 'base64')
  return bytes.toString('base64').replace(/(?<!=)=+$/, '') === plain.replace(/(?<!=)=+$/, '') ? bytes : Buffer.alloc(0)
}
