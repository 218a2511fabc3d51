/** What the figures were taken on, and how processes are kept apart on it. */
import { execFileSync, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { cpus, setPriority, totalmem } from 'node:os'
import { join, resolve } from 'node:path'

/** Core 0 is for whom we measure; core 1 for load and upstream. */
export const measuredCore = 0
export const otherCore = 1
export const allCores = '0,1'

/** In words, for the head of a table. */
export function machineLine (): string {
  const [first] = cpus()
  return `${cpus().length} × ${first?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux, Node ${process.versions.node}`
}

/** The path of a program, or null. */
export function which (program: string): string | null {
  try {
    return execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin" command -v ${program}`], { encoding: 'utf8' }).trim()
  } catch {
    return null
  }
}

/** Starts a program on one core. */
export function spawnOn (core: number | string, command: readonly string[], options: SpawnOptions = {}): ChildProcess {
  return spawn('taskset', ['-c', String(core), ...command], { stdio: ['ignore', 'ignore', 'inherit'], ...options })
}

/** Whoever holds the watch, and the upstream, are not to be kept waiting by the flood that shares their core. Needs root. */
export function goFirst ({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) setPriority(pid, -15)
  } catch {
    // Not root: the figures are then those of a busier core.
  }
}

/** Starts one of the upstreams beside this file, which print their ports, on core 1. */
export async function startUpstream (program: `${string}.mjs`): Promise<{ readonly url: string, stop (): Promise<void> }> {
  const child = spawn('taskset', ['-c', String(otherCore), process.execPath, resolve(import.meta.dirname, program)], { stdio: ['ignore', 'pipe', 'inherit'] })
  goFirst(child)
  const [port] = await once(child.stdout, 'data') as [Buffer]
  return { url: `http://127.0.0.1:${String(port).trim()}`, stop: async () => { await stop(child) } }
}

/**
 * A cgroup as a container has one, with so many bytes of memory: V8 makes its heap by them. `under` goes before a command. null where
 * this machine lets nobody make one: Linux, and most often root, is needed.
 */
export function limitMemory (bytes: number): { readonly under: readonly string[], remove (): void } | null {
  const [folder, limit] = existsSync('/sys/fs/cgroup/cgroup.controllers')
    ? [`/sys/fs/cgroup/gatewarden-bench-${process.pid}`, 'memory.max']
    : [`/sys/fs/cgroup/memory/gatewarden-bench-${process.pid}`, 'memory.limit_in_bytes']
  try {
    mkdirSync(folder)
    writeFileSync(join(folder, limit), String(bytes))
  } catch {
    // Made, perhaps, but without a say in memory.
    if (existsSync(folder)) rmdirSync(folder)
    return null
  }
  return { under: ['sh', '-c', `echo $$ > ${join(folder, 'cgroup.procs')} && exec "$@"`, 'sh'], remove: () => { rmdirSync(folder) } }
}

/** Ends it, and waits until it has. */
export async function stop (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => { child.once('exit', resolve) })
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await exited
  clearTimeout(late)
}
