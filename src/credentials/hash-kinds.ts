/** A password hash as it stands in somebody's table → its kind, its cost, and whether a password matches it. Bounds on what it may ask. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createRequire } from 'node:module'
import type * as Argon2 from '@node-rs/argon2'
import type * as Bcrypt from '@node-rs/bcrypt'
import apacheMd5 from 'apache-md5'
import { derivedKeyMatches, digestLengths, readDerivedKeyHash, type DerivedKeyHash } from './derived-key-hashes.ts'
import { defaultRounds, shaCrypt } from './sha-crypt.ts'

export type HashKind = 'argon2id' | 'argon2i' | 'argon2d' | 'bcrypt' | 'scrypt' | 'pbkdf2' | 'sha-crypt' | 'md5-crypt' | 'sha1'

export interface ReadableHash {
  readonly kind: HashKind
  /** About how many milliseconds of one core it takes to check: only its order and the bound count. */
  readonly cost: number
  /** Takes that long: for hash-thread.ts alone. */
  matches (password: string): boolean
}

export type HashReading = ReadableHash | { readonly fault: string }

/** Milliseconds of one core: whoever wrote the hash into the table gets no more of this machine for a guess. */
const mostCost = 4_000

/** Binaries, which only those who hash load. */
const load = createRequire(import.meta.url)
const argon2 = () => load('@node-rs/argon2') as Pick<typeof Argon2, 'hashSync' | 'verifySync'>
const bcrypt = () => load('@node-rs/bcrypt') as Pick<typeof Bcrypt, 'verifySync'>

/** The package is CommonJS whose types tell of an ES module: what is imported is the function itself. */
const md5Crypt = apacheMd5 as unknown as (password: string, salt: string) => string

/** PHC string. The library's default kind is argon2id, which RFC 9106 §4 recommends. Takes long: for hash-thread.ts alone. */
export function makeHash (password: string, parameters: Argon2Parameters): string {
  return argon2().hashSync(password, parameters)
}

/** A hash of no kind that is read here, or one out of bounds, is a fault in words that hold nothing of it. */
export function readHash (hash: string): HashReading {
  const read = hash.length > 1024 ? null : readKind(hash)
  if (read === null) return { fault: 'is of no kind that is read here: argon2, bcrypt, scrypt, PBKDF2 (PHC, Django, Werkzeug, ASP.NET Identity), sha-crypt ($5$, $6$), apr1; never DES crypt or plain text' }
  if ('fault' in read) return read
  return read.cost > mostCost ? { fault: `asks for more work than a check may cost (${read.kind})` } : read
}

/** null: no kind that is read here. `crypt` DES and plain text are not, and never will be. */
export function kindOf (hash: string): HashKind | null {
  const read = readHash(hash)
  return 'fault' in read ? null : read.kind
}

function readKind (hash: string): HashReading | null {
  // Django puts the name of its hasher before what the library wrote.
  if (hash.startsWith('argon2$argon2')) return readArgon2(hash.slice('argon2'.length))
  if (hash.startsWith('bcrypt$$')) return readBcrypt(hash.slice('bcrypt$'.length))
  if (hash.startsWith('bcrypt_sha256$$')) return readBcrypt(hash.slice('bcrypt_sha256$'.length), (password) => createHash('sha256').update(password).digest('hex'))
  const derived = readDerivedKeyHash(hash)
  return derived !== null ? readDerived(derived) : readArgon2(hash) ?? readBcrypt(hash) ?? readShaCrypt(hash) ?? readMd5Crypt(hash) ?? readSha1(hash)
}

export interface Argon2Parameters {
  /** KiB. */
  readonly memoryCost: number
  readonly timeCost: number
  readonly parallelism: number
}

/** null for another kind, and for one that is not written as the library writes it. */
export function argon2Parameters (hash: string): Argon2Parameters | null {
  const match = /^\$argon2(?:id|i|d)\$v=(?:16|19)\$m=(\d{1,9}),t=(\d{1,6}),p=(\d{1,6})\$[A-Za-z0-9+/]{11,88}\$[A-Za-z0-9+/]{22,171}$/.exec(hash)
  return match === null ? null : { memoryCost: Number(match[1]), timeCost: Number(match[2]), parallelism: Number(match[3]) }
}

