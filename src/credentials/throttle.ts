/**
 * Failed logins, counted in storage: by account, by address and in all, and the growing delays that follow. Nobody is locked out:
 * an account that strangers guess at stays open to the addresses it has logged in from, whatever the other counts say.
 */
import { createHash } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { step } from '../steps.ts'
import type { Database } from '../storage/database.ts'
import { inSmallBatches } from '../storage/small-batches.ts'
import { createAttemptStore, type Counter as StoredCounter } from './attempt-store.ts'
import { nameKey } from './user-name.ts'

export interface Attempt {
  /** The name as it was typed. */
  readonly account: string
  readonly address: string
}

/** `answer` is called when it is decided; where the attempt was right, what it writes goes together with the taking back. */
export interface Decision<Answer> {
  readonly isRight: boolean
  readonly answer: () => Promise<Answer>
}

export interface Throttle {
  /**
   * Runs `check` unless too many attempts have failed: then GW_TOO_MANY_ATTEMPTS, for known and unknown names alike. The attempt
   * is counted before it is checked, so that of a thousand guesses at once no more get through than of a thousand in a row, and
   * taken back if it was right, or if nobody could tell. Where those under way fill the count, it waits for their decision: whoever
   * logs in twenty times at once is let in twenty times.
   */
  guard<Answer> (attempt: Attempt, check: () => Promise<Decision<Answer>>): Promise<Answer>
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

interface Counter extends StoredCounter {
  readonly kind: 'account' | 'address' | 'origin' | 'all'
}

export function createThrottle ({ db, config, now, settledNow = now }: ThrottleOptions): Throttle {
  const store = createAttemptStore(db, config)
  const undecided = createUndecided()
  // One after the other from the look at the count to the entry: of two at once, the one that is too many knows of the other.
  const inTurn = createTurns()

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
    for (;;) {
      const time = now()
      if (await store.count(counters, time)) return null
      const until = await store.blockedUntil(counters)
      // A clock that was set back must not make a delay longer than the longest.
      const waits = counters.map(({ kind, longest }, index) => ({ kind, wait: Math.min((until[index] ?? 0) - time, longest) }))
      const [longest] = waits.filter(({ wait }) => wait > 0).sort((one, other) => other.wait - one.wait)
      // None where it was taken back in between.
      if (longest !== undefined) return longest
    }
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

  return {
    async guard (attempt, check) {
      const account = hashed(nameKey(attempt.account))
      const address = addressGroup(attempt.address)
      const origin = hashed(account, address)
      const knownSince = await available(() => store.lastSuccess(origin, now() - KNOWN_FOR))
      const counters = countersOf(account, address, origin, knownSince !== null)
      const leave = await available(() => admit(counters))
      step('login: attempt counted')
      let decided = false
      try {
        const { isRight, answer } = await check()
        step('login: password checked')
        decided = true
        const answering = answer()
        if (!isRight) return await answering
        // Awaited below, whatever comes of it.
        answering.catch(() => {})
        // All are sent at once, together with what the answer writes, and SQLite has one commit for them.
        await available(async () => await Promise.all([
          // An attempt from elsewhere alone: whoever has one password of their own would else wash away the traces of all their
          // guesses at others'. Where the owner is known, their own count begins anew.
          knownSince === null ? store.takeBack(counters) : store.forget(`origin:${origin}`),
          knownSince === null || Math.abs(now() - knownSince) > KNOWN_ANEW ? store.remember(origin, now()) : null,
        ]))
        step('login: attempt taken back')
        return await answering
      } catch (error) {
        // Nobody could tell: the hashing was busy, or a source down. What cannot be taken back stays counted.
        if (!decided) await store.takeBack(counters).catch(() => {})
        throw error
      } finally {
        leave()
      }
    },
    async clean (stopping) {
      const attemptsBefore = settledNow() - config.window - config.maximumDelay
      await inSmallBatches(async (limit) => await store.deleteAttempts(attemptsBefore, limit), stopping)
      const originsBefore = settledNow() - KNOWN_FOR
      await inSmallBatches(async (limit) => await store.deleteOrigins(originsBefore, limit), stopping)
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
