/** What is done now and then, beside the requests. */

export interface Chore {
  /** Milliseconds from one beginning to the next. */
  readonly every: number
  /** For the log. */
  readonly what: string
  /** `stopping`: aborted when there is to be an end of it. */
  readonly work: (stopping: AbortSignal) => Promise<unknown>
}

/** One that takes longer than its interval is not begun anew before it is done. `onFailure`: it is tried again after that. */
export function repeat (chores: readonly Chore[], onFailure: (error: unknown, what: string) => void): { stop (): void } {
  const stopping = new AbortController()
  const timers = chores.map(({ every, what, work }) => {
    let running = false
    return setInterval(() => {
      if (running) return
      running = true
      work(stopping.signal)
        // The storage may be closed under what is under way.
        .catch((error: unknown) => { if (!stopping.signal.aborted) onFailure(error, what) })
        .finally(() => { running = false })
    }, every).unref()
  })
  return {
    stop () {
      timers.forEach(clearInterval)
      stopping.abort()
    },
  }
}

/** However often it is triggered, it runs at most once in that many milliseconds: at once if it has not for long, and once after the last trigger. */
export function atMostEvery (milliseconds: number, work: () => Promise<unknown>, onFailure: (error: unknown) => void): { trigger (): void, stop (): void } {
  let timer: NodeJS.Timeout | null = null
  let stopped = false
  let last = -Infinity
  return {
    trigger () {
      if (timer !== null || stopped) return
      timer = setTimeout(() => {
        timer = null
        last = performance.now()
        work().catch(onFailure)
      }, Math.max(0, last + milliseconds - performance.now()))
      timer.unref()
    },
    stop () {
      stopped = true
      if (timer !== null) clearTimeout(timer)
    },
  }
}
