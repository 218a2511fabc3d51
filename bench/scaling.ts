/**
 * What a verified GET costs with two workers, beside what it costs with two gateways that know nothing of each other, all on one core: of
 * two, the load and the upstream need the other. Two gateways on a core of each one's own serve twice what one does; so do two workers,
 * where a request costs as much with them. What taking turns on one core costs, both pay here; what they would cost each other on two,
 * in memory's bandwidth and the kernel's locks, neither does.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spread, type Spread } from './comparison.ts'
import { gatewarden, type Running } from './contenders.ts'
import { load, warm, type Measured } from './load.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

export interface Scaling {
  /** Microseconds of CPU of a request. */
  readonly rows: readonly { readonly what: string, readonly cpu: Spread }[]
  /** CPU of a request with two workers / with two gateways. */
  readonly ratio: Spread
}

/** `connections`: how many times as many as for one process. */
interface Entry { readonly what: string, readonly gateways: readonly Running[], readonly connections: number, readonly cpu: number[] }

export async function scaling ({ folder, upstream, script, rounds, seconds, connections, measure, note }: Bench): Promise<Scaling> {
  const issuing = await createIssuing(folder, 'ES256')
  const tokens = join(folder, 'token')
  writeFileSync(tokens, `${await issuing.token(1)}\n`)
  const started: Running[] = []
  const start = async (workers: number) => {
    const running = await gatewarden.start({ folder: join(folder, `gateway-${started.length}`), upstream, issuing, config: { workers } })
    started.push(running)
    return running
  }
  try {
    const [one, other, workers] = [await start(1), await start(1), await start(2)]
    const entries: Entry[] = [
      { what: 'one gateway', gateways: [one], connections: 1, cpu: [] },
      { what: 'two gateways', gateways: [one, other], connections: 1, cpu: [] },
      { what: 'one gateway of two workers', gateways: [workers], connections: 2, cpu: [] },
    ]
    const how = ({ url }: Running, times: number) => ({ url: `${url}/api/things/1`, seconds, connections: connections * times, tokens })
    // Twice for two workers, who each get half of it.
    for (const running of [one, other, workers, workers]) await warm(how(running, 1), running.pids, script)
    for (let round = 1; round <= rounds; round++) {
      for (const { gateways, connections, cpu } of entries) {
        cpu.push(await measure(async () => together(await Promise.all(gateways.map(async (running) => await load(how(running, connections), running.pids, script))))))
      }
      note(`round ${round}: ${entries.map(({ what, cpu }) => `${what} ${cpu.at(-1)?.toFixed(1)} µs`).join(', ')}`)
    }
    const [, apart, asWorkers] = entries
    return {
      rows: entries.map(({ what, cpu }) => ({ what, cpu: spread(cpu) })),
      ratio: spread((asWorkers?.cpu ?? []).map((cpu, round) => cpu / (apart?.cpu[round] ?? NaN))),
    }
  } finally {
    for (const running of started) await running.stop()
  }
}

/** Microseconds of CPU for one of all their requests. */
function together (measured: readonly Measured[]): number {
  if (measured.some(({ errors }) => errors > 0)) throw new Error('not each request was answered with a 2xx')
  const requests = measured.reduce((sum, { requests }) => sum + requests, 0)
  return measured.reduce((sum, { cpu, requests }) => sum + cpu * requests, 0) / requests
}
