/** As a sidecar is started: how soon it answers that it is ready, on what CPU, and what it then keeps in memory, beside Node with nothing in it. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { stringify } from 'yaml'
import { spread, type Spread } from './comparison.ts'
import { imageNodeOptions } from './contenders.ts'
import { allCores, measuredCore, spawnOn, stop } from './machine.ts'
import { cpuMicroseconds, residentMegabytes } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { audience, issuer } from './tokens.ts'

export interface Start {
  /** Milliseconds from spawn to the first 200. */
  readonly ready: Spread
  /** Milliseconds of CPU until then. */
  readonly cpu: Spread
  /** Megabytes, once it has had time to settle. */
  readonly resident: Spread
}

interface Begun { readonly ready: number, readonly cpu: number, readonly resident: number }

const cli = resolve(import.meta.dirname, '../dist/cli.js')
/**
 * Below the range that connections are made from: there, of many tries to connect to a port that nobody listens on, one is given
 * that very port to come from, and is connected to itself.
 */
const port = 29_090
/** Milliseconds in which nothing happens. */
const settling = 3_000

export async function start ({ folder, upstream, rounds, measure, note }: Bench): Promise<unknown> {
  const url = `http://127.0.0.1:${port}/readyz`
  const bare = ['-e', `require('node:http').createServer((_, response) => response.end()).listen(${port}, '127.0.0.1')`]
  const again = mkdtempSync(join(folder, 'again-'))
  // What the Dockerfile sets, of which docs/decisions/0020 tells.
  const compiled = { NODE_COMPILE_CACHE: join(folder, 'compile-cache'), NODE_COMPILE_CACHE_PORTABLE: '1', MALLOC_ARENA_MAX: '1' }
  const kinds: Readonly<Record<string, { readonly core: number | string, readonly command: () => readonly string[], readonly env?: Readonly<Record<string, string>> }>> = {
    'bare Node, one core': { core: measuredCore, command: () => bare },
    'first start, one core': { core: measuredCore, command: () => gatewarden(mkdtempSync(join(folder, 'first-')), upstream) },
    'one core': { core: measuredCore, command: () => gatewarden(again, upstream) },
    'two cores': { core: allCores, command: () => gatewarden(again, upstream) },
    // Node 20 keeps nothing compiled: there they are the two above.
    'one core, as in the image': { core: measuredCore, command: () => [...imageNodeOptions(), ...gatewarden(again, upstream)], env: compiled },
    'two cores, as in the image': { core: allCores, command: () => [...imageNodeOptions(), ...gatewarden(again, upstream)], env: compiled },
  }
  const begun: Record<string, Begun[]> = {}
  // The first round makes the keys and fills the page cache.
  for (let round = 0; round <= rounds * 2; round++) {
    for (const [kind, { core, command, env }] of Object.entries(kinds)) {
      const one = await measure(async () => await begin(core, command(), url, env))
      if (round > 0) (begun[kind] ??= []).push(one)
    }
    note(`round ${round} of ${rounds * 2}`)
  }
  return Object.fromEntries(Object.entries(begun).map(([kind, all]): [string, Start] => [kind, {
    ready: spread(all.map(({ ready }) => ready)),
    cpu: spread(all.map(({ cpu }) => cpu)),
    resident: spread(all.map(({ resident }) => resident)),
  }]))
}

/** A configuration as small as that of a sidecar, with keys in storage. */
function gatewarden (folder: string, upstream: string): readonly string[] {
  const file = join(folder, 'config.yaml')
  writeFileSync(file, stringify({
    listen: { port: 0 },
    admin: { port },
    issuer,
    audience,
    storage: `sqlite:${join(folder, 'data/gatewarden.db')}`,
    routes: [{ path: '/', upstream, access: 'public' }, { path: '/api', upstream, access: 'authenticated' }],
  }))
  return [cli, 'start', '--config', file]
}

async function begin (core: number | string, command: readonly string[], url: string, env: Readonly<Record<string, string>> = {}): Promise<Begun> {
  const began = performance.now()
  const child = spawnOn(core, [process.execPath, ...command], { env: { ...process.env, ...env } })
  const pids = child.pid === undefined ? [] : [child.pid]
  try {
    while (!await isReady(url)) {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
      await pause(2)
    }
    const ready = performance.now() - began
    const cpu = cpuMicroseconds(pids) / 1_000
    await pause(settling)
    return { ready, cpu, resident: residentMegabytes(pids) }
  } finally {
    await stop(child)
  }
}

export async function isReady (url: string): Promise<boolean> {
  return await new Promise((resolve) => {
    get(url, { agent: false }, (response) => {
      response.resume().on('end', () => { resolve(response.statusCode === 200) })
    }).on('error', () => { resolve(false) })
  })
}
