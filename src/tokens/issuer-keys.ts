/** The life of one other issuer's keys: fetched, kept fresh beside the requests, served stale within a bound, asked for anew by an unknown kid. */
import type { TrustedIssuerConfig } from '../config/schema.ts'
import type { KeptKeys, KeyKeeper } from './issuer-key-keeper.ts'
import { readKeySet, type IssuerKey, type KeySet } from './issuer-key-set.ts'
import { fetchKeySet, type Failed, type FetchDocument, type KeyFault } from './key-discovery.ts'
import type { VerifyingKey } from './key-ring.ts'

export type FetchOutcome = 'fetched' | KeyFault

export interface IssuerKeys {
  /** Has the keys fetched, now and again and again. */
  start (): void
  /**
   * Synchronous. `unknown`: the keys are known, and this is none of them. `none`: no key can be said to be unknown, for there
   * are none, or the last fetch failed and the issuer may have made new ones.
   */
  find (kid: string, algorithm: string): VerifyingKey | 'other-algorithm' | 'unknown' | 'none'
  /**
   * Has the keys fetched for this kid, or joins a fetch that is under way; the promise never rejects. `too-soon` after the
   * last one that was asked for, `not-now` while too many wait already.
   */
  ask (kid: string): Promise<void> | 'too-soon' | 'not-now'
  /** Until `ask` may fetch again; at least one. */
  secondsToWait (): number
  /** Milliseconds since the keys were fetched; null without keys. */
  age (): number | null
  count (): number
  close (): void
}

export interface IssuerKeysOptions {
  readonly trusted: TrustedIssuerConfig
  readonly fetchDocument: FetchDocument
  readonly keeper: KeyKeeper
  readonly now: () => number
  readonly log: IssuerLog
  readonly onFetch: (outcome: FetchOutcome) => void
  /** A key is gone, or is another under the same kid: whatever was concluded from it is to be forgotten. */
  readonly onLoss: () => void
}

export interface IssuerLog {
  info (fields: Readonly<Record<string, unknown>>, message: string): void
  warn (fields: Readonly<Record<string, unknown>>, message: string): void
}

/** Requests that wait for one fetch. More are a flood, and are answered at once. */
const mostWaiting = 1_000
const longestTimer = 2 ** 31 - 1

