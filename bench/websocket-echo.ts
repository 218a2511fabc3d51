/**
 * What a message through a WebSocket costs: each of many sends one, waits until it has come back, and sends the next; through the
 * gateway, and straight to the upstream, where all that is measured is client and upstream.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { spread, type Spread } from './comparison.ts'
import { gatewarden } from './contenders.ts'
import { startUpstream } from './machine.ts'
import { percentile } from './percentiles.ts'
import { cpuMicroseconds } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

export interface WebSocketEcho {
  /** Of a message. */
  readonly bytes: number
  /** Microseconds of CPU of the gateway for a message, there and back. */
  readonly cpu: Spread
  readonly through: Echoes
  readonly bare: Echoes
}

interface Echoes {
  readonly perSecond: Spread
  /** Milliseconds until a message is back. */
  readonly p50: Spread
  readonly p99: Spread
}

interface Measured { readonly perSecond: number, readonly cpu: number, readonly p50: number, readonly p99: number }

const bytes = 1_000
/** Milliseconds after which a message that is not back is lost. */
const patience = 10_000

export async function websocketEcho ({ folder, rounds, seconds, connections, measure, note }: Bench): Promise<WebSocketEcho> {
  const issuing = await createIssuing(folder, 'ES256')
  const tokens: string[] = []
  for (let number = 0; number < connections; number++) tokens.push(await issuing.token(number))
  const upstream = await startUpstream('live-upstream.mjs')
  const kept: Record<'through' | 'bare', Measured[]> = { through: [], bare: [] }
  const clients: WebSocket[] = []
  try {
    const running = await gatewarden.start({ folder: join(folder, 'gateway'), upstream: upstream.url, issuing })
    try {
      const through = await Promise.all(tokens.map(async (token) => await open(`${running.url}/api/echo`, token)))
      const bare = await Promise.all(tokens.map(async (token) => await open(`${upstream.url}/api/echo`, token)))
      clients.push(...through, ...bare)
      // Round 0 warms everybody up, and does not count.
      for (let round = 0; round <= rounds; round++) {
        const measured = {
          through: await measure(async () => await echoes(through, seconds, running.pids)),
          bare: await measure(async () => await echoes(bare, seconds, [])),
        }
        if (round === 0) continue
        kept.through.push(measured.through)
        kept.bare.push(measured.bare)
        note(`round ${round}: ${Object.entries(measured).map(([way, { perSecond, cpu, p50, p99 }]) => `${way} ${perSecond.toFixed(0)}/s, ${cpu.toFixed(1)} µs, p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`).join('; ')}`)
      }
    } finally {
      for (const client of clients) client.terminate()
      await running.stop()
    }
  } finally {
    await upstream.stop()
  }
  const of = (all: readonly Measured[]): Echoes => ({
    perSecond: spread(all.map(({ perSecond }) => perSecond)),
    p50: spread(all.map(({ p50 }) => p50)),
    p99: spread(all.map(({ p99 }) => p99)),
  })
  return { bytes, cpu: spread(kept.through.map(({ cpu }) => cpu)), through: of(kept.through), bare: of(kept.bare) }
}

async function open (url: string, token: string): Promise<WebSocket> {
  const client = new WebSocket(url.replace('http', 'ws'), { headers: { authorization: `Bearer ${token}` } })
  await once(client, 'open')
  return client
}

/** `pids`: whose CPU counts. */
async function echoes (clients: readonly WebSocket[], seconds: number, pids: readonly number[]): Promise<Measured> {
  const [before, began] = [cpuMicroseconds(pids), performance.now()]
  const times = (await Promise.all(clients.map(async (client) => await echoed(client, began + seconds * 1_000)))).flat()
  const took = performance.now() - began
  return {
    perSecond: times.length / (took / 1_000),
    cpu: (cpuMicroseconds(pids) - before) / times.length,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
  }
}

/** One message at a time, each another, until then. Throws where one is lost, or comes back as anything but what was sent. */
function echoed (client: WebSocket, until: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const message = randomBytes(bytes)
    const times: number[] = []
    let sent = NaN
    const lost = setTimeout(() => { end('a message has not come back') }, until - performance.now() + patience)
    const closed = (code: number) => { end(`closed by ${code}`) }
    client.on('message', back).once('close', closed)
    send()

    function send () {
      message.writeUInt32LE(times.length)
      sent = performance.now()
      client.send(message)
    }

    function back (echo: Buffer) {
      const now = performance.now()
      times.push(now - sent)
      if (!echo.equals(message)) end('another message came back')
      else if (now < until) send()
      else end(null)
    }

    function end (fault: string | null) {
      clearTimeout(lost)
      client.off('message', back).off('close', closed)
      if (fault === null) resolve(times)
      else reject(new Error(`after ${times.length} messages: ${fault}`))
    }
  })
}
