/** The built gateway in a process of its own, its work counted while requests are replayed to it, one at a time on one connection. */
import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable } from 'node:stream'
import { isComplete, parseResponse } from '../src/attack/raw-request.ts'
import { writeGatewayConfig } from './contenders.ts'
import { partOf } from './count-by-part.ts'
import { stop } from './machine.ts'
import { createIssuing } from './tokens.ts'

export interface Counts {
  /** Allocated on V8's heap. */
  readonly bytes: number
  /** Calls of functions in dist/: ours, and those of the packages that we ship. */
  readonly bundled: number
  /** Calls of functions of Node's own modules. */
  readonly node: number
  readonly readsAndWrites: number
}

export interface CountedRequest {
  readonly name: string
  /** For one request. */
  readonly counts: Counts
  /** Calls for one request, by whose function it is. */
  readonly parts: Readonly<Record<string, number>>
}

interface Replay {
  readonly name: string
  readonly status: number
  /** It leaves a line in the log, which is written by a thread: waited for, that no line meets the one before. */
  readonly logs?: true
  request (): string
}

interface Batch {
  readonly bytes: number
  readonly io: number
  readonly calls: readonly (readonly [url: string, offset: number, count: number])[]
}

/** Batches so small that many meet no timer, even on a busy machine; as many as it takes: see `agree`. */
const requestsInBatch = 5
const fewestBatches = 24
const mostBatches = 100
const warmUp = 100

const root = resolve(import.meta.dirname, '..')
const nodeArguments = [
  // No collection within a batch, and no heap that grows, is swept or forgets code meanwhile.
  '--expose-gc', '--min-semi-space-size=32', '--max-semi-space-size=32', '--initial-heap-size=512', '--no-flush-bytecode',
  // Compiled code is on the heap as well, and is made when a thread finds the time.
  '--no-opt', '--no-sparkplug',
  '--import', resolve(import.meta.dirname, 'counting-preload.mjs'),
]

export async function countRequests (): Promise<CountedRequest[]> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-count-'))
  const upstream = spawn(process.execPath, [resolve(import.meta.dirname, 'upstream.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] })
  let gateway: ChildProcess | null = null
  try {
    const [upstreamPort] = await once(upstream.stdout, 'data') as [Buffer]
    const issuing = await createIssuing(folder, 'ES256')
    const { file, port } = await writeGatewayConfig({ folder, upstream: `http://127.0.0.1:${String(upstreamPort).trim()}`, issuing })
    const { NODE_OPTIONS: _, ...env } = process.env
    // With a fourth pipe, the types of spawn forget the others.
    const child = spawn(process.execPath, [...nodeArguments, join(root, 'dist/cli.js'), 'start', '--config', file], { env, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] }) as ChildProcessByStdio<null, Readable, null>
    gateway = child
    const log = createInterface(child.stdout)
    await ready(child, log)
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')

    const empty = await takeBatches(child, async () => {})
    const counted: CountedRequest[] = []
    for (const replay of await replays(port, issuing.token)) {
      for (let count = 0; count < warmUp; count++) await exchange(socket, log, replay)
      const taken = await takeBatches(child, async () => {
        for (let count = 0; count < requestsInBatch; count++) await exchange(socket, log, replay)
      })
      counted.push({ name: replay.name, ...perRequest(taken, empty) })
    }
    socket.destroy()
    return counted
  } finally {
    if (gateway !== null) await stop(gateway)
    await stop(upstream)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Of the same length in each run: the numbers in tokens and ports have five digits. */
async function replays (port: number, token: (number: number) => Promise<string>): Promise<Replay[]> {
  const head = (start: string, bearer: string | null, more = '') =>
    `${start} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: application/json\r\nUser-Agent: count\r\n${bearer === null ? '' : `Authorization: Bearer ${bearer}\r\n`}${more}\r\n`
  const known = await token(10_000)
  const unseen = await Promise.all(Array.from({ length: warmUp + mostBatches * requestsInBatch }, async (_, index) => await token(20_000 + index)))
  // The last characters of a signature that was right.
  const forged = unseen.map((token) => `${token.slice(0, -12)}${token.slice(-24, -12)}`)
  const body = 'x'.repeat(4_096)
  return [
    { name: 'verified GET', status: 200, request: () => head('GET /api/things/1', known) },
    { name: 'public GET', status: 200, request: () => head('GET /open/things/1', null) },
    { name: 'verified POST of 4 kB', status: 200, request: () => head('POST /api/things', known, `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`) + body },
    { name: 'GET with a token not seen before', status: 200, request: () => head('GET /api/things/1', unseen.pop() ?? '') },
    { name: '401 for a forged token', status: 401, logs: true, request: () => head('GET /api/things/1', forged.pop() ?? '') },
    { name: 'forward-auth', status: 200, request: () => head('GET /auth/verify', known) },
  ]
}

async function ready (child: ChildProcess, log: Interface): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => { reject(new Error(`the gateway ended with ${code}`)) })
    log.on('line', (line) => { if (line.includes('"ready"')) resolve() })
  })
  log.removeAllListeners('line')
}

