/**
 * Failed logins, counted in storage: by account, by address, and the growing delays that follow. Nobody is locked out: an
 * account that strangers guess at stays open to the addresses it has logged in from.
 */
import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { sql } from 'kysely'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Database } from '../storage/database.ts'
import { nameKey } from './user-name.ts'

export interface Attempt {
  /** The name as it was typed. */
  readonly account: string
  readonly address: string
}

export interface Throttle {
  /**
   * Counts the attempt as a failure, before the password is looked at, so that of a thousand guesses in parallel no more get
   * through than of a thousand in a row. Throws GW_TOO_MANY_ATTEMPTS, for known and unknown names alike.
   */
  admit (attempt: Attempt): Promise<void>
  /** The attempt stays counted. */
  failed (attempt: Attempt): Promise<void>
  /** Takes the attempt back, and remembers where the account's owner comes from. */
  succeeded (attempt: Attempt): Promise<void>
  /** Forgets what no longer counts. */
  clean (): Promise<void>
}

export interface ThrottleOptions {
  readonly db: Database
  readonly config: Config['throttle']
  readonly now: () => number
}

/** Milliseconds that an address stays known to an account after its last success. */
const KNOWN_FOR = 90 * 24 * 3_600_000

export function createThrottle ({ db, config, now }: ThrottleOptions): Throttle {
  /** The counters of an attempt and how many failures each takes before it delays. */
  async function countersOf (attempt: Attempt) {
    const account = hashed(nameKey(attempt.account))
    const address = addressGroup(attempt.address)
    const origin = hashed(account, address)
    const known = await db.selectFrom('known_origins').select('key')
      .where('key', '=', origin).where('last_success_at', '>', now() - KNOWN_FOR).executeTakeFirst()
    // From where the owner is known to come, the guesses of strangers do not count; neither do that address's other users'.
    return known === undefined
      ? { origin, keys: [{ key: `account:${account}`, free: config.attempts }, { key: `address:${address}`, free: config.attemptsPerAddress }] }
      : { origin, keys: [{ key: `origin:${origin}`, free: config.attempts }] }
  }

  async function admit (attempt: Attempt): Promise<void> {
    const time = now()
    const { keys } = await countersOf(attempt)
    const blockedUntil = await db.transaction().execute(async (transaction) => {
      const rows = await transaction.selectFrom('login_attempts').selectAll().where('key', 'in', keys.map(({ key }) => key)).execute()
      const blocked = Math.max(0, ...rows.map((row) => Math.min(row.blocked_until, time + config.maximumDelay)))
      // Not counted: waiting would else never end for somebody whose client tries again too early.
      if (blocked > time) return blocked
      for (const { key, free } of keys) {
        const row = rows.find((one) => one.key === key)
        const failures = row === undefined || time - row.last_failure_at > config.window ? 1 : row.failures + 1
        const blocked_until = time + delay(failures - free)
        await transaction.insertInto('login_attempts').values({ key, failures, last_failure_at: time, blocked_until })
          .onConflict((conflict) => conflict.column('key').doUpdateSet({ failures, last_failure_at: time, blocked_until }))
          .execute()
      }
      return 0
    })
    if (blockedUntil > 0) {
      throw new Refusal('GW_TOO_MANY_ATTEMPTS', { retryAfterSeconds: Math.max(1, Math.ceil((blockedUntil - time) / 1000)) })
    }
  }

  /** 0 up to `attempts` failures; then the first delay, and twice the one before for each further failure. */
  function delay (excess: number): number {
    return excess < 0 ? 0 : Math.min(config.maximumDelay, config.delay * 2 ** Math.min(excess, 40))
  }

  async function succeeded (attempt: Attempt): Promise<void> {
    const time = now()
    const { origin, keys } = await countersOf(attempt)
    await db.transaction().execute(async (transaction) => {
      await transaction.insertInto('known_origins').values({ key: origin, last_success_at: time })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ last_success_at: time })).execute()
      for (const { key } of keys) {
        // The owner's own count begins anew. Of a shared one only this attempt is taken back: whoever has one password
        // of their own would else wash away the traces of all their guesses at others'.
        if (key.startsWith('origin:')) {
          await transaction.deleteFrom('login_attempts').where('key', '=', key).execute()
        } else {
          await transaction.updateTable('login_attempts').set({ failures: sql`failures - 1`, blocked_until: 0 })
            .where('key', '=', key).where('failures', '>', 0).execute()
        }
      }
    })
  }

  return {
    admit: available(admit),
    async failed () {},
    succeeded: available(succeeded),
    async clean () {
      await db.deleteFrom('login_attempts').where('last_failure_at', '<', now() - config.window - config.maximumDelay).execute()
      await db.deleteFrom('known_origins').where('last_success_at', '<', now() - KNOWN_FOR).execute()
    },
  }
}

/** A name, and a password typed into the field of the name, stay out of the storage. */
function hashed (...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

/** Whoever has one IPv6 address has the /64 around it. */
function addressGroup (address: string): string {
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
  if (!isIPv6(plain)) return plain
  const [head = '', tail = ''] = plain.replace(/%.*$/, '').split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === '' ? [] : tail.split(':')
  const groups = plain.includes('::') ? [...first, ...new Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0'), ...last] : first
  return `${groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}

function available (work: (attempt: Attempt) => Promise<void>): (attempt: Attempt) => Promise<void> {
  return async (attempt) => {
    try {
      await work(attempt)
    } catch (error) {
      if (error instanceof Refusal) throw error
      throw new Refusal('GW_UNAVAILABLE', { reason: 'storage', cause: error, retryAfterSeconds: 2 })
    }
  }
}
