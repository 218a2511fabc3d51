/**
 * Do logins and refreshes disturb the proxy? The gateway has one core, its threads included. Verified GETs at a steady rate: in quiet, under a flood of logins that is more than
 * the machine can hash, and under refreshes at full speed; and how many of both there are, beside what the hash alone allows.
 */
import { execFileSync, spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { createPasswordHasher } from '../src/credentials/password-hash.ts'
import { loadConfig } from '../src/config/load.ts'
import { spread } from './comparison.ts'
import { gatewarden } from './contenders.ts'
import { goFirst, otherCore } from './machine.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

const here = import.meta.dirname
const cli = resolve(here, '../dist/cli.js')
const password = 'correct horse battery staple'
const rate = 250

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

export async function loginFlood ({ folder, upstream, rounds, seconds, note }: Bench): Promise<unknown> {
  const issuing = await createIssuing(folder, 'ES256')
  const running = await gatewarden.start({ folder, upstream, issuing })
  const configFile = join(folder, 'config.yaml')
  const token = await issuing.token(1)
  const steady = async () => await said<Steady>('steady-client.mjs', [`${running.url}/api/x`, token, String(rate), String(seconds)])
  const quiet: Steady[] = []
  const logins: { steady: Steady, flood: Flood }[] = []
  const refreshes: { steady: Steady, flood: Flood }[] = []
  let bare = NaN
  try {
    const users = Array.from({ length: 8 }, (_, number) => `user-${number}`)
    for (const name of users) execFileSync(process.execPath, [cli, 'users', 'add', name, '--password-stdin', '--config', configFile], { input: password })
    await steady()
    for (let round = 0; round < rounds; round++) {
      quiet.push(await steady())
      // Twice as many at a time as are hashed and waited for.
      const flood = said<Flood>('post-flood.mjs', [running.url, 'login', '8', String(seconds + 1)], { users, password })
      logins.push({ steady: await steady(), flood: await flood })
      const tokens = await Promise.all(Array.from({ length: 8 }, async (_, number) => await login(running.url, users[number % users.length] ?? '')))
      const refreshing = said<Flood>('post-flood.mjs', [running.url, 'refresh', '8', String(seconds + 1)], { tokens })
      refreshes.push({ steady: await steady(), flood: await refreshing })
      note(`round ${round + 1}: p99 quiet ${quiet.at(-1)?.p99.toFixed(2)} ms, logins ${logins.at(-1)?.steady.p99.toFixed(2)} ms (${logins.at(-1)?.flood.perSecond.toFixed(1)}/s), refreshes ${refreshes.at(-1)?.steady.p99.toFixed(2)} ms (${refreshes.at(-1)?.flood.perSecond.toFixed(0)}/s)`)
    }
    bare = await bareHashes(configFile, seconds)
  } finally {
    await running.stop()
  }
  const p99 = (list: readonly { readonly steady: Steady }[]) => spread(list.map(({ steady }) => steady.p99))
  return {
    rate,
    quiet: { p50: spread(quiet.map(({ p50 }) => p50)), p99: spread(quiet.map(({ p99 }) => p99)) },
    logins: { p99: p99(logins), ratio: spread(logins.map(({ steady }, round) => steady.p99 / (quiet[round]?.p99 ?? NaN))), perSecond: spread(logins.map(({ flood }) => flood.perSecond)), bareHashesPerSecond: bare },
    refreshes: { p99: p99(refreshes), ratio: spread(refreshes.map(({ steady }, round) => steady.p99 / (quiet[round]?.p99 ?? NaN))), perSecond: spread(refreshes.map(({ flood }) => flood.perSecond)) },
  }
}

/** What argon2 alone does a second, as many at a time as the gateway is configured for. */
async function bareHashes (configFile: string, seconds: number): Promise<number> {
  const loaded = loadConfig(configFile, {})
  if ('faults' in loaded) throw new Error('the configuration does not load')
  const { passwords } = loaded.config
  const hasher = createPasswordHasher(passwords)
  const hash = await hasher.hash(password)
  const began = performance.now()
  let count = 0
  await Promise.all(Array.from({ length: passwords.concurrency }, async () => {
    while (performance.now() - began < seconds * 1_000) {
      await hasher.verify(password, hash)
      count++
    }
  }))
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
