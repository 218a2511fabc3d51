/** npm run bench:table: docs/performance.md and the table of README, from bench/results/. Nothing in them is written by hand. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Spread } from './comparison.ts'
import type { KeptCounts } from './count.ts'
import type { EventFanOut } from './event-fan-out.ts'
import type { Footprint } from './footprint.ts'
import type { Growth } from './growth.ts'
import type { Instructions } from './instructions.ts'
import type { LoginFlood } from './login-flood.ts'
import type { Scaling } from './scaling.ts'
import type { Soak } from './soak.ts'
import type { Start } from './start.ts'
import type { TlsInFront } from './tls-in-front.ts'
import type { WebSocketEcho } from './websocket-echo.ts'

interface Kept<Result> {
  readonly date: string
  readonly machine: string
  readonly rounds: number
  readonly seconds: number
  readonly connections: number
  /** Measurements. */
  readonly thrownAway?: number
  readonly result: Result
}

interface Row {
  readonly name: string
  readonly cpu: Spread
  readonly ratio: Spread
  readonly perSecond: Spread
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

interface Comparison {
  readonly rows: readonly Row[]
  readonly ratios: readonly { readonly against: string, readonly ratio: Spread, readonly must: number, readonly goal: number }[]
}

const root = resolve(import.meta.dirname, '..')
const begin = '<!-- begin: npm run bench:table -->'
const end = '<!-- end -->'

replace('README.md', [comparison()?.ratios ?? ''])
replace('docs/performance.md', [
  comparison()?.all ?? '',
  section<{ rows: readonly Row[] }>('variants', 'Other work', ({ rows }) => table(
    ['request', 'µs of CPU', '× a small GET', 'requests/s', 'p50 ms', 'p99 ms', 'p99.9 ms'],
    rows.map(({ name, cpu, ratio, perSecond, p50, p99, p999 }) => [name, range(cpu, 1), range(ratio, 2), perSecond.median.toFixed(0), p50.toFixed(2), p99.toFixed(2), p999.toFixed(2)])
  )),
  section<TlsInFront>('tls-in-front', 'TLS in front', ({ rows }) =>
    'The gateway speaks no TLS to clients; HAProxy ends it, on the same core. Verified GETs, ES256; TLS 1.3, a certificate of P-256, no session resumed.\n\n' + table(
      ['', 'gateway, µs of CPU per request', '× straight', 'HAProxy, µs of CPU per request', 'requests/s', 'p50 ms', 'p99 ms'],
      rows.map(({ name, gateway, ratio, front, perSecond, p50, p99 }, index) => [name, range(gateway, 1), range(ratio, 2), index === 0 ? '' : range(front, 1), range(perSecond, 0), range(p50, 2), range(p99, 2)])
    )),
  section<WebSocketEcho>('websocket-echo', 'WebSocket echo', ({ bytes, cpu, through, bare }) =>
    `Each connection sends ${bytes.toLocaleString('en')} bytes, waits until they are back, and sends the next. Client and upstream share the other core, and are all there is in the second line.\n\n` + table(
      ['', 'gateway, µs of CPU per message, there and back', 'messages/s', 'p50 ms', 'p99 ms'],
      [['through the gateway', range(cpu, 1), through] as const, ['straight to the upstream', '', bare] as const].map(([way, cpu, { perSecond, p50, p99 }]) => [way, cpu, range(perSecond, 0), range(p50, 2), range(p99, 2)])
    )),
  section<EventFanOut>('event-fan-out', 'Events to a thousand streams', ({ streams, eventsPerSecond, cpu, perStream, through, bare }) =>
    `An event of a hundred bytes to each of ${streams.toLocaleString('en')} streams, ${eventsPerSecond} times a second; each has a token of its own, and every event came. Client and upstream share the other core. A stream takes ${range(perStream, 1)} kB of the gateway's memory, with both of its sockets.\n\n` + table(
      ['', 'gateway, µs of CPU per event', 'from the upstream\'s write to the client: p50 ms', 'p99 ms'],
      [['through the gateway', range(cpu, 1), through] as const, ['straight to the upstream', '', bare] as const].map(([way, cpu, { p50, p99 }]) => [way, cpu, range(p50, 1), range(p99, 1)])
    )),
  section<LoginFlood>('login-flood', 'Logins and refreshes beside the proxy', ({ quiet, logins, refreshes, rate, alone }) =>
    `The gateway has one core. Verified GETs, ${rate} a second in an open loop:\n\n` + table(
      ['beside', 'p99 ms', '× quiet', 'of them a second'],
      [
        ['nothing', range(quiet.p99, 2), '1', ''],
        [`${logins.offered.median.toFixed(0)} logins a second, twice what the core can hash`, range(logins.p99, 2), range(logins.ratio, 2), range(logins.perSecond, 1)],
        ['refreshes at full speed, each on the disk (SQLite)', range(refreshes.p99, 2), range(refreshes.ratio, 2), range(refreshes.perSecond, 0)],
      ]
    ) + '\n\nWith nothing beside them:\n\n' + table(
      ['', 'a second on one core'],
      [
        ['bare argon2id, as configured', range(alone.bareHashes, 1)],
        [`logins, by ${alone.clients} clients`, `${range(alone.logins, 1)}: ${range(alone.loginsPerHash, 2)} of the bare hash`],
        ...Object.entries(alone.refreshes).map(([engine, perSecond]) => [`refreshes, each on the disk: ${engine}`, range(perSecond, 0)]),
      ]
    )),
  section<{ slow: number, share: Spread, quiet: { cpu: Spread, perSecond: Spread, p99: Spread }, beside: { cpu: Spread, perSecond: Spread, p99: Spread, ratio: Spread, ratioOfRest: Spread } }>('slow-clients', 'Slow clients', ({ slow, share, quiet, beside }) => `${table(
    ['beside', 'µs of CPU', 'requests/s', 'p99 ms', '× quiet', '× what is left of the core'],
    [
      ['nothing', range(quiet.cpu, 1), range(quiet.perSecond, 0), range(quiet.p99, 2), '1', '1'],
      [`${slow} clients that send a byte a second`, range(beside.cpu, 1), range(beside.perSecond, 0), range(beside.p99, 2), range(beside.ratio, 2), range(beside.ratioOfRest, 2)],
    ]
  )}\n\nWith nobody else there the slow ones take ${range(share, 2)} of the core: their bytes, and those who are cut off and come again.`),
  section<{ tries: number, comparisons: readonly { a: string, b: string, greater: number, z: number }[], times: readonly { kind: string, p10: number, p50: number, p90: number }[] }>('login-timing', 'Can a stopwatch tell users apart?', ({ tries, times, comparisons }) =>
    `${tries} wrong passwords for each kind of user, in random order, one at a time; Mann–Whitney's test. Beyond ±3, z is more than chance.\n\n` +
    table(['wrong password for a user who is', 'p10 ms', 'p50 ms', 'p90 ms'], times.map(({ kind, p10, p50, p90 }) => [kind, p10.toFixed(2), p50.toFixed(2), p90.toFixed(2)])) + '\n\n' +
    table(['slower?', 'chance', 'z'], comparisons.map(({ a, b, greater, z }) => [`${a} than ${b}`, greater.toFixed(3), z.toFixed(2)]))),
  section<Record<string, Start>>('start', 'As a sidecar: the start', (starts) => table(
    ['', 'ready after, ms', 'ms of CPU until then', 'resident 3 s later, MB'],
    Object.entries(starts).map(([kind, { ready, cpu, resident }]) => [kind, range(ready, 0), range(cpu, 0), range(resident, 1)])
  )),
  section<Footprint>('footprint', 'As a sidecar: memory', (result) => table(
    ['', `resident, MB${result.limit === null ? '' : `, of ${result.limit} that there are`}`],
    [
      ['idle', result.idle.toFixed(0)],
      ['after load', result.afterLoad.toFixed(0)],
      ['while 4 GB come down', `at most ${result.download.toFixed(0)}`],
      ['while 4 GB go up', `at most ${result.upload.toFixed(0)}`],
      ['100,000 tokens remembered', `${result.with100000Tokens.toFixed(0)}, after ${result.beforeTokens.toFixed(0)}`],
      ['9,000 idle WebSockets', `${result.perIdleWebSocketKilobytes.toFixed(1)} kB each, with both of their sockets`],
    ]
  )),
  section<Soak>('soak', 'Millions of requests', ({ requests, seconds, newTokensPerPart, requestsPerConnection, parts }) =>
    `${requests.toLocaleString('en')} requests (\`--requests\` says how many at least) in ${(seconds / 60).toFixed(0)} minutes, ${requestsPerConnection} on a connection, ${parts.reduce((sum, { failed }) => sum + failed, 0).toLocaleString('en')} of them not answered with 200, in ${parts.length} parts; each part brings ${newTokensPerPart.toLocaleString('en')} tokens that were not seen before, and 100,000 are remembered.\n\n` +
    table(['MB resident', ...parts.map((_, index) => String(index + 1))], (['least', 'median', 'most'] as const).map((which) => [which, ...parts.map((part) => part[which].toFixed(0))]))),
  section<Scaling>('scaling', 'Workers', ({ rows, ratio }) =>
    `All on one core; load and upstream have the other. A verified GET costs ${range(ratio, 2)} times as much CPU with two workers as with two gateways that know nothing of each other, who on two cores serve twice what one serves on one: two workers ${(2 / ratio.median).toFixed(2)} (${(2 / ratio.max).toFixed(2)}–${(2 / ratio.min).toFixed(2)}) times as much. What taking turns on one core costs, both pay here.\n\n` +
    table(['', 'µs of CPU per request'], rows.map(({ what, cpu }) => [what, range(cpu, 1)]))),
  section<Instructions>('instructions', 'What a request costs, in instructions', ({ rows, batch }) => {
    // What is done by the clock, and garbage, only ever adds.
    const [ours = NaN] = rows.map(({ instructions }) => instructions.min)
    const count = (instructions: number) => Math.round(instructions).toLocaleString('en')
    return `User instructions of the whole process, by callgrind, for one of the ${batch.toLocaleString('en')} requests of a batch: the least of all batches, then the median and the most; the kernel's are not among them. Ratios are of the least, for what is done by the clock, and collecting garbage, only ever adds, and weighs more in slow motion.\n\n` +
      table(['', 'instructions', 'ours, verified / these'], rows.map(({ name, instructions: { median, min, max } }) => [name, `${count(min)} (${count(median)}, ${count(max)})`, (ours / min).toFixed(2)]))
  }),
  section<Growth>('growth', 'Growth', growth),
  counts(),
])

function comparison (): { readonly ratios: string, readonly all: string } | null {
  const kept = read<Comparison>('comparison')
  if (kept === null) return null
  const rows = table(
    ['', 'µs of CPU per request', 'requests/s', 'p50 ms', 'p99 ms', 'p99.9 ms'],
    kept.result.rows.map(({ name, cpu, perSecond, p50, p99, p999 }) => [name, range(cpu, 1), perSecond.median.toFixed(0), p50.toFixed(2), p99.toFixed(2), p999.toFixed(2)])
  )
  const ratios = table(
    ['CPU per request against', 'ours / theirs', 'target', 'goal'],
    kept.result.ratios.map(({ against, ratio, must, goal }) => [against, range(ratio, 2), `≤ ${must}`, `≤ ${goal}`])
  )
  const how = conditions('comparison', kept)
  return { ratios: `${ratios}\n\n${how}`, all: `## A verified GET, forwarded\n\n${ratios}\n\n${rows}\n\n${how}` }
}

function growth ({ users, sessionsPerUser, engines }: Growth): string {
  const size = (count: number) => `${count.toLocaleString('en')} users, ${(count * sessionsPerUser).toLocaleString('en')} sessions`
  const rows = Object.entries(engines).flatMap(([engine, { boot, operations }]) => [
    { what: `${engine}: the start, ms`, digits: 0, figures: boot },
    ...Object.entries(operations).flatMap(([name, { p50, cpu }]) => [
      { what: `${engine}: a ${name}, p50 ms`, digits: 2, figures: p50 },
      { what: `${engine}: a ${name}, µs of CPU`, digits: 0, figures: cpu },
    ]),
  ])
  return 'One request at a time, and passwords hashed as cheaply as may be, so that the storage shows. CPU is the gateway\'s and the database server\'s.\n\n' +
    table(['', size(users.small), size(users.large), 'ratio'], rows.map(({ what, digits, figures }) => [what, range(figures.small, digits), range(figures.large, digits), range(figures.ratio, 2)])) +
    '\n\nCleaning of what has expired, with a hundred refreshes a second beside it:\n\n' +
    table(
      ['', 'on the disk', 'expired', 'deleted', 'in s', 'a refresh before it: p50, p99, most, ms', 'beside it'],
      Object.entries(engines).map(([engine, { megabytes, cleaning: { expired, deleted, seconds, quiet, beside } }]) =>
        [engine, `${megabytes.toFixed(0)} MB`, expired.toLocaleString('en'), deleted.toLocaleString('en'), seconds.toFixed(0), ...[quiet, beside].map(({ p50, p99, most }) => `${p50.toFixed(2)}, ${p99.toFixed(2)}, ${most.toFixed(0)}`)])
    )
}

/** What has less than a hundredth of the calls of every request goes into one line. */
function counts (): string {
  const file = join(root, 'bench/results/count.json')
  if (!existsSync(file)) return ''
  const { date, version, requests } = JSON.parse(readFileSync(file, 'utf8')) as KeptCounts
  const smallest = requests.map(({ counts: { bundled, node } }) => (bundled + node) / 100)
  const rows = [...new Set(requests.flatMap(({ parts }) => Object.keys(parts)))].map((part) => ({ part, calls: requests.map(({ parts }) => parts[part] ?? 0) }))
  const large = rows.filter(({ calls }) => calls.some((count, index) => count >= (smallest[index] ?? 0)))
  const small = rows.filter((row) => !large.includes(row))
  const rest = requests.map((_, index) => small.reduce((sum, { calls }) => sum + (calls[index] ?? 0), 0))
  const cost = [
    ['kB allocated', ...requests.map(({ counts }) => (counts.bytes / 1000).toFixed(1))],
    ['reads and writes', ...requests.map(({ counts }) => counts.readsAndWrites.toFixed(0))],
    ['calls of functions', ...requests.map(({ counts: { bundled, node } }) => (bundled + node).toFixed(0))],
    ...[...large].sort((a, b) => isOfNode(a.part) - isOfNode(b.part) || (b.calls[0] ?? 0) - (a.calls[0] ?? 0)).map(({ part, calls }) => [`… ${part}`, ...calls.map((count) => count.toFixed(0))]),
    ['… smaller parts', ...rest.map((count) => count.toFixed(0))],
  ]
  return `## What a request costs, counted\n\n${table(['for one request', ...requests.map(({ name }) => name)], cost)}\n\n\`npm run bench:count -- --write\`: ${date}, Node ${version}, unoptimised.`
}

function isOfNode (part: string): number {
  return part.startsWith('Node: ') ? 1 : 0
}

function section<Result> (name: string, title: string, write: (result: Result) => string): string {
  const kept = read<Result>(name)
  return kept === null ? '' : `## ${title}\n\n${write(kept.result)}\n\n${conditions(name, kept)}`
}

function conditions (name: string, { date, machine, rounds, seconds, connections, thrownAway = 0 }: Kept<unknown>): string {
  return `\`npm run bench -- ${name} --rounds ${rounds} --seconds ${seconds} --connections ${connections}\`: medians (least–most), ${date}, ${machine}.${thrownAway === 0 ? '' : ` ${thrownAway} measurements were thrown away, the machine having been slower meanwhile.`}`
}

function read<Result> (name: string): Kept<Result> | null {
  const file = join(root, 'bench/results', `${name}.json`)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) as Kept<Result> : null
}

function table (head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function range ({ median, min, max }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}

function replace (file: string, parts: readonly string[]): void {
  const path = join(root, file)
  const text = readFileSync(path, 'utf8')
  const [before, rest] = text.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`${file} has no place for the table: ${begin} … ${end}`)
  writeFileSync(path, `${before}${begin}\n\n${parts.filter((part) => part !== '').join('\n\n')}\n\n${end}${after}`)
}