async function exchange (socket: Socket, log: Interface, { name, status, logs, request }: Replay): Promise<void> {
  const line = logs === true ? once(log, 'line') : null
  const answer = new Promise<string>((resolve, reject) => {
    let text = ''
    socket.once('close', () => { reject(new Error(`${name}: the connection was closed`)) })
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (isComplete(text)) resolve(text)
    })
  })
  socket.write(request(), 'latin1')
  const answered = parseResponse(await answer, false)
  socket.removeAllListeners('data').removeAllListeners('close')
  if (answered.status !== status) throw new Error(`${name} was answered ${answered.text}`)
  await line
}

async function takeBatches (child: ChildProcess, work: () => Promise<void>): Promise<Batch[]> {
  const taken: Batch[] = []
  while (taken.length < fewestBatches || (taken.length < mostBatches && !agree(taken))) {
    await ask(child, 'begin')
    await work()
    await ask(child, 'settle')
    taken.push(await ask(child, 'end') as Batch)
  }
  return taken
}

async function ask (child: ChildProcess, order: 'begin' | 'settle' | 'end'): Promise<unknown> {
  const answer = once(child, 'message')
  child.send(order)
  return (await answer)[0]
}

/** Whether what was least is no accident: that came three times. */
function agree (taken: readonly Batch[]): boolean {
  const spreadOf = (of: (batch: Batch) => number) => {
    const [least = NaN,, third = NaN] = taken.map(of).sort((a, b) => a - b)
    return third / least - 1
  }
  return spreadOf(({ calls }) => calls.reduce((sum, [,, count]) => sum + count, 0)) === 0 && spreadOf(({ bytes }) => bytes) < 0.0005
}

function perRequest (taken: readonly Batch[], empty: readonly Batch[]): Pick<CountedRequest, 'counts' | 'parts'> {
  const one = (of: (batch: Batch) => number) => (undisturbed(taken.map(of)) - undisturbed(empty.map(of))) / requestsInBatch
  const callsOf = [...taken, ...empty].map(({ calls }) => new Map(calls.map(([url, offset, count]) => [`${offset} ${url}`, count])))
  const parts: Record<string, number> = {}
  let bundled = 0
  let node = 0
  for (const name of new Set(callsOf.flatMap((calls) => [...calls.keys()]))) {
    const counts = callsOf.map((calls) => calls.get(name) ?? 0)
    const calls = (undisturbed(counts.slice(0, taken.length)) - undisturbed(counts.slice(taken.length))) / requestsInBatch
    if (calls === 0) continue
    const [offset = '', url = ''] = name.split(' ')
    const { part, isNode } = partOf(url, Number(offset))
    parts[part] = (parts[part] ?? 0) + calls
    if (isNode) node += calls
    else bundled += calls
  }
  return { counts: { bytes: Math.round(one(({ bytes }) => bytes)), bundled: tenths(bundled), node: tenths(node), readsAndWrites: tenths(one(({ io }) => io)) }, parts }
}

/**
 * The third lowest: timers, the poll of storage and the growth of tables add to some batches and never take away, so that the
 * lowest are those of requests alone. Two more than that may be lower by mistake, as when something old is collected meanwhile.
 */
function undisturbed (values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[2] ?? NaN
}

function tenths (value: number): number {
  return Math.round(value * 10) / 10
}
