/**
 * What a verified GET costs with two workers, beside what it costs with one process. Of two cores the load and the upstream take one,
 * so that twice the requests cannot be seen here; but workers share nothing on a request's way, and where a request costs as much CPU
 * with two of them, two cores that are the gateway's own serve twice as many.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spread, type Spread } from './comparison.ts'
import { gatewarden, type Running } from './contenders.ts'
import { load, type Measured } from './load.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

export interface Scaling {
  readonly rows: readonly { readonly workers: number, readonly cpu: Spread, readonly perSecond: Spread }[]
  /** CPU of a request with two workers / with one. */
  readonly ratio: Spread
}

export async function scaling ({ folder, upstream, script, rounds, seconds, connections, measure, note }: Bench): Promise<Scaling> {
  const issuing = await createIssuing(folder, 'ES256')
  const tokens = join(folder, 'token')
  writeFileSync(tokens, `${await issuing.token(1)}\n`)
  const entries: { workers: number, running: Running, rounds: Measured[] }[] = []
  try {
    for (const workers of [1, 2]) {
      entries.push({ workers, running: await gatewarden.start({ folder: join(folder, `workers-${workers}`), upstream, issuing, config: { workers }, bothCores: true }), rounds: [] })
    }
    // Round 0 warms both up, and does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const { running, rounds } of entries) {
        const measured = await measure(async () => await load({ url: `${running.url}/api/things/1`, seconds, connections, tokens }, running.pids, script))
        if (measured.errors > 0) throw new Error(`${measured.errors} errors`)
        if (round > 0) rounds.push(measured)
      }
      if (round > 0) note(`round ${round}: ${entries.map(({ workers, rounds }) => `${workers}: ${rounds.at(-1)?.cpu.toFixed(1)} µs, ${rounds.at(-1)?.perSecond.toFixed(0)}/s`).join(', ')}`)
    }
  } finally {
    for (const { running } of entries) await running.stop()
  }
  const [one, two] = entries
  return {
    rows: entries.map(({ workers, rounds }) => ({ workers, cpu: spread(rounds.map(({ cpu }) => cpu)), perSecond: spread(rounds.map(({ perSecond }) => perSecond)) })),
    ratio: spread((two?.rounds ?? []).map(({ cpu }, round) => cpu / (one?.rounds[round]?.cpu ?? NaN))),
  }
}
