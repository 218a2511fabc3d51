/** The gateway alone, on other work than the main figure: what each kind of request costs, beside the plain verified GET of the same round. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spread } from './comparison.ts'
import { gatewarden, type Running } from './contenders.ts'
import { load, sendEach, warm, type Load, type Measured } from './load.ts'
import type { Bench } from './run.ts'
import { createIssuing, type Algorithm, type Issuing } from './tokens.ts'

interface Scenario {
  readonly name: string
  readonly algorithm?: Algorithm
  readonly config?: (upstream: string) => Record<string, unknown>
  readonly load?: Partial<Load>
  readonly path?: string
  /** Distinct tokens; 0: none is sent. */
  readonly tokens?: number
  readonly forged?: true
}

const manyRoutes = (count: number) => (upstream: string) => ({
  routes: [{ path: '/api', upstream, access: 'authenticated' }, ...Array.from({ length: count - 1 }, (_, index) => ({ path: `/service-${index}/v1`, upstream, access: 'authenticated' }))],
})

const scenarios: readonly Scenario[] = [
  { name: 'small GET' },
  { name: 'public route', path: '/open', tokens: 0 },
  { name: 'JSON POST of 4 kB', load: { method: 'POST', body: 'x'.repeat(4_096) } },
  { name: '1 MB download', path: '/1mb', config: (upstream) => ({ routes: [{ path: '/', upstream, access: 'authenticated' }] }) },
  { name: '10 MB upload', load: { method: 'POST', body: 'x'.repeat(10 * 2 ** 20), connections: 8 } },
  { name: '1,000 tokens', tokens: 1_000 },
  { name: '100,000 tokens', tokens: 100_000 },
  { name: 'no cache: every signature checked', config: () => ({ accessToken: { algorithm: 'ES256', cacheSize: 0 } }) },
  ...(['RS256', 'PS256', 'EdDSA', 'HS256'] as const).map((algorithm) => ({ name: `small GET, ${algorithm}`, algorithm })),
  ...(['ES256', 'RS256', 'EdDSA'] as const).map((algorithm) => ({ name: `401: flood of forged tokens, ${algorithm}`, algorithm, tokens: 20_000, forged: true as const })),
  { name: 'stripPrefix and a role rule', path: '/admin/things/1', config: (upstream) => ({ routes: [{ path: '/admin', upstream, access: { roles: ['editor'] }, stripPrefix: true }] }) },
  { name: '3 routes', config: manyRoutes(3) },
  { name: '300 routes', config: manyRoutes(300) },
  { name: '1,000 routes', config: manyRoutes(1_000) },
  { name: 'a connection for each request', load: { requestsPerConnection: 1 } },
]

export async function variants ({ folder, upstream, script, rounds, seconds, connections, measure, note }: Bench): Promise<unknown> {
  const issuings = new Map<string, Issuing>()
  const entries: { scenario: Scenario, running: Running, tokens: string | null, rounds: Measured[] }[] = []
  const instances = new Map<string, Running>()
  // From any of its tokens on, or a short load would bring the first of them alone.
  const loadOf = ({ scenario, running, tokens }: typeof entries[number]): Load => ({ url: running.url + (scenario.path ?? '/api/things/1'), seconds, connections, tokens, startAt: Math.floor(Math.random() * (scenario.tokens ?? 1)), ...scenario.load })
  try {
    for (const scenario of scenarios) {
      const algorithm = scenario.algorithm ?? 'ES256'
      let issuing = issuings.get(algorithm)
      if (issuing === undefined) issuings.set(algorithm, issuing = await createIssuing(folder, algorithm))
      // What needs nothing of its own shares one process; caches stay apart all the same, for the tokens differ.
      const key = scenario.config === undefined ? `plain ${algorithm}` : scenario.name
      let running = instances.get(key)
      if (running === undefined) {
        running = await gatewarden.start({ folder: join(folder, String(instances.size)), upstream, issuing, config: scenario.config?.(upstream) ?? {} })
        instances.set(key, running)
      }
      const tokens = await tokenFile(folder, scenario, issuing, entries.length)
      if (tokens !== null && (scenario.tokens ?? 1) > 1 && scenario.forged !== true) await sendEach(scenario.tokens ?? 1, { url: running.url + (scenario.path ?? '/api/things/1'), seconds: 10, connections, tokens }, running.pids, script)
      entries.push({ scenario, running, tokens, rounds: [] })
    }
    for (const entry of entries) await warm({ ...loadOf(entry), seconds: 2 }, entry.running.pids, script)
    for (let round = 1; round <= rounds; round++) {
      for (const entry of entries) {
        const { scenario, running, rounds } = entry
        const measured = await measure(async () => await load(loadOf(entry), running.pids, script))
        const wanted = scenario.forged === true ? measured.requests : 0
        if (measured.errors !== wanted) throw new Error(`${scenario.name}: ${measured.errors} answers of ${measured.requests} are no 2xx, instead of ${wanted}`)
        rounds.push(measured)
      }
      note(`round ${round} of ${rounds}`)
    }
  } finally {
    for (const running of instances.values()) await running.stop()
  }
  const base = entries[0]?.rounds ?? []
  return {
    rows: entries.map(({ scenario: { name }, rounds }) => ({
      name,
      cpu: spread(rounds.map(({ cpu }) => cpu)),
      ratio: spread(rounds.map(({ cpu }, round) => cpu / (base[round]?.cpu ?? NaN))),
      perSecond: spread(rounds.map(({ perSecond }) => perSecond)),
      p50: spread(rounds.map(({ p50 }) => p50)).median,
      p99: spread(rounds.map(({ p99 }) => p99)).median,
      p999: spread(rounds.map(({ p999 }) => p999)).median,
    })),
  }
}

async function tokenFile (folder: string, { tokens = 1, forged }: Scenario, issuing: Issuing, number: number): Promise<string | null> {
  if (tokens === 0) return null
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `tokens-${number}`)
  const lines: string[] = []
  for (let count = 0; count < tokens; count++) {
    const token = await issuing.token(number * 1_000_000 + count)
    // The last characters of a signature that was right.
    lines.push(forged === true ? `${token.slice(0, -12)}${token.slice(-24, -12)}` : token)
  }
  writeFileSync(file, `${lines.join('\n')}\n`)
  return file
}
