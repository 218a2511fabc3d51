/** `gatewarden` in a folder with a config.yaml: commands that run to their end, and `start` as a process with a log. */
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import { stringify } from 'yaml'
import { launch, run, type LaunchOptions, type Ran } from './built-cli.ts'

export interface Running {
  readonly url: string
  readonly adminUrl: string
  readonly child: ChildProcess
  /** Every line so far, parsed. */
  readonly log: readonly Record<string, unknown>[]
  /** What it has written there so far. */
  stderr (): string
  /** The first line, past or to come, of which this is true. Rejects after thirty seconds. */
  line (matches: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
  readonly exited: Promise<number | null>
}

interface Test {
  testdir (content: Record<string, string>): string
  teardown (handler: () => Promise<void> | void): void
}

export const password = 'correct horse battery staple'

/** A folder with a config.yaml: free ports, cheap password hashes, one route to `upstream`. */
export function configFolder (t: Test, config: Record<string, unknown> = {}): string {
  return t.testdir({ 'config.yaml': configText(config) })
}

export function configText (config: Record<string, unknown> = {}): string {
  return stringify({
    listen: { port: 0 },
    admin: { port: 0 },
    issuer: 'http://127.0.0.1:8080',
    passwords: { memory: '1mb', iterations: 1 },
    routes: [{ path: '/api', upstream: 'http://127.0.0.1:9', access: 'authenticated' }],
    ...config,
  })
}

/** Runs to its end. */
export async function cli (folder: string, args: readonly string[], input = '', options: Omit<LaunchOptions, 'cwd'> = {}): Promise<Ran> {
  return await run(args, { ...options, cwd: folder, input })
}

/** `gatewarden start`, once it is ready; killed after the test. */
export async function startCli (t: Test, folder: string, args: readonly string[] = [], options: Omit<LaunchOptions, 'cwd'> = {}): Promise<Running> {
  const { child, output } = launch(['start', ...args], { ...options, cwd: folder })
  const log: Record<string, unknown>[] = []
  const waiting = new Set<() => void>()
  let read = 0
  child.stdout.on('data', () => {
    for (let end = output.stdout.indexOf('\n', read); end >= 0; end = output.stdout.indexOf('\n', read)) {
      log.push(JSON.parse(output.stdout.slice(read, end)) as Record<string, unknown>)
      read = end + 1
    }
    for (const look of waiting) look()
  })
  const exited = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })

  function line (matches: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { settle(() => { reject(new Error(`no such line within thirty seconds; there were ${JSON.stringify(log)} and on stderr ${output.stderr}`)) }) }, 30_000)
      const look = () => {
        const found = log.find(matches)
        if (found !== undefined) settle(() => { resolve(found) })
      }
      const settle = (how: () => void) => {
        clearTimeout(timer)
        waiting.delete(look)
        how()
      }
      waiting.add(look)
      look()
    })
  }
  const ready = await line(({ msg }) => msg === 'ready')
  return { url: String(ready['public']), adminUrl: String(ready['admin']), child, log, stderr: () => output.stderr, line, exited }
}
