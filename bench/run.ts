/**
 * npm run bench -- SCENARIO… [--rounds N] [--seconds N] [--connections N] [--users N] [--requests N]: measures, prints, and keeps what came out in
 * bench/results/SCENARIO.json, of which `npm run bench:table` makes the tables of README and docs/performance.md.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { comparison } from './comparison.ts'
import { eventFanOut } from './event-fan-out.ts'
import { footprint } from './footprint.ts'
import { openFullSpeed, type FullSpeed } from './full-speed.ts'
import { growth } from './growth.ts'
import { instructions } from './instructions.ts'
import { writeScript } from './load.ts'
import { loginFlood } from './login-flood.ts'
import { loginTiming } from './login-timing.ts'
import { machineLine, startUpstream, which } from './machine.ts'
import { scaling } from './scaling.ts'
import { variants } from './scenarios.ts'
import { slowClients } from './slow-clients.ts'
import { soak } from './soak.ts'
import { start } from './start.ts'
import { tlsInFront } from './tls-in-front.ts'
import { websocketEcho } from './websocket-echo.ts'

export interface Bench {
  /** Of its own, removed at the end. */
  readonly folder: string
  readonly upstream: string
  /** For wrk. */
  readonly script: string
  readonly rounds: number
  readonly seconds: number
  readonly connections: number
  /** Of the large storage. */
  readonly users: number
  /** Of the soak. */
  readonly requests: number
  /** A measurement, made again where the machine was slow meanwhile. */
  readonly measure: FullSpeed['measure']
  note (line: string): void
}

const scenarios: Readonly<Record<string, (bench: Bench) => Promise<unknown>>> = {
  comparison,
  variants,
  'tls-in-front': tlsInFront,
  'websocket-echo': websocketEcho,
  'event-fan-out': eventFanOut,
  'login-flood': loginFlood,
  'login-timing': loginTiming,
  'slow-clients': slowClients,
  start,
  footprint,
  soak,
  growth,
  instructions,
  scaling,
}

const { values, chosen } = readArguments()
const unknown = chosen.find((name) => !(name in scenarios))
if (unknown !== undefined || process.platform !== 'linux' || which('wrk') === null || which('taskset') === null) {
  process.stderr.write(unknown === undefined
    ? 'needs Linux, with wrk and taskset: apt-get install wrk util-linux\n'
    : `there is no scenario ${unknown}; there are ${Object.keys(scenarios).join(', ')}\n`)
  process.exit(2)
}

/** Ends with 2 where there is something that cannot be measured by. */
function readArguments () {
  const options = { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '4' }, connections: { type: 'string', default: '32' }, users: { type: 'string', default: '1000000' }, requests: { type: 'string', default: '1000000' } } as const
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options })
    const wrong = Object.entries(values).find(([, value]) => !/^[1-9]\d*$/.test(value))
    if (wrong !== undefined) throw new Error(`--${wrong[0]} takes a number from 1 on`)
    return { values, chosen: positionals.length === 0 ? Object.keys(scenarios) : positionals }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\nnpm run bench -- [SCENARIO…] [--${Object.keys(options).join(' N] [--')} N]; scenarios: ${Object.keys(scenarios).join(', ')}\n`)
    process.exit(2)
  }
}

// Certificates that this machine adds to Node's own: each process on Node 20 reads them, in a quarter of a start, and keeps them.
delete process.env['NODE_EXTRA_CA_CERTS']
const folder = mkdtempSync(join(tmpdir(), 'gatewarden-bench-'))
const upstream = await startUpstream('upstream.mjs')
const fullSpeed = await openFullSpeed()
try {
  const results = resolve(import.meta.dirname, 'results')
  mkdirSync(results, { recursive: true })
  for (const name of chosen) {
    const { thrownAway } = fullSpeed.count
    const result = await scenarios[name]?.({
      folder: mkdtempSync(join(folder, name)),
      upstream: upstream.url,
      script: await writeScript(folder),
      rounds: Number(values.rounds),
      seconds: Number(values.seconds),
      connections: Number(values.connections),
      users: Number(values.users),
      requests: Number(values.requests),
      measure: fullSpeed.measure,
      note: (line) => { process.stdout.write(`${name}: ${line}\n`) },
    })
    const kept = { scenario: name, date: new Date().toISOString().slice(0, 10), machine: machineLine(), rounds: Number(values.rounds), seconds: Number(values.seconds), connections: Number(values.connections), thrownAway: fullSpeed.count.thrownAway - thrownAway, result }
    writeFileSync(join(results, `${name}.json`), `${JSON.stringify(kept, null, 2)}\n`)
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  }
} finally {
  await fullSpeed.close()
  await upstream.stop()
  rmSync(folder, { recursive: true, force: true })
}
