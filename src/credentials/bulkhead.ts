/** At most so many at a time, so many waiting, and none for long: a login flood takes no more than its share. */
import { Refusal } from '../errors.ts'

export interface Bulkhead {
  /** Throws GW_UNAVAILABLE where `run` would find the queue full: asked before anything is done that would be in vain. */
  assertRoom (): void
  /** Throws GW_UNAVAILABLE when the queue is full, or the wait too long. */
  run<Result> (work: () => Promise<Result>): Promise<Result>
  stats (): { readonly running: number, readonly queued: number, readonly rejected: number }
}

export interface BulkheadOptions {
  /** For the log. */
  readonly what?: string
  readonly concurrency: number
  readonly queue: number
  /** Milliseconds. */
  readonly queueTimeout: number
}

interface Waiting {
  readonly start: () => void
  readonly timer: NodeJS.Timeout
}

export function createBulkhead ({ what = 'password hashing', concurrency, queue, queueTimeout }: BulkheadOptions): Bulkhead {
  const waiting = new Set<Waiting>()
  let running = 0
  let rejected = 0

  function refusal (reason: string): Refusal {
    rejected++
    return new Refusal('GW_UNAVAILABLE', { reason, retryAfterSeconds: Math.max(1, Math.ceil(queueTimeout / 1000)) })
  }

  function assertRoom (): void {
    if (running >= concurrency && waiting.size >= queue) throw refusal(`${what}: the queue is full`)
  }

  async function enter (): Promise<void> {
    assertRoom()
    if (running < concurrency) {
      running++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const entry: Waiting = {
        start: () => {
          clearTimeout(entry.timer)
          waiting.delete(entry)
          resolve()
        },
        timer: setTimeout(() => {
          waiting.delete(entry)
          reject(refusal(`${what}: waited too long`))
        }, queueTimeout),
      }
      waiting.add(entry)
    })
  }

  function leave (): void {
    const [next] = waiting
    // The place is handed over, so that nobody who comes just now takes it first.
    if (next === undefined) running--
    else next.start()
  }

  return {
    assertRoom,
    async run (work) {
      await enter()
      try {
        return await work()
      } finally {
        leave()
      }
    },
    stats: () => ({ running, queued: waiting.size, rejected }),
  }
}
