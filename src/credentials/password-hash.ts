/** Every kind of password hash that is read, the one that is written, their bounds, and the bulkhead that all go through. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { hash as argon2Hash, verify as argon2Verify } from '@node-rs/argon2'
import { verify as bcryptVerify } from '@node-rs/bcrypt'
import apacheMd5 from 'apache-md5'
import type { Config } from '../config/schema.ts'
import { createBulkhead } from './bulkhead.ts'

export type HashKind = 'argon2id' | 'bcrypt' | 'apr1' | 'sha1'

export interface PasswordHasher {
  /** PHC string, argon2id. */
  hash (password: string): Promise<string>
  /** `matches` is false for a hash that cannot be read. `outdated`: the hash is weaker than what `hash` would make now, or not read. */
  verify (password: string, hash: string): Promise<{ readonly matches: boolean, readonly outdated: boolean }>
  /** As long as `verify` of `like`, or of a hash that `hash` would make now. */
  decoy (password: string, like?: string): Promise<void>
  stats (): { readonly running: number, readonly queued: number, readonly rejected: number }
}

export function createPasswordHasher (config: Config['passwords']): PasswordHasher {
  const bulkhead = createBulkhead(config)
  // In KiB. The library's default kind is argon2id, which RFC 9106 §4 recommends.
  const parameters = { memoryCost: Math.max(8, Math.floor(config.memory / 1024)), timeCost: config.iterations, parallelism: 1 }
  // Made before anybody asks: the first unknown user would else wait for two hashes.
  let own = ownHash()

  async function ownHash (): Promise<string> {
    return await argon2Hash('the password of nobody', parameters)
  }
  own.catch(() => {})

  return {
    hash: async (password) => await bulkhead.run(async () => await argon2Hash(password, parameters)),
    async verify (password, hash) {
      const matches = await bulkhead.run(async () => await verifyHash(password, hash))
      return { matches, outdated: isWeaker(hash, parameters) }
    },
    async decoy (password, like) {
      const hash = like ?? await own.catch(async () => await (own = ownHash()))
      await bulkhead.run(async () => await verifyHash(password, hash))
    },
    stats: bulkhead.stats,
  }
}

/** null: no kind that is read here. `crypt` DES and plain text are not, and never will be. */
export function kindOf (hash: string): HashKind | null {
  if (hash.startsWith('$argon2id$') || hash.startsWith('$argon2i$') || hash.startsWith('$argon2d$')) return 'argon2id'
  if (/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash)) return 'bcrypt'
  if (/^\$apr1\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}$/.test(hash)) return 'apr1'
  if (/^\{SHA\}[A-Za-z0-9+/]{27}=$/.test(hash)) return 'sha1'
  return null
}

async function verifyHash (password: string, hash: string): Promise<boolean> {
  switch (kindOf(hash)) {
    case 'argon2id': {
      const parameters = argon2Parameters(hash)
      if (parameters === null || exceedsBounds(parameters)) return false
      try {
        return await argon2Verify(hash, password)
      } catch {
        return false
      }
    }
    case 'bcrypt':
      // bcrypt reads 72 bytes and passes over the rest: then `password` + anything would do for a long password.
      return Buffer.byteLength(password) <= 72 && Number(hash.slice(4, 6)) <= 16 && await bcryptVerify(password, hash)
    case 'apr1':
      // A thousand rounds of MD5 on this thread: about a millisecond, for files that still have such hashes.
      return sameText(apr1(password, hash), hash)
    case 'sha1':
      return sameText(`{SHA}${createHash('sha1').update(password).digest('base64')}`, hash)
    case null:
      return false
  }
}

interface Argon2Parameters { readonly memoryCost: number, readonly timeCost: number, readonly parallelism: number }

/** What a hash may ask of this machine, whoever wrote it into the table: 1 GiB, 64 passes, 16 lanes. */
function exceedsBounds ({ memoryCost, timeCost, parallelism }: Argon2Parameters): boolean {
  return memoryCost > 1024 * 1024 || timeCost > 64 || parallelism > 16
}

function argon2Parameters (hash: string): Argon2Parameters | null {
  const match = /^\$argon2(?:id|i|d)\$v=\d+\$m=(\d{1,9}),t=(\d{1,6}),p=(\d{1,6})\$/.exec(hash)
  return match === null ? null : { memoryCost: Number(match[1]), timeCost: Number(match[2]), parallelism: Number(match[3]) }
}

function isWeaker (hash: string, wanted: Argon2Parameters): boolean {
  if (!hash.startsWith('$argon2id$')) return true
  const parameters = argon2Parameters(hash)
  return parameters === null || exceedsBounds(parameters) || parameters.memoryCost < wanted.memoryCost || parameters.timeCost < wanted.timeCost
}

/** The package is CommonJS whose types tell of an ES module: what is imported is the function itself. */
const apr1 = apacheMd5 as unknown as (password: string, salt: string) => string

function sameText (one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
