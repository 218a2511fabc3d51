/**
 * Instructions for one request, under valgrind's callgrind: the same on a busy machine as on a quiet one. Batches of requests are
 * counted once V8 has compiled what runs often; they differ by when it collects garbage, compiles something anew, or does what is
 * done by the clock, all of which only adds: the least is what a request costs. Not counted is the kernel; nor would what a
 * signature takes be right, for valgrind hides from OpenSSL what this CPU has for it: whoever checks one in each request is not here.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { spread, type Spread } from './comparison.ts'
import { gatewarden, peers, type Contender } from './contenders.ts'
import { which } from './machine.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

export interface Instructions {
  /** Requests. */
  readonly batch: number
  /** For one request. */
  readonly rows: readonly { readonly name: string, readonly instructions: Spread }[]
}

const batch = 500
const batches = 9
/** Requests before the first batch; not counted, and much faster so. */
const warming = 15_000
/** What a growing gateway has: none of it may show in a request. */
const manyRoutes = 1_000
const manyTokens = 100_000

export async function instructions ({ folder, upstream, note }: Bench): Promise<Instructions> {
  if (which('valgrind') === null) throw new Error('needs valgrind: apt-get install valgrind')
  const issuing = await createIssuing(folder, 'ES256')
  const token = await issuing.token(1)
  const upstreamRoute = { upstream, access: 'authenticated' }
  const rows: { name: string, instructions: Spread }[] = []

  async function count (name: string, contender: Contender, path: string, { tokens = [token], config = {} }: { readonly tokens?: readonly string[], readonly config?: Record<string, unknown> } = {}): Promise<void> {
    const own = join(folder, `${rows.length}`)
    const dump = join(folder, `callgrind-${rows.length}`)
    const under = ['valgrind', '--quiet', '--tool=callgrind', '--smc-check=all-non-file', '--instr-atstart=no', `--callgrind-out-file=${dump}`]
    const running = await contender.start({ folder: own, upstream, issuing, under, config })
    try {
      const client = await openClient(running.url, path, tokens)
      // Each is good from now on.
      await client.ask(Math.max(warming, tokens.length))
      const control = (...words: string[]) => execFileSync('callgrind_control', [...words, String(running.pids[0])], { stdio: 'ignore' })
      const counted: number[] = []
      control('--instr=on')
      await client.ask(batch)
      control('--zero')
      for (let number = 1; number <= batches; number++) {
        await client.ask(batch)
        control('--dump')
        counted.push(await totalOf(`${dump}.${number}`) / batch)
      }
      client.close()
      rows.push({ name, instructions: spread(counted) })
      note(`${name}: ${rows.at(-1)?.instructions.min.toFixed(0)} instructions a request`)
    } finally {
      await running.stop()
    }
  }

  await count('Gatewarden, verified', gatewarden, '/api/things/1')
  await count('Gatewarden, public route', gatewarden, '/open')
  await count(`Gatewarden, verified, one of ${manyRoutes.toLocaleString('en')} routes`, gatewarden, `/api-${manyRoutes - 1}/things/1`, {
    config: { routes: Array.from({ length: manyRoutes }, (_, number) => ({ path: `/api-${number}`, ...upstreamRoute })) },
  })
  await count(`Gatewarden, verified, ${manyTokens.toLocaleString('en')} tokens in turn`, gatewarden, '/api/things/1', { tokens: await tokensOf(manyTokens) })
  for (const peer of peers) {
    if (peer.name.startsWith('HAProxy, no auth') || peer.name.startsWith('fastify')) await count(peer.name, peer, peer.verifies === null ? '/open' : '/api/things/1')
  }
  return { batch, rows }

  async function tokensOf (many: number): Promise<string[]> {
    const tokens: string[] = []
    for (let number = 0; number < many; number++) tokens.push(await issuing.token(number))
    return tokens
  }
}

/** One request at a time, on one connection, with one token after the other. */
async function openClient (url: string, path: string, tokens: readonly string[]): Promise<{ ask (times: number): Promise<void>, close (): void }> {
  const { hostname, port } = new URL(url)
  const socket: Socket = connect(Number(port), hostname)
  socket.setNoDelay(true)
  let asked = 0
  const ask = async () => {
    const token = tokens[asked++ % tokens.length]
    const request = `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\nAccept: application/json\r\nUser-Agent: wrk\r\nAuthorization: Bearer ${token}\r\n\r\n`
    const answer = await new Promise<string>((resolve, reject) => {
      socket.once('data', (bytes: Buffer) => { socket.off('error', reject); resolve(bytes.toString('latin1')) }).once('error', reject).write(request)
    })
    if (!answer.startsWith('HTTP/1.1 200 ')) throw new Error(`${url} answers ${answer.slice(0, 60)}`)
  }
  return {
    async ask (times) { for (let time = 0; time < times; time++) await ask() },
    close () { socket.destroy() },
  }
}

/** The dump is written when the process next comes to it. */
async function totalOf (file: string): Promise<number> {
  for (const until = Date.now() + 20_000; Date.now() < until;) {
    try {
      const total = /^totals: (\d+)$/m.exec(readFileSync(file, 'utf8'))
      if (total !== null) return Number(total[1])
    } catch {
      // Not there yet.
    }
    await pause(100)
  }
  throw new Error(`callgrind has written no ${file}`)
}
