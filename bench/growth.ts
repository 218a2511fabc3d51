/**
 * What a million users and five million sessions cost, beside a thousand and five thousand: the start, logins, refreshes, logouts,
 * and the cleaning of what has expired, with refreshes beside it.
 *   npm run bench -- growth [--users 1000000] [--rounds 5]
 */
import type { ChildProcess } from 'node:child_process'
import { Agent, request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { json } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { startPostgres } from '../test/helpers/postgres.ts'
import { spread, type Spread } from './comparison.ts'
import { writeGatewayConfig } from './contenders.ts'
import { countExpired, growStorage, openGrownStorage, password, sessionsPerUser, userName, type GrownStorage } from './grown-storage.ts'
import { measuredCore, spawnOn, stop } from './machine.ts'
import { percentile } from './percentiles.ts'
import { cpuMicroseconds } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { isReady } from './start.ts'
import { createIssuing } from './tokens.ts'

export interface Growth {
  readonly users: { readonly small: number, readonly large: number }
  readonly sessionsPerUser: number
  readonly engines: Readonly<Record<string, Grown>>
}

interface Grown {
  /** Megabytes that the large one takes on the disk. */
  readonly megabytes: number
  /** Milliseconds from spawn to the first 200 of /readyz. */
  readonly boot: Compared
  readonly operations: Readonly<Record<Operation, { readonly p50: Compared, readonly cpu: Compared }>>
  readonly cleaning: Cleaning
}

interface Compared {
  readonly small: Spread
  readonly large: Spread
  /** Of the large one to the small one, within a round. */
  readonly ratio: Spread
}

/** Milliseconds of a refresh. */
interface Refreshes { readonly p50: number, readonly p99: number, readonly most: number }

interface Cleaning {
  readonly expired: number
  /** Of these, in `seconds`: a cleaning that takes longer is not watched to its end. */
  readonly deleted: number
  readonly seconds: number
  readonly quiet: Refreshes
  readonly beside: Refreshes
}

type Operation = 'login' | 'refresh' | 'logout'
type Size = 'small' | 'large'

interface Place {
  readonly configFile: string
  readonly url: string
  readonly users: number
  readonly storage: GrownStorage
  /** Whose CPU counts besides. */
  readonly server: readonly number[]
}

interface StorageOf {
  /** As the configuration has it. */
  readonly storage: string
  readonly server: readonly number[]
  megabytes (): Promise<number>
}

interface Round {
  readonly boot: number
  readonly operations: Readonly<Record<Operation, { readonly p50: number, readonly cpu: number }>>
}

const cli = resolve(import.meta.dirname, '../dist/cli.js')
/** Below the range that connections are made from, as in start.ts. */
const ports = { admin: 29_091, public: 29_092 }
const small = 1_000
/** Of each operation, in a round. */
const count = 200
const warmUp = 50
/** The gateway cleans for the first time a minute after its start. */
const untilCleaning = 60_000
/** Milliseconds of the cleaning that are looked at. */
const watched = 60_000

export async function growth ({ folder, upstream, rounds, users, note }: Bench): Promise<Growth> {
  const engines: Record<string, Grown> = {}
  engines['SQLite'] = await measured('SQLite', async (size) => {
    const file = join(folder, `sqlite-${size}`, 'gatewarden.db')
    return { storage: `sqlite:${file}`, server: [], megabytes: async () => statSync(file).size / 2 ** 20 }
  })
  const teardowns: (() => Promise<void> | void)[] = []
  try {
    const postgres = await startPostgres({ teardown: (handler) => { teardowns.push(handler) } }, { max_wal_size: '4GB' })
    const server = [Number.parseInt(readFileSync(join(postgres.folder, 'data/postmaster.pid'), 'utf8'))]
    engines['PostgreSQL'] = await measured('PostgreSQL', async () => {
      const storage = await postgres.createDatabase()
      const megabytes = async () => Number((await postgres.query(`select pg_database_size('${new URL(storage).pathname.slice(1)}') as size`))[0]?.['size']) / 2 ** 20
      return { storage, server, megabytes }
    })
  } finally {
    for (const teardown of teardowns) await teardown()
  }
  return { users: { small, large: users }, sessionsPerUser, engines }

  async function measured (engine: string, storageOf: (size: Size) => Promise<StorageOf>): Promise<Grown> {
    const made = { small: await placeOf('small'), large: await placeOf('large') }
    const took: Record<Size, Round[]> = { small: [], large: [] }
    for (let round = 0; round < rounds; round++) {
      for (const size of ['small', 'large'] as const) took[size].push(await roundOf(made[size].place, round))
      const shown = (size: Size) => Object.entries(took[size].at(-1)?.operations ?? {}).map(([name, { p50, cpu }]) => `${name} ${p50.toFixed(2)} ms, ${cpu.toFixed(0)} µs`).join('; ')
      note(`${engine}, round ${round + 1}: started in ${took.small.at(-1)?.boot.toFixed(0)} and ${took.large.at(-1)?.boot.toFixed(0)} ms; small ${shown('small')}; large ${shown('large')}`)
    }
    const cleaning = await clean(made.large.place)
    note(`${engine}: ${cleaning.deleted} of ${cleaning.expired} expired sessions deleted in ${cleaning.seconds.toFixed(0)} s; a refresh took ${cleaning.quiet.p50.toFixed(2)} ms, p99 ${cleaning.quiet.p99.toFixed(2)} before, ${cleaning.beside.p50.toFixed(2)} ms, p99 ${cleaning.beside.p99.toFixed(2)}, at most ${cleaning.beside.most.toFixed(0)} beside it`)
    const of = (figure: (round: Round) => number): Compared => ({
      small: spread(took.small.map(figure)),
      large: spread(took.large.map(figure)),
      ratio: spread(took.large.map((round, index) => figure(round) / (took.small[index] === undefined ? NaN : figure(took.small[index])))),
    })
    const operation = (name: Operation) => ({ p50: of(({ operations }) => operations[name].p50), cpu: of(({ operations }) => operations[name].cpu) })
    return {
      megabytes: made.large.megabytes,
      boot: of(({ boot }) => boot),
      operations: { login: operation('login'), refresh: operation('refresh'), logout: operation('logout') },
      cleaning,
    }

    async function placeOf (size: Size): Promise<{ readonly place: Place, readonly megabytes: number }> {
      const { storage, server, megabytes } = await storageOf(size)
      const issuing = await createIssuing(folder, 'ES256')
      const { file: configFile } = await writeGatewayConfig({
        folder: join(folder, `${engine}-${size}`),
        upstream,
        issuing,
        config: {
          listen: { port: ports.public },
          admin: { port: ports.admin },
          storage,
          keys: { directory: issuing.directory, masterKey: Buffer.alloc(32, 'the key of a benchmark').toString('base64url') },
          // As cheap as may be: what a login costs the storage is to be seen beside it.
          passwords: { memory: '1mb', iterations: 1 },
        },
      })
      const began = performance.now()
      const number = size === 'small' ? small : users
      const grown = await growStorage(configFile, number, rounds * (count + warmUp))
      const onDisk = await megabytes()
      note(`${engine}: ${number} users and ${number * sessionsPerUser} sessions made in ${((performance.now() - began) / 1_000).toFixed(0)} s, ${onDisk.toFixed(0)} MB`)
      return { place: { configFile, url: `http://127.0.0.1:${ports.public}`, users: number, storage: grown, server }, megabytes: onDisk }
    }
  }
}

async function roundOf (place: Place, round: number): Promise<Round> {
  const { child, boot } = await begin(place)
  const client = createClient(place.url)
  const pids = [...child.pid === undefined ? [] : [child.pid], ...place.server]
  const began = performance.now()
  const tokens = place.storage.refreshTokens.slice(round * (count + warmUp), (round + 1) * (count + warmUp))
  // No user twice, and from all over the table.
  const user = (index: number) => userName((round * (count + warmUp) + index) * 7_919 % place.users)

  async function timed (from: number, to: number, work: (index: number) => Promise<unknown>): Promise<{ readonly p50: number, readonly cpu: number }> {
    const times: number[] = []
    const before = cpuMicroseconds(pids)
    for (let index = from; index < to; index++) times.push(await client.time(async () => await work(index)))
    return { p50: percentile(times, 0.5), cpu: (cpuMicroseconds(pids) - before) / (to - from) }
  }
  async function each (from: number, to: number): Promise<Round['operations']> {
    const successors = new Map<number, string>()
    return {
      login: await timed(from, to, async (index) => await client.login(user(index))),
      refresh: await timed(from, to, async (index) => { successors.set(index, await client.refresh(tokens[index] ?? '')) }),
      logout: await timed(from, to, async (index) => { await client.logout(successors.get(index) ?? '') }),
    }
  }
  try {
    await each(0, warmUp)
    const operations = await each(warmUp, warmUp + count)
    if (performance.now() - began > untilCleaning) throw new Error('the machine is too slow: the cleaning began within a round')
    return { boot, operations }
  } finally {
    client.close()
    await stop(child)
  }
}

/** Refreshes of sixteen sessions in turn, one each ten milliseconds or as soon as the one before is done, from before the cleaning on. */
async function clean (place: Place): Promise<Cleaning> {
  const { child } = await begin(place)
  const began = performance.now()
  const client = createClient(place.url)
  const watch = await openGrownStorage(place.configFile)
  const quiet: number[] = []
  const beside: number[] = []
  try {
    const tokens: string[] = []
    for (let number = 0; number < 16; number++) tokens.push(await client.login(userName(number)))
    const expired = await countExpired(watch.db, place.storage)
    let left = expired
    let since = Infinity
    let until = NaN
    const counting = (async () => {
      while (left > 0 && !(performance.now() - since > watched)) {
        await pause(since === Infinity ? 50 : 1_000)
        // Nobody counts while it is quiet: the count is a load as well.
        if (performance.now() - began > untilCleaning - 2_000) left = await countExpired(watch.db, place.storage)
        until = performance.now()
        if (left < expired) since = Math.min(since, until)
        else if (until - began > 2 * untilCleaning) throw new Error('nothing has been cleaned')
      }
    })()
    let counts = true
    const counted = counting.finally(() => { counts = false })
    counted.catch(() => {})
    for (let turn = 0; counts; turn++) {
      const times = since === Infinity ? quiet : beside
      const time = await client.time(async () => { tokens[turn % 16] = await client.refresh(tokens[turn % 16] ?? '') })
      times.push(time)
      await pause(Math.max(0, 10 - time))
    }
    await counted
    return { expired, deleted: expired - left, seconds: (until - since) / 1_000, quiet: refreshes(quiet), beside: refreshes(beside) }
  } finally {
    client.close()
    await watch.close()
    await stop(child)
  }
}

function refreshes (times: readonly number[]): Refreshes {
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), most: percentile(times, 1) }
}

