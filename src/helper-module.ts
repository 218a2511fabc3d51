/** Where the threads and processes of our own are started from: beside the bundle, or in a checkout's source. */
import { Worker } from 'node:worker_threads'

/** Paths under src/, without their ending; each is built on its own. */
export const helperModules = ['credentials/hash-thread', 'storage/sqlite-process', 'storage/sqlite-thread'] as const

export type HelperName = typeof helperModules[number]

export interface HelperModule {
  readonly url: URL
  /** For a process of Node's. */
  readonly execArgv: readonly string[]
}

export function helperModule (name: HelperName): HelperModule {
  const from = import.meta.url
  const isSource = from.endsWith('.ts')
  return {
    url: new URL(`./${name}${isSource ? '.ts' : '.js'}`, from),
    // Node 20 reads no TypeScript.
    execArgv: isSource ? ['--import', 'tsx'] : [],
  }
}

/** It needs nothing of this process's environment and arguments. */
export function startThread (name: HelperName, workerData: unknown): Worker {
  const { url, execArgv } = helperModule(name)
  const options = { workerData, env: {}, execArgv: [] }
  if (execArgv.length === 0) return new Worker(url, options)
  // What tsx hooks into reads all files of a thread but its first.
  return new Worker(`import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(url.href)}) })`, { ...options, eval: true })
}