function readArgon2 (hash: string): HashReading | null {
  const parameters = argon2Parameters(hash)
  if (parameters === null) return null
  const { memoryCost, timeCost, parallelism } = parameters
  const kind = hash.slice(1, hash.indexOf('$', 1)) as 'argon2id' | 'argon2i' | 'argon2d'
  if (memoryCost > 1024 * 1024 || timeCost > 64 || parallelism > 16) return { fault: `asks for more than 1 GiB, 64 passes or 16 lanes (${kind})` }
  return {
    kind,
    cost: memoryCost * timeCost / 5_500,
    matches (password) {
      try {
        return argon2().verifySync(hash, password)
      } catch {
        // Malformed in a way that only the library sees.
        return false
      }
    },
  }
}

function readBcrypt (hash: string, before = (password: string) => password): HashReading | null {
  if (!/^\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/.test(hash)) return null
  return {
    kind: 'bcrypt',
    cost: 2 ** Number(hash.slice(4, 6)) * 0.06,
    matches (password) {
      const given = before(password)
      const matches = bcrypt().verifySync(given, hash)
      // bcrypt reads 72 bytes and passes over the rest: then `password` + anything would do for a long password. Refused after the
      // work, or a long guess would be answered sooner where a user is known than where a decoy of another kind is hashed.
      return matches && Buffer.byteLength(given) <= 72
    },
  }
}

function readDerived (hash: DerivedKeyHash): HashReading {
  const matches = (password: string) => derivedKeyMatches(password, hash)
  if (hash.kind === 'pbkdf2') {
    if (hash.iterations < 1) return { fault: 'has no iterations (pbkdf2)' }
    return { kind: 'pbkdf2', cost: hash.iterations * Math.ceil(hash.key.length / digestLengths[hash.digest]) * 0.0005, matches }
  }
  const { n, r, p } = hash
  // RFC 7914 §6: N is a power of two above one.
  if (n < 2 || !Number.isInteger(Math.log2(n)) || r < 1 || p < 1) return { fault: 'has parameters that scrypt does not take' }
  if (128 * n * r > 512 * 1024 ** 2 || r > 64 || p > 64) return { fault: 'asks for more than 512 MiB, a block size of 64 or 64 lanes (scrypt)' }
  return { kind: 'scrypt', cost: n * r * p * 0.00035, matches }
}

function readShaCrypt (hash: string): HashReading | null {
  const match = /^\$([56])\$(?:rounds=(\d{4,9})\$)?([^$:\n]{0,16})\$([./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})$/.exec(hash)
  if (match === null) return null
  const [, kind, written, salt = '', expected = ''] = match
  const rounds = written === undefined ? defaultRounds : Number(written)
  const algorithm = kind === '5' ? 'sha256' : 'sha512'
  // Below a thousand crypt(3) takes a thousand, and then writes that.
  if (rounds < 1_000 || expected.length !== (kind === '5' ? 43 : 86)) return null
  return { kind: 'sha-crypt', cost: rounds * 0.002, matches: (password) => sameText(shaCrypt(password, { algorithm, rounds, salt }), expected) }
}

function readMd5Crypt (hash: string): HashReading | null {
  if (!/^\$(?:apr1|1)\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}$/.test(hash)) return null
  // Of each UTF-16 unit the package takes the low byte alone: to it, `ā` is U+0001. Bytes it takes as they are.
  return { kind: 'md5-crypt', cost: 2, matches: (password) => sameText(md5Crypt(Buffer.from(password).toString('latin1'), hash), hash) }
}

function readSha1 (hash: string): HashReading | null {
  if (!/^\{SHA\}[A-Za-z0-9+/]{27}=$/.test(hash)) return null
  return { kind: 'sha1', cost: 0.01, matches: (password) => sameText(`{SHA}${createHash('sha1').update(password).digest('base64')}`, hash) }
}

function sameText (one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
