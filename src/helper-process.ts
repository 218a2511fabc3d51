/** Work that would stop every request for as long as it takes, done in processes of their own: killed when it takes too long. */
import { fork, type ChildProcess } from 'node:child_process'
import { helperModule, type HelperName } from './helper-module.ts'

export interface HelperProcesses<Task, Result> {
  /** Rejects with what the helper threw (its message and code), or with HelperTimeout. As many run at once as are asked for. */
  run (task: Task): Promise<Result>
  close (): void
}

export interface HelperOptions {
  /** It calls `serveHelper`. */
  readonly module: HelperName
  readonly parameters?: readonly string[]
  /** Milliseconds of one task. What cannot be interrupted from within (a query of SQLite) ends with its process. */
  readonly timeout: number
}

export class HelperTimeout extends Error {}

type Answer<Result> = { readonly ready: true } | { readonly result: Result } | { readonly error: string, readonly code: string | number | null }

/** Milliseconds. */
const longestStart = 10_000
const longestIdle = 30_000

export function createHelperProcesses<Task, Result> ({ module, parameters = [], timeout }: HelperOptions): HelperProcesses<Task, Result> {
  const { url, execArgv } = helperModule(module)
  const idle: { readonly child: ChildProcess, readonly timer: NodeJS.Timeout }[] = []
  const all = new Set<ChildProcess>()

  async function start (): Promise<ChildProcess> {
    const child = fork(url, parameters, {
      // Of a debugger's port there is one; of this process's secrets a helper needs none. Ctrl-C is for the gateway alone.
      execArgv: [...process.execArgv.filter((argument) => !argument.startsWith('--inspect')), ...execArgv],
      env: {},
      detached: true,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    all.add(child)
    child.once('exit', () => { all.delete(child) })
    await answerOf(child, longestStart)
    return child
  }

  function rest (child: ChildProcess): void {
    child.unref()
    child.channel?.unref()
    const entry = { child, timer: setTimeout(() => { drop(entry); child.disconnect() }, longestIdle).unref() }
    const drop = (gone: typeof entry) => { idle.splice(idle.indexOf(gone), 1) }
    child.once('exit', () => {
      clearTimeout(entry.timer)
      if (idle.includes(entry)) drop(entry)
    })
    idle.push(entry)
  }

  function wake (): ChildProcess | undefined {
    const entry = idle.pop()
    if (entry === undefined) return undefined
    clearTimeout(entry.timer)
    entry.child.removeAllListeners('exit')
    entry.child.once('exit', () => { all.delete(entry.child) })
    entry.child.ref()
    entry.child.channel?.ref()
    return entry.child
  }

  return {
    async run (task) {
      const child = wake() ?? await start()
      const answered = answerOf<Result>(child, timeout)
      child.send({ task })
      const answer = await answered
      rest(child)
      if ('error' in answer) throw Object.assign(new Error(answer.error), { code: answer.code })
      if (!('result' in answer)) throw new Error('the helper process gave no result')
      return answer.result
    },
    close () {
      for (const child of all) child.kill('SIGKILL')
    },
  }
}

/** Kills the process that does not answer in time. */
async function answerOf<Result> (child: ChildProcess, timeout: number): Promise<Answer<Result>> {
  return await new Promise((resolve, reject) => {
    const settle = (settled: () => void) => {
      clearTimeout(timer)
      child.off('message', answered).off('exit', ended).off('error', failed)
      settled()
    }
    const answered = (answer: unknown) => { settle(() => { resolve(answer as Answer<Result>) }) }
    const ended = () => { settle(() => { reject(new Error('the helper process has ended')) }) }
    const failed = (error: Error) => { settle(() => { reject(error) }) }
    const timer = setTimeout(() => {
      settle(() => { reject(new HelperTimeout(`no answer within ${timeout} ms`)) })
      child.kill('SIGKILL')
    }, timeout)
    child.on('message', answered).on('exit', ended).on('error', failed)
  })
}

/** The helper's side. It ends by itself when the gateway is gone, however that ended. */
export function serveHelper<Task, Result> (work: (task: Task) => Result): void {
  const say = (answer: Answer<Result>) => { process.send?.(answer) }
  process.on('message', ({ task }: { readonly task: Task }) => {
    try {
      say({ result: work(task) })
    } catch (error) {
      // SQLite's number is in `errcode`.
      const { message, code = null, errcode } = (error instanceof Error ? error : { message: String(error) }) as { message: string, code?: string, errcode?: number }
      say({ error: message, code: errcode ?? code })
    }
  })
  say({ ready: true })
}
