/**
 * Failed logins, counted in storage: by account, by address and in all, and the growing delays that follow. Nobody is locked out:
 * an account that strangers guess at stays open to the addresses it has logged in from, whatever the other counts say.
 */
import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { sql } from 'kysely'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { step } from '../steps.ts'
import type { Database } from '../storage/database.ts'
import { lockAlone, statementUnder } from '../storage/locks.ts'
import { prepareQuery } from '../storage/prepared-query.ts'
import { inSmallBatches } from '../storage/small-batches.ts'
import { nameKey } from './user-name.ts'

export interface Attempt {
  /** The name as it was typed. */
  readonly account: string
  readonly address: string
}

export interface Throttle {
  /**
   * Runs `check` unless too many attempts have failed: then GW_TOO_MANY_ATTEMPTS, for known and unknown names alike. The attempt
   * is counted before it is checked, so that of a thousand guesses at once no more get through than of a thousand in a row, and
   * taken back if it was right, or if nobody could tell. Where those under way fill the count, it waits for their decision: whoever
   * logs in twenty times at once is let in twenty times.
   */
  guard<Result> (attempt: Attempt, check: () => Promise<Result>, isRight: (result: Result) => boolean): Promise<Result>
  /** Forgets what no longer counts, in small batches until `stopping` is aborted. */
  clean (stopping?: AbortSignal): Promise<void>
}

export interface ThrottleOptions {
  readonly db: Database
  readonly config: Config['throttle']
  readonly now: () => number
  /** By which rows are deleted for good; as `now` where nothing is said. */
  readonly settledNow?: () => number
}

/** For the log; the caller is told the same of each. */
const reasons: Readonly<Record<Counter['kind'], string>> = {
  account: 'of this account',
  address: 'from this address',
  origin: 'of this account from this address',
  all: 'of all accounts from all addresses together',
}

/** Milliseconds that an address stays known to an account after its last success. */
const KNOWN_FOR = 90 * 24 * 3_600_000

/** Milliseconds after which it is written anew that an address is known: not at each login. */
const KNOWN_ANEW = 24 * 3_600_000

/** Milliseconds that a login waits for those before it, and then for one turn of a slow storage at most. */
const LONGEST_WAIT = 10_000

/** What an attempt is counted by, how many failures that takes before it delays, and how long it delays at most. */
interface Counter {
  readonly kind: 'account' | 'address' | 'origin' | 'all'
  readonly key: string
  readonly free: number
  readonly longest: number
}

