/**
 * One event to a thousand clients, each with a token and a stream of its own, five times a second: what the gateway spends on each that
 * is delivered, how long after the upstream's write the client has it, and what a stream keeps in memory. Beside it the delay without
 * the gateway: of an upstream that writes to one after the other, and a client that reads so, on one core.
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { spread, type Spread } from './comparison.ts'
import { gatewarden } from './contenders.ts'
import { load } from './load.ts'
import { startUpstream } from './machine.ts'
import { percentile } from './percentiles.ts'
import { cpuMicroseconds, residentMegabytes } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { createIssuing, type Issuing } from './tokens.ts'

export interface EventFanOut {
  readonly streams: number
  /** To each stream. */
  readonly eventsPerSecond: number
  /** Microseconds of CPU of the gateway for an event delivered. */
  readonly cpu: Spread
  /** Kilobytes resident for a stream, with both of its sockets and its token. */
  readonly perStream: Spread
  readonly through: Delay
  readonly bare: Delay
}

/** Milliseconds from the upstream's write to the client's reading. */
interface Delay { readonly p50: Spread, readonly p99: Spread }

interface Measured { readonly cpu: number, readonly p50: number, readonly p99: number }

interface Round { readonly through: Measured, readonly bare: Measured, readonly perStream: number }

/** The client's ends. */
interface Streams {
  readonly count: number
  /** Of each event that has come; milliseconds. */
  readonly delays: number[]
  /** Of the first event that came out of its turn, or the first stream that has ended. */
  fault (): string | null
  end (): void
}

const streams = 1_000
const eventsPerSecond = 5
/** Milliseconds after which an event that has not come is lost. */
const patience = 10_000

export async function eventFanOut (bench: Bench): Promise<EventFanOut> {
  const issuing = await createIssuing(bench.folder, 'ES256')
  const tokens: string[] = []
  for (let number = 0; number < streams; number++) tokens.push(await issuing.token(number))
  const kept: Round[] = []
  for (let number = 1; number <= bench.rounds; number++) {
    const round = await roundOf(bench, issuing, tokens, number)
    const { through, bare, perStream } = round
    kept.push(round)
    bench.note(`round ${number}: ${through.cpu.toFixed(1)} µs an event, p50 ${through.p50.toFixed(1)} ms, p99 ${through.p99.toFixed(1)} ms, bare ${bare.p50.toFixed(1)} and ${bare.p99.toFixed(1)} ms; ${perStream.toFixed(1)} kB a stream`)
  }
  const delay = (way: 'through' | 'bare'): Delay => ({ p50: spread(kept.map((round) => round[way].p50)), p99: spread(kept.map((round) => round[way].p99)) })
  return {
    streams,
    eventsPerSecond,
    cpu: spread(kept.map(({ through }) => through.cpu)),
    perStream: spread(kept.map(({ perStream }) => perStream)),
    through: delay('through'),
    bare: delay('bare'),
  }
}

/** Each has a gateway of its own: one that has had streams has room for as many already. */
async function roundOf ({ folder, upstream, script, seconds, connections, measure }: Bench, issuing: Issuing, tokens: readonly string[], number: number): Promise<Round> {
  const live = await startUpstream('live-upstream.mjs')
  const routes = [{ path: '/api', upstream, access: 'authenticated' }, { path: '/through', upstream: live.url, access: 'authenticated' }]
  const running = await gatewarden.start({ folder: join(folder, String(number)), upstream, issuing, config: { routes } })
  const opened: Streams[] = []
  try {
    const [token = ''] = tokens
    const tokenFile = join(folder, 'token')
    writeFileSync(tokenFile, `${token}\n`)
    // Load first, so that what requests need is not taken for what streams need.
    await load({ url: `${running.url}/api/x`, seconds: 3, connections, tokens: tokenFile }, running.pids, script)
    const before = residentMegabytes(running.pids)
    const through = await openStreams(`${running.url}/through`, tokens)
    opened.push(through)
    // A second of events warms everybody up, and a stream then has what it needs to be written to.
    await fanOut(`${live.url}/through`, through, eventsPerSecond, running.pids)
    const perStream = (residentMegabytes(running.pids) - before) / streams * 1024
    const bare = await openStreams(`${live.url}/bare`, tokens)
    opened.push(bare)
    await fanOut(`${live.url}/bare`, bare, eventsPerSecond, [])
    return {
      through: await measure(async () => await fanOut(`${live.url}/through`, through, seconds * eventsPerSecond, running.pids)),
      bare: await measure(async () => await fanOut(`${live.url}/bare`, bare, seconds * eventsPerSecond, [])),
      perStream,
    }
  } finally {
    for (const { end } of opened) end()
    await running.stop()
    await live.stop()
  }
}

/**
 * So many events to each stream, each when the one before has come everywhere: two that are read in one go would be taken for cheap
 * ones. Throws where one does not come. `pids`: whose CPU counts.
 */
async function fanOut (url: string, { count, delays, fault }: Streams, events: number, pids: readonly number[]): Promise<Measured> {
  delays.length = 0
  const [before, began] = [cpuMicroseconds(pids), performance.now()]
  for (let sent = 0; sent < events; sent++) {
    await pause(began + sent / eventsPerSecond * 1_000 - performance.now())
    const answer = await fetch(url, { method: 'POST' })
    const reached = Number(await answer.text())
    if (reached !== count) throw new Error(`the upstream wrote to ${reached} streams of ${count}`)
    for (const until = performance.now() + patience; delays.length < (sent + 1) * count; await pause(5)) {
      if (fault() !== null || performance.now() > until) throw new Error(`${delays.length} events of ${(sent + 1) * count} have come: ${fault() ?? 'the others are lost'}`)
    }
  }
  return { cpu: (cpuMicroseconds(pids) - before) / delays.length, p50: percentile(delays, 0.5), p99: percentile(delays, 0.99) }
}

/** One for each of the tokens. */
async function openStreams (url: string, tokens: readonly string[]): Promise<Streams> {
  const requests: ClientRequest[] = []
  const delays: number[] = []
  let fault: string | null = null

  async function open (token: string): Promise<void> {
    const asked = request(url, { agent: false, headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' } })
    requests.push(asked)
    asked.end()
    const [answer] = await once(asked, 'response') as [IncomingMessage]
    if (answer.statusCode !== 200) throw new Error(`a stream is answered ${String(answer.statusCode)}`)
    let rest = ''
    let last = 0
    answer.setEncoding('utf8')
    answer.on('data', (text: string) => {
      const now = process.hrtime.bigint()
      const events = (rest + text).split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) {
        const [, number, written] = /^data: \{"number":(\d+),"written":(\d+),"text":"x+"\}$/.exec(event) ?? []
        if (Number(number) !== ++last) fault ??= `after ${last - 1} came ${event}`
        delays.push(Number(now - BigInt(written ?? 0)) / 1_000_000)
      }
    })
    answer.once('close', () => { fault ??= 'a stream has ended' })
  }

  for (let from = 0; from < tokens.length; from += 100) await Promise.all(tokens.slice(from, from + 100).map(open))
  return { count: tokens.length, delays, fault: () => fault, end: () => { for (const asked of requests) asked.destroy() } }
}
