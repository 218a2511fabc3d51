/**
 * Do logins and refreshes disturb the proxy? The gateway has one core, its threads included. Verified GETs at a steady rate: in
 * quiet, while twice as many logins arrive as the core can hash, and under refreshes at full speed. And how many of both a core
 * does when there is nothing else: logins beside the bare hash, refreshes on both engines.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { hashSync, verifySync } from '@node-rs/argon2'
import { startPostgres } from '../test/helpers/postgres.ts'
import { loadConfig } from '../src/config/load.ts'
import { spread, type Spread } from './comparison.ts'
import { gatewarden, type Running } from './contenders.ts'
import { goFirst, otherCore } from './machine.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

const here = import.meta.dirname
const cli = resolve(here, '../dist/cli.js')
const password = 'correct horse battery staple'
const rate = 250
/** Clients that refresh, each its own session. */
const chains = 64
/** Clients that log in where nobody is to be turned away: there is always one to be hashed for. */
const clients = 4
/** Seconds of each kind before the first round: a login is rare, and its code takes thousands of them to be compiled. */
const warming = 30

interface Steady {
  readonly count: number
  readonly errors: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

interface Flood {
  readonly ok: number
  readonly refused: number
  readonly busy: number
  readonly perSecond: number
}

export interface LoginFlood {
  readonly rate: number
  readonly quiet: { readonly p50: Spread, readonly p99: Spread }
  readonly logins: { readonly offered: Spread, readonly p99: Spread, readonly ratio: Spread, readonly perSecond: Spread }
  readonly refreshes: { readonly p99: Spread, readonly ratio: Spread, readonly perSecond: Spread }
  /** A second, on one core, with nothing beside them. */
  readonly alone: { readonly clients: number, readonly bareHashes: Spread, readonly logins: Spread, readonly loginsPerHash: Spread, readonly refreshes: Readonly<Record<string, Spread>> }
}

export async function loginFlood ({ folder, upstream, rounds, seconds, measure, note }: Bench): Promise<LoginFlood> {
  const teardowns: (() => unknown)[] = []
  const issuing = await createIssuing(folder, 'ES256')
  const token = await issuing.token(1)
  const users = Array.from({ length: 8 }, (_, number) => `user-${number}`)
  const begin = async (name: string, storage: Record<string, unknown>) => {
    const running = await gatewarden.start({ folder: join(folder, name), upstream, issuing, config: storage })
    teardowns.push(running.stop)
    for (const user of users) execFileSync(process.execPath, [cli, 'users', 'add', user, '--password-stdin', '--config', join(folder, name, 'config.yaml')], { input: password })
    return running
  }
  const sessions = async ({ url }: Running) => {
    const tokens: string[] = []
    for (let number = 0; number < chains; number++) tokens.push(await login(url, users[number % users.length] ?? ''))
    return tokens
  }
  const quiet: Steady[] = []
  const logins: { offered: number, steady: Steady, flood: Flood }[] = []
  const refreshes: { steady: Steady, flood: Flood }[] = []
  const alone = { bareHashes: [] as number[], logins: [] as number[], refreshes: {} as Record<string, number[]> }
  try {
    const postgres = await startPostgres({ teardown: (handler) => { teardowns.push(handler) } })
    const sqlite = await begin('sqlite', {})
    const engines = { SQLite: sqlite, PostgreSQL: await begin('postgres', { storage: await postgres.createDatabase(), keys: { directory: issuing.directory, masterKey: randomBytes(32).toString('base64url') } }) }
    const steady = async () => await said<Steady>('steady-client.mjs', [`${sqlite.url}/api/x`, token, String(rate), String(seconds)])
    const flood = async ({ url }: Running, kind: 'login' | 'logins' | 'refresh', many: number, input: unknown, lasting = seconds) => await said<Flood>('post-flood.mjs', [url, kind, String(many), String(lasting)], input)
    for (const running of Object.values(engines)) {
      await flood(running, 'login', clients, { users, password }, warming)
      await flood(running, 'refresh', chains, { tokens: await sessions(running) }, warming)
    }
    await steady()
    for (let round = 0; round < rounds; round++) {
      quiet.push(await measure(steady))
      const bare = await measure(async () => bareHashes(join(folder, 'sqlite/config.yaml'), seconds))
      alone.bareHashes.push(bare)
      alone.logins.push((await measure(async () => await flood(sqlite, 'login', clients, { users, password }))).perSecond)
      logins.push(await measure(async () => {
        const [beside, measured] = await Promise.all([flood(sqlite, 'logins', 2 * bare, { users, password }), steady()])
        return { offered: 2 * bare, steady: measured, flood: beside }
      }))
      refreshes.push(await measure(async () => {
        const [beside, measured] = await Promise.all([flood(sqlite, 'refresh', chains, { tokens: await sessions(sqlite) }), steady()])
        return { steady: measured, flood: beside }
      }))
      for (const [name, running] of Object.entries(engines)) {
        (alone.refreshes[name] ??= []).push((await measure(async () => await flood(running, 'refresh', chains, { tokens: await sessions(running) }))).perSecond)
      }
      note(`round ${round + 1}: p99 quiet ${quiet.at(-1)?.p99.toFixed(2)} ms, logins ${logins.at(-1)?.steady.p99.toFixed(2)} ms (${logins.at(-1)?.flood.perSecond.toFixed(1)}/s), refreshes ${refreshes.at(-1)?.steady.p99.toFixed(2)} ms (${refreshes.at(-1)?.flood.perSecond.toFixed(0)}/s); alone: ${bare.toFixed(1)} hashes, ${alone.logins.at(-1)?.toFixed(1)} logins, ${Object.entries(alone.refreshes).map(([name, all]) => `${all.at(-1)?.toFixed(0)} refreshes on ${name}`).join(', ')}`)
    }
  } finally {
    for (const teardown of teardowns.reverse()) await teardown()
  }
  const p99 = (list: readonly { readonly steady: Steady }[]) => spread(list.map(({ steady }) => steady.p99))
  const ratio = (list: readonly { readonly steady: Steady }[]) => spread(list.map(({ steady }, round) => steady.p99 / (quiet[round]?.p99 ?? NaN)))
  return {
    rate,
    quiet: { p50: spread(quiet.map(({ p50 }) => p50)), p99: spread(quiet.map(({ p99 }) => p99)) },
    logins: { offered: spread(logins.map(({ offered }) => offered)), p99: p99(logins), ratio: ratio(logins), perSecond: spread(logins.map(({ flood }) => flood.perSecond)) },
    refreshes: { p99: p99(refreshes), ratio: ratio(refreshes), perSecond: spread(refreshes.map(({ flood }) => flood.perSecond)) },
    alone: {
      clients,
      bareHashes: spread(alone.bareHashes),
      logins: spread(alone.logins),
      loginsPerHash: spread(alone.logins.map((count, round) => count / (alone.bareHashes[round] ?? NaN))),
      refreshes: Object.fromEntries(Object.entries(alone.refreshes).map(([name, all]) => [name, spread(all)])),
    },
  }
}

/** What argon2 alone does a second, on this core, one after the other, with the parameters that the gateway is configured for. */
function bareHashes (configFile: string, seconds: number): number {
  const loaded = loadConfig(configFile, {})
  if ('faults' in loaded) throw new Error('the configuration does not load')
  const { memory, iterations } = loaded.config.passwords
  const hash = hashSync(password, { memoryCost: memory / 1024, timeCost: iterations, parallelism: 1 })
  const began = performance.now()
  let count = 0
  for (; performance.now() - began < seconds * 1_000; count++) {
    if (!verifySync(hash, password)) throw new Error('the bare hash does not hold')
  }
  return count / ((performance.now() - began) / 1_000)
}

async function login (url: string, username: string): Promise<string> {
  const response = await fetch(`${url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username, password }) })
  const { refresh_token: token } = await response.json() as { refresh_token?: string }
  if (token === undefined) throw new Error(`a login answered ${response.status}`)
  return token
}

/** Runs one of the clients beside this file, on core 1, and reads the line it prints. */
async function said<Answer> (file: string, args: readonly string[], input: unknown = {}): Promise<Answer> {
  const child = spawn('taskset', ['-c', String(otherCore), process.execPath, join(here, file), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  if (file === 'steady-client.mjs') goFirst(child)
  child.stdin.end(JSON.stringify(input))
  return JSON.parse(await text(child.stdout)) as Answer
}