export function createThrottle ({ db, config, now, settledNow = now }: ThrottleOptions): Throttle {
  const undecided = createUndecided()
  // One after the other from the look at the count to the entry: of two at once, the one that is too many knows of the other.
  const inTurn = createTurns()

  /** Milliseconds since the epoch; null for an address that the account has not logged in from. */
  async function lastSuccess (origin: string): Promise<number | null> {
    const { rows: [known] } = await knownOrigin({ origin, after: now() - KNOWN_FOR })
    return known?.last_success_at ?? null
  }

  function countersOf (account: string, address: string, origin: string, isKnown: boolean): Counter[] {
    const { attempts: free, maximumDelay: longest } = config
    // From where the owner is known to come, the guesses of strangers do not count; neither do those at that address's other users.
    if (isKnown) return [{ kind: 'origin', key: `origin:${origin}`, free, longest }]
    return [
      { kind: 'account', key: `account:${account}`, free, longest },
      { kind: 'address', key: `address:${address}`, free: config.attemptsPerAddress, longest },
      // One window after the other: where many people log in, some mistype at any time, and such a count would never end.
      { kind: 'all', key: `all:${Math.floor(now() / config.window)}`, free: config.attemptsInAll, longest: config.maximumDelayInAll },
    ]
  }

  /** null if the attempt is counted; else it is not, and this is how many milliseconds there are to wait, and because of which counter. */
  async function count (counters: readonly Counter[]): Promise<{ readonly wait: number, readonly kind: Counter['kind'] } | null> {
    return await db.transaction().execute(async (transaction) => {
      // Of two replicas that look at once, the one that is too many knows of the other.
      await lockAlone(transaction, ...counters.map(({ key }) => key))
      const time = now()
      const rows = await transaction.selectFrom('login_attempts').selectAll().where('key', 'in', counters.map(({ key }) => key)).execute()
      const waits = counters.map(({ kind, key, longest }) => {
        const until = rows.find((row) => row.key === key)?.blocked_until ?? 0
        // A clock that was set back must not make a delay longer than the longest.
        return { kind, wait: Math.min(until - time, longest) }
      })
      // Not counted: waiting would else never end for somebody whose client tries again too early.
      const [blocked] = waits.filter(({ wait }) => wait > 0).sort((one, other) => other.wait - one.wait)
      if (blocked !== undefined) return blocked
      const counted = counters.map(({ key, free, longest }) => {
        const row = rows.find((one) => one.key === key)
        const failures = row === undefined || time - row.last_failure_at > config.window ? 1 : row.failures + 1
        const wait = delay(failures - free, longest)
        // Not until now where there is nothing to wait for: by the clock of another replica, that may be later than now.
        return { key, failures, last_failure_at: time, blocked_until: wait === 0 ? 0 : time + wait }
      })
      await transaction.insertInto('login_attempts').values(counted).onConflict((conflict) => conflict.column('key').doUpdateSet((row) => ({
        failures: row.ref('excluded.failures'),
        last_failure_at: row.ref('excluded.last_failure_at'),
        blocked_until: row.ref('excluded.blocked_until'),
      }))).execute()
      return null
    })
  }

  /** Counts the attempt and enters it among those under way, or throws GW_TOO_MANY_ATTEMPTS. What it returns is called when it is decided. */
  async function admit (counters: readonly Counter[]): Promise<() => void> {
    for (;;) {
      const { leave, blocked, decision } = await inTurn(async () => {
        // Not of those that only share the count of all: a flood would wait for each other, and look anew after each.
        const decision = undecided.nextDecision(counters.filter(({ kind }) => kind !== 'all'))
        const blocked = await count(counters)
        return { blocked, decision, leave: blocked === null ? undecided.enter(counters) : null }
      })
      if (leave !== null) return leave
      // Perhaps it is only those under way that fill the count, and they are right: then there is room again.
      if (decision === null || blocked?.kind === 'all') {
        throw new Refusal('GW_TOO_MANY_ATTEMPTS', {
          reason: `too many failures ${reasons[blocked?.kind ?? 'all']}`,
          retryAfterSeconds: Math.max(1, Math.ceil((blocked?.wait ?? 0) / 1000)),
        })
      }
      await decision
    }
  }

  /** 0 up to `attempts` failures; then the first delay, and twice the one before for each further failure. */
  function delay (excess: number, longest: number): number {
    return excess < 0 ? 0 : Math.min(longest, config.delay * 2 ** Math.min(excess, 40))
  }

  /** This attempt alone: whoever has one password of their own would else wash away the traces of all their guesses at others'. */
  async function takeBack (counters: readonly Counter[]): Promise<void> {
    const keys = counters.map(({ key }) => key)
    await statementUnder(db, async (transaction) => { await lockAlone(transaction, ...keys) }, async (within) => {
      await within.updateTable('login_attempts').set({ failures: sql`failures - 1`, blocked_until: 0 })
        .where('key', 'in', keys).where('failures', '>', 0).execute()
    })
  }

  /** The owner's own count begins anew. */
  async function forget (origin: string): Promise<void> {
    await db.deleteFrom('login_attempts').where('key', '=', `origin:${origin}`).execute()
  }

  async function remember (origin: string): Promise<void> {
    const last_success_at = now()
    await db.insertInto('known_origins').values({ key: origin, last_success_at })
      .onConflict((conflict) => conflict.column('key').doUpdateSet({ last_success_at })).execute()
  }

  // Asked at each login.
  const knownOrigin = prepareQuery<{ origin: string, after: number }, { last_success_at: number }>(db, (value) => db.selectFrom('known_origins')
    .select('last_success_at').where('key', '=', value('origin')).where('last_success_at', '>', value('after')))

  return {
    async guard (attempt, check, isRight) {
      const account = hashed(nameKey(attempt.account))
      const address = addressGroup(attempt.address)
      const origin = hashed(account, address)
      const knownSince = await available(() => lastSuccess(origin))
      const counters = countersOf(account, address, origin, knownSince !== null)
      const leave = await available(() => admit(counters))
      step('login: attempt counted')
      let right = false
      try {
        const result = await check()
        step('login: password checked')
        right = isRight(result)
        if (!right) return result
        // Both are sent at once, and SQLite has one commit for them.
        await available(async () => await Promise.all([
          knownSince === null ? takeBack(counters) : forget(origin),
          knownSince === null || Math.abs(now() - knownSince) > KNOWN_ANEW ? remember(origin) : null,
        ]))
        step('login: attempt taken back')
        return result
      } catch (error) {
        // Nobody could tell: the hashing was busy, or a source down. What cannot be taken back stays counted.
        if (!right) await takeBack(counters).catch(() => {})
        throw error
      } finally {
        leave()
      }
    },
    async clean (stopping) {
      const attemptsBefore = settledNow() - config.window - config.maximumDelay
      await inSmallBatches(async (limit) => {
        const { numDeletedRows } = await db.deleteFrom('login_attempts').where('last_failure_at', '<', attemptsBefore)
          .where('key', 'in', db.selectFrom('login_attempts').select('key').where('last_failure_at', '<', attemptsBefore).orderBy('last_failure_at').limit(limit))
          .executeTakeFirst()
        return Number(numDeletedRows)
      }, stopping)
      const originsBefore = settledNow() - KNOWN_FOR
      await inSmallBatches(async (limit) => {
        const { numDeletedRows } = await db.deleteFrom('known_origins').where('last_success_at', '<', originsBefore)
          .where('key', 'in', db.selectFrom('known_origins').select('key').where('last_success_at', '<', originsBefore).orderBy('last_success_at').limit(limit))
          .executeTakeFirst()
        return Number(numDeletedRows)
      }, stopping)
    },
  }
}

