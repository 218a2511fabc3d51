/** The one kind of password hash that is written, the check of every kind that is read, and the bulkhead that all go through. */
import { hash as argon2Hash } from '@node-rs/argon2'
import type { Config } from '../config/schema.ts'
import { createBulkhead } from './bulkhead.ts'
import { argon2Parameters, readHash, type Argon2Parameters } from './hash-kinds.ts'

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

async function verifyHash (password: string, hash: string): Promise<boolean> {
  const read = readHash(hash)
  return !('fault' in read) && await read.matches(password)
}

function isWeaker (hash: string, wanted: Argon2Parameters): boolean {
  if (!hash.startsWith('$argon2id$') || 'fault' in readHash(hash)) return true
  const parameters = argon2Parameters(hash)
  return parameters === null || parameters.memoryCost < wanted.memoryCost || parameters.timeCost < wanted.timeCost
}
