/** The one kind of password hash that is written, the check of every kind that is read, and the bulkhead that all go through. */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { Config } from '../config/schema.ts'
import { createHelperThreads } from '../helper-thread.ts'
import { createBulkhead } from './bulkhead.ts'
import { argon2Parameters, readHash, type Argon2Parameters } from './hash-kinds.ts'
import type { HashTask } from './hash-thread.ts'

export interface PasswordHasher {
  /** PHC string, argon2id. */
  hash (password: string): Promise<string>
  /** `matches` is false for a hash that cannot be read. `outdated`: the hash is weaker than what `hash` would make now, or not read. */
  verify (password: string, hash: string): Promise<{ readonly matches: boolean, readonly outdated: boolean }>
  /** As long as `verify` of `like`, or of a hash that `hash` would make now. */
  decoy (password: string, like?: string): Promise<void>
  /** Throws GW_UNAVAILABLE where one more would be turned away. */
  assertRoom (): void
  stats (): { readonly running: number, readonly queued: number, readonly rejected: number }
}

/** One set for the process: an application after a reload goes on with those that are there. */
const threads = createHelperThreads<HashTask, string | boolean>('credentials/hash-thread')

/** `cores`: no more hashes run at a time. Each goes through megabytes, and two on one core would push each other out of its caches. */
export function createPasswordHasher (config: Config['passwords'], cores = availableParallelism()): PasswordHasher {
  const bulkhead = createBulkhead({ ...config, concurrency: Math.min(config.concurrency, cores) })
  // In KiB.
  const parameters = { memoryCost: Math.max(8, Math.floor(config.memory / 1024)), timeCost: config.iterations, parallelism: 1 }
  const nobodys = hashOfNothing(parameters)

  async function check (password: string, hash: string): Promise<boolean> {
    return await bulkhead.run(async () => await threads.run({ what: 'verify', password, hash })) === true
  }

  return {
    hash: async (password) => String(await bulkhead.run(async () => await threads.run({ what: 'make', password, parameters }))),
    verify: async (password, hash) => ({ matches: await check(password, hash), outdated: isWeaker(hash, parameters) }),
    decoy: async (password, like) => { await check(password, like ?? nobodys) },
    assertRoom: bulkhead.assertRoom,
    stats: bulkhead.stats,
  }
}

/** Takes as long as any hash of these parameters, and is that of no password that anybody knows. */
function hashOfNothing ({ memoryCost, timeCost, parallelism }: Argon2Parameters): string {
  const random = (bytes: number) => randomBytes(bytes).toString('base64').replaceAll('=', '')
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${random(16)}$${random(32)}`
}

function isWeaker (hash: string, wanted: Argon2Parameters): boolean {
  if (!hash.startsWith('$argon2id$') || 'fault' in readHash(hash)) return true
  const parameters = argon2Parameters(hash)
  return parameters === null || parameters.memoryCost < wanted.memoryCost || parameters.timeCost < wanted.timeCost
}
