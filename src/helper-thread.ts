/** Work that takes milliseconds of CPU, done in threads of their own that give way to the one that answers requests. */
import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, type Worker } from 'node:worker_threads'
import { startThread, type HelperName } from './helper-module.ts'

export interface HelperThreads<Task, Result> {
  /** Rejects with what the helper threw. As many run at once as are asked for. */
  run (task: Task): Promise<Result>
}

type Said<Result> = { readonly result: Result } | { readonly error: string }

/** Milliseconds: a thread that nobody needs costs memory. */
const longestIdle = 30_000

/** Threads are started when there is work, and end when there has been none for a while; they keep no process alive. */
export function createHelperThreads<Task, Result> (module: HelperName): HelperThreads<Task, Result> {
  const idle: { readonly worker: Worker, readonly timer: NodeJS.Timeout }[] = []

  function rest (worker: Worker): void {
    worker.unref()
    const timer = setTimeout(() => {
      idle.splice(idle.findIndex((entry) => entry.worker === worker), 1)
      void worker.terminate()
    }, longestIdle).unref()
    idle.push({ worker, timer })
  }

  function wake (): Worker | undefined {
    // The last that rested: under little load the others end.
    const entry = idle.pop()
    if (entry === undefined) return undefined
    clearTimeout(entry.timer)
    entry.worker.ref()
    return entry.worker
  }

  return {
    async run (task) {
      const worker = wake() ?? startThread(module, null)
      const said = await answerOf<Said<Result>>(worker, task)
      rest(worker)
      if ('error' in said) throw new Error(said.error)
      return said.result
    },
  }
}

async function answerOf<Answer> (worker: Worker, task: unknown): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const settle = (settled: () => void) => {
      worker.off('message', answered).off('exit', ended).off('error', reject)
      settled()
    }
    const answered = (answer: Answer) => { settle(() => { resolve(answer) }) }
    const ended = () => { settle(() => { reject(new Error('the helper thread has ended')) }) }
    worker.on('message', answered).on('exit', ended).on('error', reject)
    worker.postMessage(task)
  })
}

/** The thread's side. */
export function serveThread<Task, Result> (work: (task: Task) => Result): void {
  giveWay()
  parentPort?.on('message', (task: Task) => {
    try {
      parentPort?.postMessage({ result: work(task) } satisfies Said<Result>)
    } catch (error) {
      parentPort?.postMessage({ error: error instanceof Error ? error.message : String(error) } satisfies Said<Result>)
    }
  })
}

/** Of ten parts of a core that both want, one: on one core too, a flood of logins leaves the requests their time. */
const NICE = 10

/** To Linux each thread has a priority of its own, and /proc knows its number. Elsewhere the scheduler's fairness has to do. */
function giveWay (): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), NICE)
  } catch {
    // No /proc, or no such number: nothing is lost but the precedence.
  }
}
