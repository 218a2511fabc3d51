/** Ended sessions that some access token may still name: a set in memory, asked by every request, fed by storage. */
import { sql } from 'kysely'
import type { Change, Storage } from '../storage/database.ts'

export interface Revocations {
  isEnded (sessionId: string): boolean
  /**
   * At once in this process; to be called after the end has been committed. `accessUntil`: milliseconds since the epoch, where it
   * is known that an access token of the session may live so long.
   */
  end (sessionId: string, accessUntil?: number): void
  /** Told of each ended session once, whoever ended it. */
  onEnd (listener: (sessionIds: readonly string[]) => void): void
  /** Reads what has ended since the last look. */
  catchUp (): Promise<void>
  /** Milliseconds: ends that others have committed longer ago are all known. Grows while the storage is out of hearing and reach. */
  lag (): number
  size (): number
  close (): void
}

export interface RevocationsOptions {
  readonly storage: Storage
  /** Milliseconds: as long as an access token may live, and the tolerance on top. */
  readonly rememberFor: number
  readonly now: () => number
  /** By which an end is forgotten: a clock that was set ahead and back has revived nobody's token. As `now` where nothing is said. */
  readonly settledNow?: () => number
}

/** Milliseconds that a commit may become visible later than its own time says: clocks differ, transactions wait. */
const OVERLAP = 10_000

const SWEEP = 1_024

/** Milliseconds until the next try after a look that failed. */
const RETRY = 1_000

export async function openRevocations ({ storage, rememberFor, now, settledNow = now }: RevocationsOptions): Promise<Revocations> {
  /** Session id → when it may be forgotten. In the order of insertion, and so nearly in that of time. */
  const ended = new Map<string, number>()
  const listeners: ((sessionIds: readonly string[]) => void)[] = []
  // Longer than a look goes back: what was forgotten would else be found anew.
  const keep = Math.max(rememberFor, 2 * OVERLAP)
  let lookedAt: number | null = null
  let catchingUp: Promise<void> | null = null
  let again = false
  /** Whether the next look is to go as far back as the first. */
  let thorough = true
  let closed = false
  /** How many there are when all are looked at, and not only the oldest. */
  let sweepAt = SWEEP
  // Of performance.now(): no clock that is set changes them.
  let readUntil = -Infinity
  let pendingSince = Infinity
  let retry: NodeJS.Timeout | undefined

  function remember (sessions: readonly { readonly id: string, readonly access_until: number }[]): void {
    const fresh = [...new Set(sessions.flatMap(({ id }) => ended.has(id) ? [] : [id]))]
    const atLeast = now() + keep
    // Longer than the configuration of now asks for, where an earlier one made tokens that live longer.
    for (const { id, access_until: until } of sessions) ended.set(id, Math.max(ended.get(id) ?? atLeast, until + OVERLAP))
    forget()
    if (fresh.length > 0) for (const listener of listeners) listener(fresh)
  }

  function forget (): void {
    const time = settledNow()
    // One that is kept for long, of a token made by a clock that was wrong, does not keep all that came after it.
    const sweeping = ended.size >= sweepAt
    for (const [id, until] of ended) {
      if (until < time) ended.delete(id)
      else if (!sweeping) break
    }
    if (sweeping) sweepAt = Math.max(SWEEP, 2 * ended.size)
  }

  async function read (): Promise<void> {
    const time = now()
    const began = performance.now()
    const all = thorough
    thorough = false
    // After a clock was set back, what ends now carries a time before the last look's.
    const since = Math.min(lookedAt ?? time - rememberFor, time) - OVERLAP
    const rowsOfSessions = storage.db.selectFrom('sessions').select(['id', 'access_until'])
    const rows = []
    try {
      rows.push(...await rowsOfSessions.where('ended_at', '>=', since).execute())
      // Of its own: asked for both at once, each engine reads all that have ended.
      if (all) rows.push(...await rowsOfSessions.where(sql<number>`revoked_until`, '>', time - OVERLAP).execute())
    } catch (error) {
      thorough ||= all
      throw error
    }
    // Only once it has worked: after a failure the next look goes as far back as this one would have.
    lookedAt = time
    readUntil = began
    if (pendingSince <= began) pendingSince = Infinity
    if (!closed) remember(rows)
  }

  /** One look at a time, and one more if something came meanwhile. */
  async function catchUp (): Promise<void> {
    if (catchingUp !== null) {
      again = true
      return await catchingUp
    }
    catchingUp = (async () => {
      do {
        again = false
        await read()
      } while (again)
    })().finally(() => { catchingUp = null })
    await catchingUp
  }

  function follow (change: Change): void {
    if (change.kind === 'ended') remember(change.sessions)
    if (change.kind !== 'anything') return
    // From here on the clocks of those who wrote do not matter: they may be off by more than a look goes back.
    if (change.missed) thorough = true
    look()
  }

  /** A look that fails is made up for by the next: `lookedAt` stays where it was. */
  function look (): void {
    if (closed) return
    clearTimeout(retry)
    pendingSince = Math.min(pendingSince, performance.now())
    catchUp().catch(() => {
      if (!closed) retry = setTimeout(look, RETRY).unref()
    })
  }

  await catchUp()
  const unfollow = storage.onChange(follow)

  return {
    isEnded: (sessionId) => ended.has(sessionId),
    end (sessionId, accessUntil = 0) { remember([{ id: sessionId, access_until: accessUntil }]) },
    onEnd (listener) { listeners.push(listener) },
    catchUp,
    lag: () => Math.max(0, performance.now() - Math.max(readUntil, Math.min(pendingSince, storage.toldUntil()))),
    size: () => ended.size,
    close () {
      closed = true
      unfollow()
      clearTimeout(retry)
    },
  }
}