async function begin ({ configFile }: Place): Promise<{ readonly child: ChildProcess, readonly boot: number }> {
  const began = performance.now()
  const child = spawnOn(measuredCore, [process.execPath, cli, 'start', '--config', configFile])
  while (!await isReady(`http://127.0.0.1:${ports.admin}/readyz`)) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    await pause(2)
  }
  return { child, boot: performance.now() - began }
}

function createClient (url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })

  async function post (path: string, body: Readonly<Record<string, string>>): Promise<string> {
    const text = JSON.stringify(body)
    const asked = request(url + path, { method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } })
    asked.end(text)
    const [answer] = await once(asked, 'response') as [IncomingMessage]
    if (answer.statusCode === 204) {
      answer.resume()
      await once(answer, 'end')
      return ''
    }
    const { refresh_token: token } = await json(answer) as { refresh_token?: string }
    if (token === undefined) throw new Error(`${path} answered ${answer.statusCode ?? 'nothing'}`)
    return token
  }

  return {
    login: async (username: string) => await post('/auth/login', { username, password }),
    refresh: async (token: string) => await post('/auth/refresh', { refresh_token: token }),
    logout: async (token: string) => await post('/auth/logout', { refresh_token: token }),
    /** Milliseconds. */
    async time (work: () => Promise<unknown>): Promise<number> {
      const began = performance.now()
      await work()
      return performance.now() - began
    },
    close () { agent.destroy() },
  }
}
