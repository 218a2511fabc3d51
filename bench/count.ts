/**
 * npm run bench:count [-- --runs N] [-- --write]: what one request costs in allocations and calls, held against bench/budget.json.
 * No clock is read: the counts are the same on a slow machine and on a busy one, so that a slow hot path fails before it lands,
 * and nothing else does. They do differ by Node: each major has a budget of its own, and without one nothing is compared.
 * `--write` makes the budget of this major, and keeps the counts by part for `npm run bench:table`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { countRequests, type CountedRequest, type Counts } from './counted-gateway.ts'

type Kind = keyof Counts

interface Budget {
  /** Shares of a count that it may be above its budget. */
  readonly margins: Readonly<Record<Kind, number>>
  /** For what Node's own code decides, on another release of the major than the budget was made on. */
  readonly marginOnAnotherRelease: number
  readonly byMajor: Readonly<Record<string, BudgetOfMajor>>
}

interface BudgetOfMajor {
  readonly version: string
  readonly runs: number
  /** The widest of all requests, as a share: (most − least) / least of the runs that made this budget. */
  readonly spread: Readonly<Record<Kind, number>>
  readonly requests: Readonly<Record<string, Counts>>
}

export interface KeptCounts {
  readonly date: string
  readonly version: string
  readonly requests: readonly CountedRequest[]
}

const names: Readonly<Record<Kind, string>> = {
  bytes: 'bytes allocated',
  bundled: 'calls of ours and of packages',
  node: 'calls within Node',
  readsAndWrites: 'reads and writes',
}
// The last is read from /proc.
const kinds = (Object.keys(names) as Kind[]).filter((kind) => kind !== 'readsAndWrites' || process.platform === 'linux')
const budgetFile = resolve(import.meta.dirname, 'budget.json')
const version = process.versions.node
const major = version.split('.')[0] ?? ''

const { values: { runs, write } } = parseArgs({ options: { runs: { type: 'string', default: '1' }, write: { type: 'boolean', default: false } } })
const budget = JSON.parse(readFileSync(budgetFile, 'utf8')) as Budget
const counted: CountedRequest[][] = []
for (let run = 0; run < Number(runs); run++) counted.push(await countRequests())
if (write) writeBudget()
else compare()

function compare (): void {
  const ours = budget.byMajor[major]
  if (ours === undefined) say(`NOT COMPARED: bench/budget.json has no budget for Node ${major}; npm run bench:count -- --write makes one\n`)
  else if (ours.version !== version) say(`The budget was made on Node ${ours.version}, this is ${version}: bytes and calls within Node may differ by ${percent(budget.marginOnAnotherRelease)}.`)
  for (const { name } of counted[0] ?? []) {
    say(name)
    for (const kind of kinds) {
      const { least, most } = extremes(name, kind)
      const allowed = ours?.requests[name]?.[kind]
      say(`  ${names[kind]}: ${least === most ? most : `${least}–${most}`}${ours === undefined ? '' : `, ${verdict(most, allowed, marginOf(kind, ours))}`}`)
    }
  }
  if (process.exitCode === 1) say('\nA request has become dearer. If that is what it takes: npm run bench:count -- --write, and the commit says why.')
}

function verdict (count: number, allowed: number | undefined, margin: number): string {
  if (allowed === undefined || count > allowed * (1 + margin)) {
    process.exitCode = 1
    return allowed === undefined ? 'NO BUDGET' : `OVER its budget of ${allowed} + ${percent(margin)}`
  }
  return count < allowed * (1 - margin) ? `below its budget of ${allowed}: npm run bench:count -- --write tightens it` : `budget ${allowed} + ${percent(margin)}`
}

function marginOf (kind: Kind, { version: madeOn }: BudgetOfMajor): number {
  return madeOn !== version && (kind === 'bytes' || kind === 'node') ? budget.marginOnAnotherRelease : budget.margins[kind]
}

/** Of the medians; not if the runs lie further apart than the margin, for then the check would fail by chance. */
function writeBudget (): void {
  const requests = (counted[0] ?? []).map(({ name, parts }): CountedRequest => ({
    name,
    counts: Object.fromEntries(kinds.map((kind) => [kind, median(name, kind)])) as unknown as Counts,
    parts,
  }))
  const spread = Object.fromEntries(kinds.map((kind) => [kind, Math.max(...requests.map(({ name }) => {
    const { least, most } = extremes(name, kind)
    return Number(((most - least) / least).toFixed(6))
  }))])) as Record<Kind, number>
  for (const kind of kinds) {
    say(`${names[kind]}: ${percent(spread[kind])} between ${runs} runs, margin ${percent(budget.margins[kind])}`)
    if (spread[kind] > budget.margins[kind]) process.exitCode = 1
  }
  if (process.exitCode === 1) {
    say('The runs differ by more than the margin: nothing is written.')
    return
  }
  const ours: BudgetOfMajor = { version, runs: Number(runs), spread, requests: Object.fromEntries(requests.map(({ name, counts }) => [name, counts])) }
  const kept: KeptCounts = { date: new Date().toISOString().slice(0, 10), version, requests }
  writeFileSync(budgetFile, `${JSON.stringify({ ...budget, byMajor: { ...budget.byMajor, [major]: ours } }, null, 2)}\n`)
  writeFileSync(resolve(import.meta.dirname, 'results/count.json'), `${JSON.stringify(kept, null, 2)}\n`)
}

function countsOf (name: string, kind: Kind): number[] {
  return counted.map((requests) => requests.find((request) => request.name === name)?.counts[kind] ?? NaN).sort((a, b) => a - b)
}

function extremes (name: string, kind: Kind): { readonly least: number, readonly most: number } {
  const counts = countsOf(name, kind)
  return { least: counts[0] ?? NaN, most: counts.at(-1) ?? NaN }
}

function median (name: string, kind: Kind): number {
  const counts = countsOf(name, kind)
  return counts[Math.floor(counts.length / 2)] ?? NaN
}

function percent (share: number): string {
  return `${Number((share * 100).toFixed(3))} %`
}

function say (line: string): void {
  process.stdout.write(`${line}\n`)
}
