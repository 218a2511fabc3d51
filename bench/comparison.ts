/**
 * The main figure: one verified, forwarded GET, by us and by every peer that is installed, one core each, in interleaved rounds.
 *   npm run bench -- comparison [--rounds 5] [--seconds 4] [--connections 32]
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gatewarden, peers, type Contender, type Running } from './contenders.ts'
import { load, warm, type Measured } from './load.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

interface Entry {
  readonly name: string
  readonly running: Running
  readonly path: string
  readonly verifies: boolean
  readonly tokens: string
  readonly rounds: Measured[]
}

/** What issue and README promise: CPU per request of ours / theirs. */
const targets: Readonly<Record<string, { readonly must: number, readonly goal: number, readonly ours: string }>> = {
  'HAProxy jwt_verify ES256': { must: 0.6, goal: 0.45, ours: 'Gatewarden ES256' },
  'HAProxy jwt_verify RS256': { must: 1.0, goal: 0.8, ours: 'Gatewarden RS256' },
  'HAProxy, no auth': { must: 3.0, goal: 2.2, ours: 'Gatewarden ES256' },
  'Apache mod_auth_openidc (OAuth 2.0, RS256)': { must: 0.6, goal: 0.4, ours: 'Gatewarden RS256' },
  'fastify + http-proxy + fast-jwt + lru-cache, of an hour': { must: 0.75, goal: 0.6, ours: 'Gatewarden ES256' },
  'express + express-jwt + http-proxy-middleware': { must: 0.15, goal: 0.1, ours: 'Gatewarden ES256' },
  'Gatewarden, public route': { must: 1.05, goal: 1.02, ours: 'Gatewarden ES256' },
}

export async function comparison ({ folder, upstream, script, rounds, seconds, connections, measure, note }: Bench): Promise<unknown> {
  const issuing = { ES256: await createIssuing(folder, 'ES256'), RS256: await createIssuing(folder, 'RS256') }
  const tokensOf: Record<string, string> = {}
  for (const [algorithm, { token }] of Object.entries(issuing)) {
    tokensOf[algorithm] = join(folder, `token-${algorithm}`)
    writeFileSync(tokensOf[algorithm], `${await token(1)}\n`)
  }

  const entries: Entry[] = []
  const add = (name: string, running: Running, verifies: Contender['verifies']) => {
    // The same token and as many bytes for everybody, whoever looks at them.
    entries.push({ name, running, path: verifies === null ? '/all/things/1' : '/api/things/1', verifies: verifies !== null, tokens: tokensOf[verifies ?? 'ES256'] ?? '', rounds: [] })
  }
  try {
    const es256 = await gatewarden.start({ folder: join(folder, 'es256'), upstream, issuing: issuing.ES256 })
    add('Gatewarden ES256', es256, 'ES256')
    add('Gatewarden, public route', es256, null)
    add('Gatewarden RS256', await gatewarden.start({ folder: join(folder, 'rs256'), upstream, issuing: issuing.RS256 }), 'RS256')
    for (const peer of peers) {
      const missing = peer.missing()
      if (missing !== null) {
        note(`${peer.name}: not here; ${missing}`)
        continue
      }
      add(peer.name, await peer.start({ folder: join(folder, `peer-${entries.length}`), upstream, issuing: issuing[peer.verifies ?? 'ES256'] }), peer.verifies)
    }
    for (const entry of entries) await check(entry)

    for (const { running, path, tokens } of entries) await warm({ url: running.url + path, seconds: 2, connections, tokens }, running.pids, script)
    for (let round = 1; round <= rounds; round++) {
      for (const { name, running, path, tokens, rounds } of entries) {
        const how = { url: running.url + path, seconds, connections, tokens }
        const measured = await measure(async () => {
          // It has had nothing to do for as long as the others took: what waking up costs is not what is asked, and of two that are
          // measured on one process it would be the first that pays.
          await load({ ...how, seconds: 1 }, running.pids, script)
          return await load(how, running.pids, script)
        })
        if (measured.errors > 0) note(`${name}: ${measured.errors} errors in round ${round}`)
        rounds.push(measured)
      }
      note(`round ${round}: ${entries.map(({ name, rounds }) => `${name} ${rounds.at(-1)?.cpu.toFixed(1)} µs`).join(', ')}`)
    }
  } finally {
    for (const { running } of entries) await running.stop()
  }

  const rows = entries.map(({ name, rounds }) => ({
    name,
    cpu: spread(rounds.map(({ cpu }) => cpu)),
    perSecond: spread(rounds.map(({ perSecond }) => perSecond)),
    p50: spread(rounds.map(({ p50 }) => p50)).median,
    p99: spread(rounds.map(({ p99 }) => p99)).median,
    p999: spread(rounds.map(({ p999 }) => p999)).median,
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
  }))
  const ratios = entries.flatMap(({ name, rounds }) => {
    const target = targets[name]
    const ours = entries.find((entry) => entry.name === target?.ours)
    if (target === undefined || ours === undefined) return []
    return [{ against: name, ratio: spread(rounds.map(({ cpu }, round) => (ours.rounds[round]?.cpu ?? NaN) / cpu)), must: target.must, goal: target.goal }]
  })
  return { rows, ratios }
}

/** A contender that refuses or lets everybody through is not doing the work. */
async function check ({ name, running, path, verifies, tokens }: Entry): Promise<void> {
  const { readFileSync } = await import('node:fs')
  const headers: Record<string, string> = { authorization: `Bearer ${readFileSync(tokens, 'utf8').trim()}` }
  const passed = await fetch(running.url + path, { headers })
  if (passed.status !== 200) throw new Error(`${name} answers ${passed.status} to a good token`)
  if (!verifies) return
  const refused = await fetch(running.url + path, { headers: { authorization: `Bearer ${readFileSync(tokens, 'utf8').trim().slice(0, -8)}AAAAAAAA` } })
  if (refused.status !== 401) throw new Error(`${name} answers ${refused.status} to a forged token`)
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread (values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  return { median: sorted[Math.floor(sorted.length / 2)] ?? NaN, min: sorted[0] ?? NaN, max: sorted.at(-1) ?? NaN }
}
