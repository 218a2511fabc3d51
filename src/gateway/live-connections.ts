/**
 * Which sockets and streams live on which session, and until when. It ends them in time; how something ends (a close
 * frame, a last chunk) each of them knows itself.
 */

export type EndReason = 'expired' | 'revoked' | 'shutdown'

export interface LiveConnection {
  readonly kind: 'websocket' | 'stream'
  /** null where no session ends it. */
  readonly sessionId: string | null
  /** When it must end: milliseconds since the epoch; Infinity for never. */
  readonly expiresAt: number
  /** Called once at most, and never from within `add`. */
  end (why: EndReason): void
}

export interface LiveConnections {
  /** The function that is returned is to be called when the connection is over, however that came. */
  add (connection: LiveConnection): () => void
  endSessions (sessionIds: readonly string[]): void
  /** Ends all there are, and whatever is added from now on: the gateway is shutting down. */
  endAll (): void
  counts (): { readonly websocket: number, readonly stream: number }
  /** Stops watching the clock. Ends nothing. */
  close (): void
}

export interface LiveConnectionsOptions {
  readonly now: () => number
  /**
   * Asked when something is added. A session may end after its token was verified and before the connection is added;
   * whoever marks sessions as ended does so before calling `endSessions`, and thus each end is seen on one of both ways.
   */
  readonly isEnded: (sessionId: string) => boolean
}

/** Connections that end within the same so many milliseconds share one place in the queue. None ends early. */
const RESOLUTION = 100

/** The clock is asked at least so often, in milliseconds: it may be set, the machine may sleep, setTimeout ends at 2^31. */
const LONGEST_WAIT = 10_000

interface Entry {
  readonly connection: LiveConnection
  /** Of its bucket: `expiresAt` in units of RESOLUTION, rounded up; Infinity has none. */
  readonly slot: number
}

export function createLiveConnections ({ now, isEnded }: LiveConnectionsOptions): LiveConnections {
  const entries = new Set<Entry>()
  const bySession = new Map<string, Set<Entry>>()
  const bySlot = new Map<number, Set<Entry>>()
  /** The keys of bySlot, ascending. */
  const slots: number[] = []
  const counts = { websocket: 0, stream: 0 }
  let shuttingDown = false
  let timer: NodeJS.Timeout | null = null
  /** The slot that the timer waits for. */
  let awaited = Infinity

  function add (connection: LiveConnection): () => void {
    const entry: Entry = { connection, slot: Math.ceil(connection.expiresAt / RESOLUTION) }
    const { sessionId, kind } = connection
    counts[kind]++
    entries.add(entry)
    if (sessionId !== null) addTo(bySession, sessionId, entry)
    if (entry.slot !== Infinity) {
      if (addTo(bySlot, entry.slot, entry)) slots.splice(placeOf(slots, entry.slot), 0, entry.slot)
      if (entry.slot < awaited) awaitNext()
    }
    const ended = shuttingDown ? 'shutdown' : sessionId !== null && isEnded(sessionId) ? 'revoked' : null
    // Not at once: the caller has yet to be given the function by which it says that it is over.
    if (ended !== null) queueMicrotask(() => { end(entry, ended) })

    let over = false
    return function remove () {
      if (over) return
      over = true
      counts[kind]--
      forget(entry)
    }
  }

  /** Takes the entry out of all that could end it; it is counted until it is over. */
  function forget (entry: Entry): boolean {
    if (!entries.delete(entry)) return false
    const { sessionId } = entry.connection
    if (sessionId !== null) deleteFrom(bySession, sessionId, entry)
    if (entry.slot !== Infinity && deleteFrom(bySlot, entry.slot, entry)) slots.splice(placeOf(slots, entry.slot), 1)
    return true
  }

  function end (entry: Entry, why: EndReason): void {
    if (forget(entry)) entry.connection.end(why)
  }

  function awaitNext (): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
    awaited = slots[0] ?? Infinity
    if (awaited === Infinity) return
    timer = setTimeout(endExpired, Math.min(Math.max(awaited * RESOLUTION - now(), 1), LONGEST_WAIT))
    timer.unref()
  }

  function endExpired (): void {
    const time = now()
    for (let slot = slots[0]; slot !== undefined && slot * RESOLUTION <= time; slot = slots[0]) {
      for (const entry of [...bySlot.get(slot) ?? []]) end(entry, 'expired')
    }
    awaitNext()
  }

  return {
    add,
    endSessions (sessionIds) {
      for (const sessionId of sessionIds) {
        for (const entry of [...bySession.get(sessionId) ?? []]) end(entry, 'revoked')
      }
    },
    endAll () {
      shuttingDown = true
      for (const entry of [...entries]) end(entry, 'shutdown')
    },
    counts: () => ({ ...counts }),
    close () {
      if (timer !== null) clearTimeout(timer)
      timer = null
      awaited = -Infinity
    },
  }
}

/** → whether the key is new. */
function addTo<Key> (map: Map<Key, Set<Entry>>, key: Key, entry: Entry): boolean {
  const known = map.get(key)
  if (known === undefined) map.set(key, new Set([entry]))
  else known.add(entry)
  return known === undefined
}

/** → whether the key is gone with it. */
function deleteFrom<Key> (map: Map<Key, Set<Entry>>, key: Key, entry: Entry): boolean {
  const known = map.get(key)
  known?.delete(entry)
  return known?.size === 0 && map.delete(key)
}

/** Index of the first element that is not below `slot`. */
function placeOf (slots: readonly number[], slot: number): number {
  let low = 0
  let high = slots.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((slots[middle] ?? Infinity) < slot) low = middle + 1
    else high = middle
  }
  return low
}
