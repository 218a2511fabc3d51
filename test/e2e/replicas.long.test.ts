/**
 * Three gateways on one PostgreSQL: how soon an end is known everywhere; keys that rotate under load; and then parallel refreshes
 * and logouts while gateways are killed and the database is restarted. GATEWARDEN_SEED repeats a run, as far as timing lets it.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Agent, request } from 'undici'
import { cli, configFolder, password, startCli, type Running } from '../cli/running-cli.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { violationsIn, type Event } from './session-history.ts'

interface Tokens { readonly access_token: string, readonly refresh_token: string }
interface Replica { running: Running }

const seed = Number(process.env['GATEWARDEN_SEED'] ?? randomInt(2 ** 31))
t.comment(`GATEWARDEN_SEED=${seed}`)
const random = randomNumbers(seed)
const oneOf = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item

const agent = new Agent({ connections: 64, pipelining: 1 })
t.teardown(async () => { await agent.destroy() })
const upstream = createServer((_request, response) => { response.end('ok') }).listen(0, '127.0.0.1')
await once(upstream, 'listening')
t.teardown(() => { upstream.close(); upstream.closeAllConnections() })

const database = await startPostgres(t, { fsync: 'off' })
const folder = configFolder(t, {
  storage: await database.createDatabase(),
  keys: { masterKey: randomBytes(32).toString('base64url'), publishAhead: '2s' },
  accessToken: { lifetime: '2m' },
  // How soon an end is known is asked again and again, and each answer but the last is a failed login.
  throttle: { attempts: 1_000_000, attemptsPerAddress: 1_000_000, attemptsInAll: 1_000_000 },
  routes: [{ path: '/api', upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, access: 'authenticated' }],
})
// All three at once, on an empty database.
const replicas: Replica[] = await Promise.all([1, 2, 3].map(async () => ({ running: await startCli(t, folder) })))
const names = ['ann', 'ben', 'cat', 'dan']
for (const name of names) {
  const { code, stderr } = await cli(folder, ['users', 'add', name, '--password-stdin'], password)
  if (code !== 0) throw new Error(stderr)
}

interface Answer { readonly status: number, readonly body: Partial<Tokens> & { code?: string } }

/** null where the connection broke, as with a replica that is killed. */
async function ask (replica: Replica, path: string, { token, json }: { token?: string, json?: unknown } = {}): Promise<Answer | null> {
  try {
    const { statusCode, body } = await request(`${replica.running.url}${path}`, {
      dispatcher: agent,
      method: json === undefined ? 'GET' : 'POST',
      headers: { ...token === undefined ? {} : { authorization: `Bearer ${token}` }, ...json === undefined ? {} : { 'content-type': 'application/json' } },
      ...json === undefined ? {} : { body: JSON.stringify(json) },
      headersTimeout: 20_000,
    })
    const text = await body.text()
    return { status: statusCode, body: text.startsWith('{') ? JSON.parse(text) as Answer['body'] : {} }
  } catch {
    return null
  }
}

async function logIn (): Promise<Tokens> {
  for (;;) {
    const answer = await ask(oneOf(replicas), '/auth/login', { json: { username: oneOf(names), password } })
    if (answer?.status === 200) return answer.body as Tokens
    if (answer !== null && answer.status !== 503) throw new Error(`login: ${JSON.stringify(answer)}`)
    await pause(20)
  }
}

