/**
 * The time by which things are deleted or forgotten for good. A clock that a wrong time server sets a year ahead, and back a minute
 * later, would else have cost every session, and revived the access tokens of those that had ended.
 */

/** Milliseconds that the clock may be ahead of where it was to be, each time it is looked at: clocks are slewed, and leap. */
const LEEWAY = 5_000
/** After so long a jump ahead is no fault: the clock was wrong before, or the machine slept. */
const BELIEVED_AFTER = 24 * 3_600_000

/**
 * `now`, but never so far ahead as only a clock that was set can be, until that has stood for a day. What was set back is followed at once.
 * `elapsed`: milliseconds that nobody can set.
 */
export function createSettledTime (now: () => number, elapsed: () => number = () => performance.now()): () => number {
  let settled = now()
  let lookedAt = elapsed()
  let aheadSince: number | null = null

  return function settledTime () {
    const looking = elapsed()
    const due = settled + looking - lookedAt
    const time = now()
    lookedAt = looking
    const isAhead = time > due + LEEWAY
    aheadSince = isAhead ? aheadSince ?? looking : null
    settled = aheadSince !== null && looking - aheadSince < BELIEVED_AFTER ? due : time
    return settled
  }
}
