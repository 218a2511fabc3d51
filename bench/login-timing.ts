/**
 * Can a stopwatch tell a known, an unknown and a disabled user apart? Wrong passwords for each in random order, one at a time,
 * and Mann–Whitney's test on the times; beside it a control, two unknown users, which shows what chance does here.
 */
import { execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { gatewarden } from './contenders.ts'
import { mannWhitney, percentile } from './percentiles.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

const cli = resolve(import.meta.dirname, '../dist/cli.js')
const kinds = ['known', 'unknown', 'disabled', 'unknown too'] as const

export async function loginTiming ({ folder, upstream, rounds, note }: Bench): Promise<unknown> {
  const running = await gatewarden.start({
    folder,
    upstream,
    issuing: await createIssuing(folder, 'ES256'),
    // The throttle would answer 429 after a few; its delays are the same for all names (test/security/).
    config: { throttle: { attempts: 1_000_000, attemptsPerAddress: 1_000_000, attemptsInAll: 10_000_000 } },
  })
  const times: Record<typeof kinds[number], number[]> = { 'known': [], 'unknown': [], 'disabled': [], 'unknown too': [] }
  try {
    for (const name of ['known', 'disabled']) execFileSync(process.execPath, [cli, 'users', 'add', name, '--password-stdin', '--config', join(folder, 'config.yaml')], { input: 'correct horse battery staple' })
    execFileSync(process.execPath, [cli, 'users', 'disable', 'disabled', '--config', join(folder, 'config.yaml')])
    const tries = rounds * 200
    for (let count = -20; count < tries; count++) {
      for (const kind of shuffled(kinds)) {
        const began = performance.now()
        const response = await fetch(`${running.url}/auth/login`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ username: kind.replace(' too', '2'), password: `wrong password ${count}` }),
        })
        await response.text()
        const took = performance.now() - began
        if (response.status !== 401) throw new Error(`a login answered ${response.status}`)
        if (count >= 0) times[kind].push(took)
      }
    }
  } finally {
    await running.stop()
  }
  const result = {
    tries: times.known.length,
    times: kinds.map((kind) => ({ kind, p10: percentile(times[kind], 0.1), p50: percentile(times[kind], 0.5), p90: percentile(times[kind], 0.9) })),
    comparisons: ([['known', 'unknown'], ['disabled', 'unknown'], ['known', 'disabled'], ['unknown', 'unknown too']] as const)
      .map(([a, b]) => ({ a, b, ...mannWhitney(times[a], times[b]) })),
  }
  for (const { a, b, greater, z } of result.comparisons) note(`${a} against ${b}: P(greater) ${greater.toFixed(3)}, z ${z.toFixed(2)}`)
  return result
}

function shuffled<Value> (values: readonly Value[]): Value[] {
  return values.map((value) => ({ value, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ value }) => value)
}
