/** Which key signs when, until when each verifies, and what is due: pure functions of the keys and the time (ms). */
import type { Algorithm } from '../config/schema.ts'

export interface ScheduledKey {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly createdAt: number
  /** Signs from here on, until the next of its algorithm does. */
  readonly activatesAt: number
  /** Verifies until here; null while nothing has taken its place. */
  readonly expiresAt: number | null
}

export interface Schedule {
  readonly algorithm: Algorithm
  readonly rotateEvery: number
  readonly publishAhead: number
  /** How long after its last signature a key must still verify. */
  readonly verifyFor: number
}

export interface Changes {
  /** A new key of the configured algorithm. */
  readonly create: { readonly activatesAt: number } | null
  /** New times of keys there are. */
  readonly move: readonly { readonly kid: string, readonly activatesAt: number, readonly expiresAt: number | null }[]
  readonly remove: readonly string[]
}

/** The key that signs now. When none is due yet (a clock that was set back), the one that will be first. */
export function keyToSign<Key extends ScheduledKey> (keys: readonly Key[], schedule: Schedule, now: number): Key | undefined {
  const own = keys.filter((key) => key.algorithm === schedule.algorithm && verifies(key, now)).sort(byActivation)
  return own.findLast((key) => key.activatesAt <= now) ?? own[0]
}

export function verifies (key: ScheduledKey, now: number): boolean {
  return key.expiresAt === null || now < key.expiresAt
}

export function stateOf (key: ScheduledKey, signing: ScheduledKey | undefined, now: number): 'next' | 'signing' | 'retired' {
  if (key === signing) return 'signing'
  return key.activatesAt > now ? 'next' : 'retired'
}

/**
 * What is due; null when nothing is. `opening`: this process starts, so its configuration is the newest, and keys of
 * other algorithms begin to retire. Later on they do so by age alone: two processes of different configuration, side by
 * side during a roll-out, must not retire each other's keys in turns.
 */
export function planMaintenance (keys: readonly ScheduledKey[], schedule: Schedule, now: number, occasion: 'opening' | 'running'): Changes | null {
  const { rotateEvery, publishAhead, verifyFor } = schedule
  const dead = keys.filter((key) => !verifies(key, now))
  const live = keys.filter((key) => verifies(key, now))
  const signing = keyToSign(live, schedule, now)
  const move: Changes['move'][number][] = []
  let create: Changes['create'] = null

  const next = signing === undefined ? undefined : nextOf(live, schedule, signing, now)
  // One that ends without a successor was retired for another algorithm: what it signs now would outlive it.
  if (signing === undefined || (signing.expiresAt !== null && next === undefined)) {
    create = { activatesAt: now }
  } else {
    if (next === undefined && now - signing.activatesAt >= rotateEvery - publishAhead) {
      create = { activatesAt: Math.max(now + publishAhead, signing.activatesAt + rotateEvery) }
    }
    const successorAt = next?.activatesAt ?? create?.activatesAt
    // Also when the lifetime of tokens has been raised since the next key was made.
    if (successorAt !== undefined && (signing.expiresAt ?? 0) < successorAt + verifyFor) {
      move.push({ kid: signing.kid, activatesAt: signing.activatesAt, expiresAt: successorAt + verifyFor })
    }
  }
  for (const key of live) {
    if (key.algorithm === schedule.algorithm || key.expiresAt !== null) continue
    if (occasion === 'opening' || now - key.activatesAt > rotateEvery + publishAhead) {
      move.push({ kid: key.kid, activatesAt: key.activatesAt, expiresAt: now + verifyFor })
    }
  }
  if (create === null && move.length === 0 && dead.length === 0) return null
  return { create, move, remove: dead.map((key) => key.kid) }
}

/** What a rotation by hand does. A next key that is published already is taken, not followed by a further one. */
export function planRotation (keys: readonly ScheduledKey[], schedule: Schedule, now: number, immediately: boolean): Changes | null {
  const live = keys.filter((key) => verifies(key, now))
  const signing = keyToSign(live, schedule, now)
  if (signing === undefined) return { create: { activatesAt: now }, move: [], remove: [] }
  const next = nextOf(live, schedule, signing, now)
  if (next !== undefined && !immediately) return null
  const activatesAt = immediately ? now : now + schedule.publishAhead
  const move = [{ kid: signing.kid, activatesAt: signing.activatesAt, expiresAt: activatesAt + schedule.verifyFor }]
  if (next === undefined) return { create: { activatesAt }, move, remove: [] }
  return { create: null, move: [...move, { kid: next.kid, activatesAt, expiresAt: next.expiresAt }], remove: [] }
}

export function nextOf<Key extends ScheduledKey> (keys: readonly Key[], schedule: Schedule, signing: ScheduledKey, now: number): Key | undefined {
  return keys.filter((key) => key.algorithm === schedule.algorithm && key.kid !== signing.kid && key.activatesAt > now).sort(byActivation)[0]
}

/** Of two of the same moment the one that has a successor comes first. */
function byActivation (one: ScheduledKey, other: ScheduledKey): number {
  return one.activatesAt - other.activatesAt || sign((one.expiresAt ?? Infinity) - (other.expiresAt ?? Infinity)) || (one.kid < other.kid ? -1 : 1)
}

/** Infinity less Infinity is no number. */
function sign (difference: number): number {
  return Number.isNaN(difference) ? 0 : difference
}
