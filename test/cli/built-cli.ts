/** dist/cli.js as others run it; scripts/run-tests.ts has built it anew. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const projectRoot: string = resolve(import.meta.dirname, '../..')
export const cliFile: string = join(projectRoot, 'dist/cli.js')

export interface Ran {
  /** null where a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs to its end. */
export async function run (args: readonly string[], { input = '', ...options }: LaunchOptions & { readonly input?: string } = {}): Promise<Ran> {
  const { child, output } = launch(args, options)
  child.stdin.end(input)
  const [code] = await once(child, 'close') as [number | null]
  return { code, ...output }
}

export interface LaunchOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Of Node's own. */
  readonly nodeOptions?: readonly string[]
}

/** Without the hooks that tap's runner puts into what is spawned. Goes on running; `output` grows. Whoever launches it ends it. */
export function launch (args: readonly string[], { cwd = projectRoot, env = {}, nodeOptions = [] }: LaunchOptions = {}) {
  const child: ChildProcessWithoutNullStreams = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, ...nodeOptions, cliFile, ...args], { cwd, env: { ...process.env, ...env } })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output.stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { output.stderr += text })
  return { child, output }
}

/** As soon as `holds`; throws what there was when the process has ended before. */
export async function until (holds: () => boolean, { child, output }: ReturnType<typeof launch>, timeout = 30_000): Promise<void> {
  const end = Date.now() + timeout
  while (!holds()) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`not seen: ${holds.toString()}; ${JSON.stringify(output)}`)
    await sleep(20)
  }
}