const sessionOf = ({ access_token: token }: Tokens): string => (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { sid: string }).sid
const kidOf = (token: string): string => (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid

t.test('an end is known to all replicas in well under a second', async (t) => {
  const lags: number[] = []
  for (let turn = 0; turn < 25; turn++) {
    const tokens = await logIn()
    const [here, ...others] = [0, 1, 2].map((offset) => replicas[(turn + offset) % 3] as Replica)
    for (const replica of others) t.equal((await ask(replica, '/api', { token: tokens.access_token }))?.status, 200)
    // Who waits for the answer of the logout begins to count there.
    t.equal((await ask(here as Replica, '/auth/logout', { json: { refresh_token: tokens.refresh_token } }))?.status, 204)
    const began = performance.now()
    lags.push(...await Promise.all(others.map(async (replica) => {
      while ((await ask(replica, '/api', { token: tokens.access_token }))?.status !== 401) if (performance.now() - began > 5_000) return Infinity
      return performance.now() - began
    })))
  }
  lags.sort((one, other) => one - other)
  const percentile = (share: number) => lags[Math.min(lags.length - 1, Math.floor(lags.length * share))] ?? NaN
  t.comment(`revocation lag over three replicas, ${lags.length} measured: p50 ${percentile(0.5).toFixed(1)} ms, p99 ${percentile(0.99).toFixed(1)} ms, longest ${percentile(1).toFixed(1)} ms`)
  t.ok(percentile(1) < 1_000)
  for (const { running } of replicas) {
    const metrics = await (await request(`${running.adminUrl}/metrics`, { dispatcher: agent })).body.text()
    t.ok(Number(/^gatewarden_revocation_lag_seconds (.*)$/m.exec(metrics)?.[1]) < 2)
  }
})

t.test('the command line reaches all replicas', async (t) => {
  const answers = await Promise.all(replicas.map(async (replica) => await ask(replica, '/auth/login', { json: { username: 'dan', password } })))
  t.equal((await cli(folder, ['users', 'disable', 'dan'])).code, 0)
  const began = performance.now()
  for (const replica of replicas) {
    for (const answer of answers) {
      while ((await ask(replica, '/api', { token: answer?.body.access_token ?? '' }))?.status !== 401) if (performance.now() - began > 1_000) throw new Error('not within a second')
    }
  }
  t.equal((await cli(folder, ['users', 'enable', 'dan'])).code, 0)
})

t.test('keys rotate under load, once, and no request is refused', async (t) => {
  const kids = new Set<string>()
  const answers = new Map<string, number>()
  let done = false
  const load = Array.from({ length: 6 }, async () => {
    let tokens = await logIn()
    while (!done) {
      kids.add(kidOf(tokens.access_token))
      for (const replica of replicas) {
        const answer = await ask(replica, '/api', { token: tokens.access_token })
        const key = answer === null ? 'no answer' : `${answer.status} ${answer.body.code ?? ''}`
        answers.set(key, (answers.get(key) ?? 0) + 1)
      }
      const renewed = await ask(oneOf(replicas), '/auth/refresh', { json: { refresh_token: tokens.refresh_token } })
      if (renewed?.status !== 200) throw new Error(JSON.stringify(renewed))
      tokens = renewed.body as Tokens
    }
  })
  // Two hands at once: one rotation.
  const rotated = await Promise.all([1, 2].map(async () => JSON.parse((await cli(folder, ['keys', 'rotate', '--json'])).stdout) as { kid: string, state: string, activatesAt: string }))
  const [first, second] = rotated
  t.equal(first?.kid, second?.kid)
  while (!kids.has(first?.kid ?? '') && Date.now() < Date.parse(first?.activatesAt ?? '') + 3_000) await pause(20)
  await pause(300)
  done = true
  await Promise.all(load)
  t.equal(kids.size, 2, 'the key before, and the next one')
  t.strictSame([...answers.keys()], ['200 '])
  t.comment(`${answers.get('200 ') ?? 0} requests through the rotation`)
})

t.test('parallel refreshes and logouts, with kills and restarts in between', async (t) => {
  const events: Event[] = []
  const disturbances: { began: number, ended: number }[] = []
  const unexpected: string[] = []
  const until = performance.now() + 7_000
  let [kills, restarts, refreshes] = [0, 0, 0]

  async function refresh (session: string, sent: string): Promise<Tokens | 'refused' | null> {
    const began = performance.now()
    const answer = await ask(oneOf(replicas), '/auth/refresh', { json: { refresh_token: sent } })
    const span = { session, began, ended: performance.now() }
    refreshes++
    if (answer?.status === 200) {
      const tokens = answer.body as Tokens
      events.push({ ...span, kind: 'refresh', outcome: 'given', sent, got: tokens.refresh_token })
      return tokens
    }
    if (answer?.status === 401) {
      events.push({ ...span, kind: 'refresh', outcome: 'refused', sent })
      return 'refused'
    }
    if (answer !== null && answer.status !== 503) unexpected.push(`refresh: ${JSON.stringify(answer)}`)
    events.push({ ...span, kind: 'refresh', outcome: 'unanswered', sent })
    return null
  }

  async function use (session: string, token: string, replica = oneOf(replicas)): Promise<boolean> {
    const began = performance.now()
    const answer = await ask(replica, '/api', { token })
    // Verified requests need no storage: the only excuse is a gateway that is gone.
    if (answer !== null && answer.status !== 200 && answer.status !== 401) unexpected.push(`request: ${JSON.stringify(answer)}`)
    const outcome = answer?.status === 200 ? 'passed' : answer?.status === 401 ? 'refused' : 'unanswered'
    events.push({ session, began, ended: performance.now(), kind: 'request', outcome })
    return outcome === 'passed'
  }

  async function logOut (session: string, token: string): Promise<void> {
    for (;;) {
      const began = performance.now()
      const answer = await ask(oneOf(replicas), '/auth/logout', { json: { refresh_token: token } })
      const done = answer?.status === 204
      if (answer !== null && !done && answer.status !== 503) unexpected.push(`logout: ${JSON.stringify(answer)}`)
      events.push({ session, began, ended: performance.now(), kind: 'logout', outcome: done ? 'done' : 'unanswered' })
      if (done) return
      await pause(30)
    }
  }

  /** One device: its sessions, one after the other. Returns the last, if that goes on. */
  async function client (): Promise<Tokens> {
    let tokens = await logIn()
    while (performance.now() < until) {
      const session = sessionOf(tokens)
      const ending = random() < 0.12
      // Of a page with several tabs: the same token, at once, wherever the balancer sends it.
      const answers = await Promise.all([
        ...Array.from({ length: 2 + Math.floor(random() * 5) }, async () => await refresh(session, tokens.refresh_token)),
        ...ending && random() < 0.5 ? [logOut(session, tokens.refresh_token).then(() => null)] : [],
      ])
      const [given] = answers.flatMap((answer) => answer === null || answer === 'refused' ? [] : [answer])
      if (given !== undefined) tokens = given
      await use(session, tokens.access_token)
      await pause(random() * 40)
      if (ending) {
        await logOut(session, tokens.refresh_token)
        const { access_token: token, refresh_token: last } = tokens
        await Promise.all([refresh(session, last), use(session, token)])
        // Looked at again when word of it must have come.
        later.push(pause(1_500).then(async () => { for (const replica of replicas) await use(session, token, replica) }))
        tokens = await logIn()
      } else if (given === undefined) {
        // Lost, says the model if nobody asked for it; and this client begins anew.
        if (answers.includes('refused')) tokens = await logIn()
        else await pause(50)
      }
    }
    return tokens
  }

  async function disturb (): Promise<void> {
    while (performance.now() < until - 2_500 || kills === 0 || restarts === 0) {
      await pause(random() * 400)
      const disturbance = { began: performance.now(), ended: Infinity }
      disturbances.push(disturbance)
      if (kills === 0 || (restarts > 0 && random() < 0.6)) {
        const replica = oneOf(replicas)
        replica.running.child.kill('SIGKILL')
        kills++
        await replica.running.exited
        replica.running = await startCli(t, folder)
      } else {
        await database.stop(random() < 0.5 ? 'fast' : 'immediate')
        restarts++
        await pause(random() * 400)
        await database.start()
      }
      disturbance.ended = performance.now()
    }
  }

  const later: Promise<void>[] = []
  const [, ...last] = await Promise.all([disturb(), ...Array.from({ length: 8 }, client)])
  await Promise.all(later)
  for (const { running: { child, log, stderr } } of replicas) if (child.exitCode !== null || child.signalCode !== null) t.fail(`a gateway has ended that nobody killed: ${child.exitCode ?? child.signalCode ?? ''} ${stderr()} ${JSON.stringify(log.slice(-3))}`)

  // Every client ends with a token that works, everywhere.
  for (const tokens of last) {
    const session = sessionOf(tokens)
    let current = await refresh(session, tokens.refresh_token)
    while (current === null) current = await refresh(session, tokens.refresh_token)
    if (current === 'refused') t.fail(`${session} is lost at the end`)
    else for (const replica of replicas) t.ok(await use(session, current.access_token, replica))
  }
  t.comment(`${events.length} events, ${refreshes} refreshes, ${new Set(events.map(({ session }) => session)).size} sessions, ${kills} kills, ${restarts} restarts of the database`)
  t.strictSame(unexpected, [])
  t.strictSame(violationsIn({ events, disturbances }, { lag: 1_000, recovery: 3_000 }), [])
  t.ok(kills > 0 && restarts > 0)

  // And the table agrees: nobody was taken for a thief, and who was not logged out lives.
  const rows = await database.query('select id, ended_at, end_reason from gatewarden.sessions', 'test_1')
  const loggedOut = new Set(events.flatMap(({ kind, session }) => kind === 'logout' ? [session] : []))
  const seen = new Set(events.map(({ session }) => session))
  t.strictSame(rows.filter(({ id, end_reason: reason }) => seen.has(String(id)) && reason !== (loggedOut.has(String(id)) ? 'logout' : null)), [])
})

/** mulberry32. */
function randomNumbers (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
