/**
 * Thousands of clients that send their heads and bodies a byte at a time: what is left for those who do not? Their bytes are work,
 * and so is each of them that is cut off and comes again: measured by itself first, as nobody else can have that part of the core.
 */
import { connect, type Socket } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { spread } from './comparison.ts'
import { gatewarden } from './contenders.ts'
import { load, type Measured } from './load.ts'
import type { Bench } from './run.ts'
import { cpuMicroseconds, residentMegabytes } from './process-cpu.ts'
import { createIssuing } from './tokens.ts'

const slow = 2_000

export async function slowClients ({ folder, upstream, script, rounds, seconds, connections, measure: atFullSpeed, note }: Bench): Promise<unknown> {
  const issuing = await createIssuing(folder, 'ES256')
  const running = await gatewarden.start({ folder, upstream, issuing })
  const tokens = join(folder, 'token')
  writeFileSync(tokens, `${await issuing.token(1)}\n`)
  const measure = async () => await atFullSpeed(async () => await load({ url: `${running.url}/api/x`, seconds, connections, tokens }, running.pids, script))
  const quiet: Measured[] = []
  const beside: Measured[] = []
  /** Of a core. */
  const shares: number[] = []
  const memory: number[] = []
  try {
    await measure()
    for (let round = 0; round < rounds; round++) {
      quiet.push(await measure())
      const attack = await slowly(new URL(running.url), slow)
      // Those who are cut off come again from here on.
      while (attack.cutOff() === 0) await pause(100)
      shares.push(await atFullSpeed(async () => await shareOfCore(running.pids, seconds)))
      beside.push(await measure())
      memory.push(residentMegabytes(running.pids))
      attack.end()
      note(`round ${round + 1}: ${quiet.at(-1)?.perSecond.toFixed(0)}/s in quiet, ${beside.at(-1)?.perSecond.toFixed(0)}/s beside ${slow} slow clients, who take ${(100 * (shares.at(-1) ?? NaN)).toFixed(0)} % of the core by themselves`)
    }
  } finally {
    await running.stop()
  }
  return {
    slow,
    quiet: { cpu: spread(quiet.map(({ cpu }) => cpu)), perSecond: spread(quiet.map(({ perSecond }) => perSecond)), p99: spread(quiet.map(({ p99 }) => p99)) },
    beside: {
      cpu: spread(beside.map(({ cpu }) => cpu)),
      perSecond: spread(beside.map(({ perSecond }) => perSecond)),
      p99: spread(beside.map(({ p99 }) => p99)),
      ratio: spread(beside.map(({ perSecond }, round) => perSecond / (quiet[round]?.perSecond ?? NaN))),
      /** To what the core can do in the time that the slow ones leave. */
      ratioOfRest: spread(beside.map(({ perSecond }, round) => perSecond / ((quiet[round]?.perSecond ?? NaN) * (1 - (shares[round] ?? NaN))))),
    },
    share: spread(shares),
    residentMegabytes: spread(memory),
  }
}

async function shareOfCore (pids: readonly number[], seconds: number): Promise<number> {
  const [before, began] = [cpuMicroseconds(pids), performance.now()]
  await pause(seconds * 1_000)
  return (cpuMicroseconds(pids) - before) / 1_000 / (performance.now() - began)
}

/** Half of them slow with the head, half with the body; one byte each a second, and a new one for each that is cut off. */
async function slowly ({ hostname, port }: URL, count: number): Promise<{ cutOff (): number, end (): void }> {
  const sockets = new Set<Socket>()
  let ended = false
  let cutOff = 0
  const open = (number: number): Promise<void> => new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(number % 2 === 0 ? 'GET /api/x HTTP/1.1\r\nHost: a\r\nX-Slow: ' : 'POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n')
      resolve()
    })
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      cutOff++
      if (!ended) void open(number)
    })
  })
  for (let number = 0; number < count; number += 100) await Promise.all(Array.from({ length: 100 }, async (_, index) => { await open(number + index) }))
  const drip = setInterval(() => { for (const socket of sockets) if (socket.writable) socket.write('x') }, 1_000)
  return {
    cutOff: () => cutOff,
    end () {
      ended = true
      clearInterval(drip)
      for (const socket of sockets) socket.destroy()
    },
  }
}
