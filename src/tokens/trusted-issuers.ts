/** The other issuers whose tokens are accepted: `iss` selects one, and with it its rules and its keys alone. */
import type { TrustedIssuerConfig } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { badForGood, badForNow } from './bad-token.ts'
import { readForeignClaims, readForeignHeader } from './foreign-token.ts'
import type { KeyKeeper } from './issuer-key-keeper.ts'
import { openIssuerKeys, type FetchOutcome, type IssuerKeys, type IssuerLog } from './issuer-keys.ts'
import type { FetchDocument } from './key-discovery.ts'
import type { VerifyingKey } from './key-ring.ts'
import type { ReadForeign } from './strict-jwt.ts'

export interface TrustedIssuers {
  /** The rules of that issuer; undefined for one who is not trusted. */
  readerOf (iss: unknown): ReadForeign | undefined
  /** Whether a subject is written as those of another issuer are (`name|sub`): none of our own may be. */
  isForeignSubject (subject: string): boolean
  /** Calls back after a key was lost: whatever was concluded from it is to be forgotten. */
  onLoss (listener: () => void): void
  /** Has all keys fetched in the background, from now on. */
  start (): void
  stats (): readonly IssuerStats[]
  close (): void
}

export interface IssuerStats {
  readonly name: string
  readonly keys: number
  /** Since the keys were fetched; null without keys. */
  readonly ageSeconds: number | null
}

export interface TrustedIssuersOptions {
  readonly trustedIssuers: readonly TrustedIssuerConfig[]
  /** Milliseconds. */
  readonly clockTolerance: number
  readonly fetchDocument: FetchDocument
  readonly keeper: KeyKeeper
  readonly now: () => number
  readonly log: IssuerLog
  readonly onFetch?: (issuer: string, outcome: FetchOutcome) => void
}

export async function openTrustedIssuers (options: TrustedIssuersOptions): Promise<TrustedIssuers> {
  const { trustedIssuers, clockTolerance, fetchDocument, keeper, now, log, onFetch } = options
  const names = new Set(trustedIssuers.map(({ name }) => name))
  const listeners = new Set<() => void>()
  const opened = await Promise.all(trustedIssuers.map(async (trusted) => ({
    trusted,
    keys: await openIssuerKeys({
      trusted,
      fetchDocument,
      keeper,
      now,
      log,
      onFetch: (outcome) => { onFetch?.(trusted.name, outcome) },
      onLoss: () => { for (const listener of listeners) listener() },
    }),
  })))
  const readers = new Map<unknown, ReadForeign>(opened.map(({ trusted, keys }) => [trusted.issuer, reader(trusted, keys)]))

  function isForeignSubject (subject: string): boolean {
    const bar = subject.indexOf('|')
    return bar > 0 && names.has(subject.slice(0, bar))
  }

  function reader (trusted: TrustedIssuerConfig, keys: IssuerKeys): ReadForeign {
    function subjectOf (sub: string): string {
      if (trusted.subject === 'prefixed') return `${trusted.name}|${sub}`
      if (isForeignSubject(sub)) throw badForGood('sub is written as that of another issuer')
      return sub
    }

    /** All that can be said of a token without its key is said first: what is refused anyway has no keys fetched. */
    return function readForeign (header, payload) {
      const { kid, algorithm } = readForeignHeader(header, trusted)
      const claims = readForeignClaims(payload, trusted, subjectOf)
      return { claims, key: keyFor(trusted, keys, { kid, algorithm, isOver: now() >= claims.identity.expiresAt * 1000 + clockTolerance }) }
    }
  }

  return {
    readerOf: (iss) => readers.get(iss),
    isForeignSubject,
    onLoss (listener) {
      listeners.add(listener)
    },
    start () {
      for (const { keys } of opened) keys.start()
    },
    stats: () => opened.map(({ trusted, keys }) => {
      const age = keys.age()
      return { name: trusted.name, keys: keys.count(), ageSeconds: age === null ? null : age / 1000 }
    }),
    close () {
      listeners.clear()
      for (const { keys } of opened) keys.close()
    },
  }
}

/** 401 where the token is to blame, 503 where it cannot be told: a client must not throw a good token away for an outage. */
function keyFor ({ name }: TrustedIssuerConfig, keys: IssuerKeys, { kid, algorithm, isOver }: { kid: string, algorithm: string, isOver: boolean }): VerifyingKey {
  const found = keys.find(kid, algorithm)
  if (typeof found === 'object') return found
  // For now: the issuer may add a key of that algorithm under the same kid.
  if (found === 'other-algorithm') throw badForNow('alg is not that of the key')
  if (isOver) throw badForNow('expired, and no key of that kid is known')
  const asked = keys.ask(kid)
  if (asked === 'too-soon' && found === 'unknown') throw badForNow('no key of that kid')
  throw new Refusal('GW_KEYS_UNAVAILABLE', {
    reason: typeof asked === 'string' ? `the keys of ${name} are not known` : `the keys of ${name} are being fetched`,
    retryAfterSeconds: keys.secondsToWait(),
    ...(typeof asked === 'string' ? {} : { settled: asked }),
  })
}