/** The attempts under way in this process, by counter, and word of each decision. */
function createUndecided () {
  interface UnderWay { running: number, decided: () => void, decision: Promise<void> }
  const byKey = new Map<string, UnderWay>()

  function enter (key: string): UnderWay {
    const entry = byKey.get(key) ?? { running: 0, decided: () => {}, decision: Promise.resolve() }
    if (entry.running++ === 0) renew(entry)
    byKey.set(key, entry)
    return entry
  }

  function renew (entry: UnderWay): void {
    entry.decision = new Promise((resolve) => { entry.decided = resolve })
  }

  function leave (key: string, entry: UnderWay): void {
    const { decided } = entry
    if (--entry.running === 0) byKey.delete(key)
    else renew(entry)
    decided()
  }

  return {
    /** Resolves when the next of them is decided; null where none is under way. */
    nextDecision (counters: readonly Counter[]): Promise<void> | null {
      const decisions = counters.flatMap(({ key }) => byKey.get(key)?.decision ?? [])
      return decisions.length === 0 ? null : Promise.race(decisions)
    },
    /** To be called once, when it is decided. */
    enter (counters: readonly Counter[]): () => void {
      const entered = counters.map(({ key }) => ({ key, entry: enter(key) }))
      return () => {
        for (const { key, entry } of entered) leave(key, entry)
      }
    },
  }
}

/** One after the other. Behind a storage that hangs or fails each would wait for all before: who stands there fails with them. */
function createTurns (): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve()
  let failedAt = -Infinity
  return async (work) => {
    const began = performance.now()
    const mine = last.then(async () => {
      if (failedAt > began || performance.now() - began > LONGEST_WAIT) throw new Error('the storage has failed the logins before this one, or is too slow for all of them')
      try {
        return await work()
      } catch (error) {
        failedAt = performance.now()
        throw error
      }
    })
    last = mine.catch(() => {})
    return await mine
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

async function available<Result> (work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('GW_UNAVAILABLE', { reason: 'storage', cause: error, retryAfterSeconds: 2 })
  }
}
