/** What fails again and again is left alone for a while: nobody waits for its timeout meanwhile, and it is not stormed when it comes back. */
import { Refusal } from '../errors.ts'

export interface CircuitBreaker {
  /** Throws what `work` throws, or GW_UNAVAILABLE at once while the circuit is open. */
  run<Result> (work: () => Promise<Result>): Promise<Result>
}

export interface CircuitBreakerOptions {
  /** For messages. */
  readonly name: string
  /** Whether what was thrown says that it is down; anything else says that it is there. */
  readonly isDown: (error: unknown) => boolean
  readonly warn: (message: string) => void
  readonly now: () => number
}

/** In a row. */
const mostFailures = 5
/** Milliseconds: then one call is let through, and decides for all. */
const pause = 5_000

export function createCircuitBreaker ({ name, isDown, warn, now }: CircuitBreakerOptions): CircuitBreaker {
  let failures = 0
  let triedAt = 0

  return {
    async run (work) {
      if (failures >= mostFailures) {
        // A clock that was set back makes the trial lie ahead: then it is time for another.
        const since = now() - triedAt
        if (since >= 0 && since < pause) throw new Refusal('GW_UNAVAILABLE', { reason: `credentials: ${name} is down`, retryAfterSeconds: Math.ceil((pause - since) / 1000) })
        triedAt = now()
      }
      try {
        const result = await work()
        closed()
        return result
      } catch (error) {
        if (!isDown(error)) closed()
        else if (++failures >= mostFailures) {
          triedAt = now()
          if (failures === mostFailures) warn(`credentials: ${name} does not answer; logins that need it are refused with 503, and it is tried again every ${pause / 1000}s`)
        }
        throw error
      }
    },
  }

  function closed (): void {
    if (failures >= mostFailures) warn(`credentials: ${name} answers again`)
    failures = 0
  }
}