/** Takes up the keys that were kept. Fresh ones come in the background: a start waits for no other server. */
export async function openIssuerKeys (options: IssuerKeysOptions): Promise<IssuerKeys> {
  const { trusted, fetchDocument, keeper, now, log, onFetch, onLoss } = options
  const { name, keys: { refreshEvery, staleFor, cooldown, timeout } } = trusted
  let keys: ReadonlyMap<string, IssuerKey> = new Map()
  let kids: ReadonlySet<string> = new Set()
  /** When the keys were fetched; null without keys. */
  let fetchedAt: number | null = null
  let underWay: Promise<void> | null = null
  let waiting = 0
  let failures = 0
  /** No request has a fetch made before this. */
  let askAgainAt = -Infinity
  /** The kids of those who waited for the last fetch. If it was under way anyway, it was theirs, and uses up nobody else's. */
  let sought = new Set<string>()
  let soughtUntil = -Infinity
  let refreshTimer: NodeJS.Timeout | undefined
  let staleTimer: NodeJS.Timeout | undefined
  let complaint = ''
  const closing = new AbortController()

  function adopt (found: readonly IssuerKey[], at: number): void {
    const next = new Map(found.map((key) => [indexOf(key.verifying), key]))
    let lost = false
    for (const [index, { verifying }] of keys) {
      const again = next.get(index)
      // The same object for as long as it is the same key: what was prepared for it goes on.
      if (again !== undefined && again.verifying.key === verifying.key) next.set(index, { ...again, verifying })
      else lost = true
    }
    keys = next
    kids = new Set(found.map(({ verifying }) => verifying.kid))
    fetchedAt = at
    clearTimeout(staleTimer)
    staleTimer = setTimeout(dropIfStale, Math.min(Math.max(at + staleFor - now(), 0), longestTimer)).unref()
    if (lost) onLoss()
  }

  function dropIfStale (): void {
    if (fetchedAt === null) return
    const left = fetchedAt + staleFor - now()
    if (left > 0) {
      staleTimer = setTimeout(dropIfStale, Math.min(left, longestTimer)).unref()
      return
    }
    keys = new Map()
    kids = new Set()
    fetchedAt = null
    log.warn({ issuer: name }, 'the keys of a trusted issuer are older than keys.staleFor: its tokens are answered 503 until it can be reached')
    onLoss()
  }

  async function fetchNow (): Promise<void> {
    clearTimeout(refreshTimer)
    const late = new AbortController()
    const timer = setTimeout(() => { late.abort() }, timeout)
    const stop = () => { late.abort() }
    closing.signal.addEventListener('abort', stop)
    const begun = now()
    const result = await fetchKeySet(trusted, fetchDocument, late.signal).catch((): Failed => ({ fault: 'invalid', detail: 'cannot be read' }))
    clearTimeout(timer)
    closing.signal.removeEventListener('abort', stop)
    if (closing.signal.aborted) return
    if ('fault' in result) fail(result)
    else succeed(result, begun)
  }

  function fail ({ fault, detail }: Failed): void {
    failures++
    onFetch(fault)
    log.warn({ issuer: name, outcome: fault, detail, keys: keys.size }, keys.size > 0 ? 'the keys of a trusted issuer could not be fetched; the ones before go on' : 'the keys of a trusted issuer could not be fetched, and none are known')
  }

  function succeed ({ keys: found, dropped }: KeySet, at: number): void {
    const recovered = failures > 0
    failures = 0
    onFetch('fetched')
    adopt(found, at)
    const complaints = dropped.map(({ kid, why }) => `${kid ?? ''} ${why}`).join('\n')
    // Once for each change: a key that is not taken is not taken every ten minutes.
    if (complaints !== complaint) for (const { kid, why } of dropped) log.warn({ issuer: name, kid, why }, 'a key of a trusted issuer is not taken')
    complaint = complaints
    if (recovered) log.info({ issuer: name, keys: keys.size }, 'the keys of a trusted issuer can be fetched again')
    keeper.keep(keptOf(trusted, found, at))
  }

  /** Jitter, so that many gateways do not come at once; after a failure sooner, then at growing distance. */
  function untilRefresh (): number {
    if (failures === 0) return refreshEvery * (0.9 + Math.random() * 0.1)
    return Math.min(cooldown * 2 ** Math.min(failures - 1, 16), refreshEvery)
  }

  /** One at a time, whoever wants it. Never rejects. */
  function refresh (): Promise<void> {
    underWay ??= fetchNow().catch((error: unknown) => {
      failures++
      log.warn({ issuer: name, cause: error }, 'the keys of a trusted issuer could not be fetched')
    }).then(() => {
      underWay = null
      waiting = 0
      if (!closing.signal.aborted) refreshTimer = setTimeout(refreshLater, Math.min(untilRefresh(), longestTimer)).unref()
    })
    return underWay
  }

  function refreshLater (): void {
    void refresh()
  }

  const kept = await keptKeys(trusted, await keeper.kept(trusted), now())
  if (kept !== null) adopt(kept.keys, kept.fetchedAt)

  return {
    start: refreshLater,
    find (kid, algorithm) {
      const current = fetchedAt !== null && now() < fetchedAt + staleFor
      const key = current ? keys.get(indexOf({ kid, algorithm })) : undefined
      if (key !== undefined) return key.verifying
      if (!current) return 'none'
      if (kids.has(kid)) return 'other-algorithm'
      return failures > 0 ? 'none' : 'unknown'
    },
    ask (kid) {
      if (underWay === null) {
        if (closing.signal.aborted) return 'not-now'
        if (now() < askAgainAt || (now() < soughtUntil && sought.has(kid))) return 'too-soon'
        // From its end on, so that whoever waited for it cannot have the next.
        underWay = refresh()
        void underWay.then(() => { askAgainAt = now() + cooldown })
      }
      if (waiting >= mostWaiting) return 'not-now'
      if (waiting++ === 0) {
        sought = new Set()
        void underWay.then(() => { soughtUntil = now() + cooldown })
      }
      sought.add(kid)
      return underWay
    },
    secondsToWait: () => Math.max(1, Math.ceil((Math.min(askAgainAt, now() + cooldown) - now()) / 1000)),
    age: () => fetchedAt === null ? null : Math.max(0, now() - fetchedAt),
    count: () => keys.size,
    close () {
      closing.abort()
      clearTimeout(refreshTimer)
      clearTimeout(staleTimer)
    },
  }
}

/** A kid alone may name several keys, each for its algorithm. The names of algorithms hold no space. */
function indexOf ({ kid, algorithm }: { readonly kid: string, readonly algorithm: string }): string {
  return `${algorithm} ${kid}`
}

function keptOf ({ issuer, jwksUri }: TrustedIssuerConfig, keys: readonly IssuerKey[], fetchedAt: number): KeptKeys {
  return { issuer, jwksUri: jwksUri ?? null, fetchedAt, keys: keys.map(({ jwk }) => jwk) }
}

/** What was kept is read as strictly as what is fetched: the rules may have changed in between. */
async function keptKeys ({ algorithms, keys: { staleFor } }: TrustedIssuerConfig, kept: KeptKeys | null, time: number): Promise<{ keys: readonly IssuerKey[], fetchedAt: number } | null> {
  if (kept === null) return null
  // A clock that went back makes no key younger than it is known to be.
  const fetchedAt = Math.min(kept.fetchedAt, time)
  if (fetchedAt + staleFor <= time) return null
  const set = await readKeySet({ keys: kept.keys }, algorithms)
  return 'fault' in set ? null : { keys: set.keys, fetchedAt }
}
