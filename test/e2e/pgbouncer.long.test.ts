/**
 * Three gateways and somebody's table of users behind a real PgBouncer in transaction mode, which has fewer connections than they
 * have requests: what docs/postgres.md says of it. PgBouncer is Debian's (`pgbouncer`); where it is not installed this says so.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hash } from '@node-rs/argon2'
import t from 'tap'
import { cli, configText, password, startCli, type Running } from '../cli/running-cli.ts'
import { isPgBouncerInstalled, startPgBouncer } from '../helpers/pgbouncer.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { ask, logIn, refresh, ready, soon, tokensOf, use, useAllAlong } from './gateway-client.ts'

if (isPgBouncerInstalled()) {
  await withPgBouncer()
} else {
  t.comment('NOT RUN: pgbouncer is not installed (Debian: pgbouncer), so nothing was asked through it')
  t.pass('NOT RUN through PgBouncer: it is not installed')
}

async function withPgBouncer (): Promise<void> {
  const upstream = createServer(({ headers }, response) => { response.end(JSON.stringify({ user: headers['x-user-id'] })) }).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  t.teardown(() => { upstream.close(); upstream.closeAllConnections() })
  const database = await startPostgres(t, { fsync: 'off' })
  const pooler = await startPgBouncer(t, { to: database.port, poolSize: 4 })
  const direct = await database.createDatabase()
  const pooled = direct.replace(`:${database.port}`, `:${pooler.port}`)
  const name = new URL(direct).pathname.slice(1)
  await database.query('create table people (login text primary key, password_hash text not null)', name)
  const common = {
    storage: pooled,
    keys: { masterKey: randomBytes(32).toString('base64url'), publishAhead: '1s' },
    throttle: { attempts: 1_000_000, attemptsPerAddress: 1_000_000, attemptsInAll: 1_000_000 },
    credentials: [
      { type: 'store' },
      { type: 'sql', name: 'people', url: pooled, query: 'select login as id, password_hash from people where login = $1' },
    ],
    routes: [{ path: '/api', upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, access: 'authenticated' }],
  }
  const folder = t.testdir({
    'config.yaml': configText({ ...common, storageOptions: { listenUrl: direct } }),
    'no-way-past-it.yaml': configText(common),
  })

  // At once, on an empty database: they wait for each other's migration, and who comes later for nobody's. A lock of a session would
  // stay with one connection of the pooler, and be given back on another.
  await Promise.all([1, 2, 3].map(async () => await cli(folder, ['storage', 'migrate'])))
  const left = await database.query("select * from pg_locks where locktype = 'advisory'")
  if (left.length > 0) throw new Error(`locks are left behind: ${JSON.stringify(left)}`)
  const replicas = await Promise.all([1, 2, 3].map(async () => await startCli(t, folder)))
  const [first, second, third] = replicas as [Running, Running, Running]
  const added = await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)
  if (added.code !== 0) throw new Error(added.stderr)

  t.test('a logout is known to the others in well under a second', async (t) => {
    const lags: number[] = []
    for (let turn = 0; turn < 10; turn++) {
      const tokens = await tokensOf(first)
      for (const replica of replicas) t.equal(await use(replica, tokens.access_token), 200)
      t.equal((await ask(`${first.url}/auth/logout`, { json: { refresh_token: tokens.refresh_token } })).status, 204)
      const began = performance.now()
      for (const replica of [second, third]) {
        t.equal(await soon(5_000, async () => await use(replica, tokens.access_token), (status) => status === 401), 401)
        lags.push(performance.now() - began)
      }
    }
    t.comment(`revocation lag behind PgBouncer: longest of ${lags.length} ${Math.max(...lags).toFixed(0)} ms`)
    t.ok(Math.max(...lags) < 1_000)
    for (const replica of replicas) t.match(await ready(replica), { status: 200, body: { checks: { revocations: 'ok' } } })
  })

  t.test('many refreshes of one token, through all: one successor, and it goes on', async (t) => {
    let { refresh_token: token } = await tokensOf(second)
    for (let turn = 0; turn < 5; turn++) {
      const answers = await Promise.all(Array.from({ length: 60 }, async (_, number) => await refresh(replicas[number % 3] ?? first, token)))
      t.strictSame([...new Set(answers.map(({ status }) => status))], [200])
      const successors = new Set(answers.map(({ body }) => String(body['refresh_token'])))
      t.equal(successors.size, 1)
      token = [...successors][0] ?? ''
    }
  })

  t.test('keys rotate once, whoever asks for it', async (t) => {
    const rotated = await Promise.all([1, 2].map(async () => JSON.parse((await cli(folder, ['keys', 'rotate', '--json'])).stdout) as { kid: string }))
    t.equal(rotated[0]?.kid, rotated[1]?.kid)
    const kidOf = (token: string) => (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid
    const token = await soon(10_000, async () => (await tokensOf(third)).access_token, (access) => kidOf(access) === rotated[0]?.kid)
    t.equal(kidOf(token), rotated[0]?.kid)
    for (const replica of replicas) t.equal(await use(replica, token), 200)
  })

  t.test("somebody's table is asked in transactions that are read-only, and leave nothing behind for who has the connection next", async (t) => {
    await database.query(`insert into people values ('bob', '${await hash(password)}')`, name)
    const answers = await Promise.all(replicas.flatMap((replica) => [logIn(replica, 'bob'), logIn(replica, 'alice'), logIn(replica, 'nobody')]))
    t.strictSame(answers.map(({ status }) => status), [200, 200, 401, 200, 200, 401, 200, 200, 401])
    const through = await ask(`${first.url}/api`, { token: String(answers[0]?.body['access_token']) })
    t.match(through.body, { user: /bob/ })
  })

  t.test('the pooler dies and comes back: requests go on, and nobody is logged out', async (t) => {
    const tokens = await tokensOf(first)
    const along = useAllAlong(first, tokens.access_token)
    await pooler.kill()
    t.match(await refresh(first, tokens.refresh_token), { status: 503, retryAfter: /^\d+$/ })
    t.match(await logIn(second), { status: 503, retryAfter: /^\d+$/ })
    await pooler.start()
    for (const replica of replicas) t.equal((await soon(10_000, async () => await refresh(replica, tokens.refresh_token), ({ status }) => status === 200)).status, 200)
    t.strictSame((await along.stop()).others, [])
    for (const { child } of replicas) t.equal(child.exitCode, null)
  })

  t.test('a word from the command line reaches all', async (t) => {
    const tokens = await tokensOf(first)
    t.equal((await cli(folder, ['users', 'disable', 'alice'])).code, 0)
    const began = performance.now()
    for (const replica of replicas) t.equal(await soon(5_000, async () => await use(replica, tokens.access_token), (status) => status === 401), 401)
    t.ok(performance.now() - began < 1_000)
    t.equal((await cli(folder, ['users', 'enable', 'alice'])).code, 0)
  })

  t.test('without a way past the pooler the table is read each second, and the log says what is missing', async (t) => {
    const deaf = await startCli(t, folder, ['--config', 'no-way-past-it.yaml'])
    const tokens = await tokensOf(deaf)
    t.equal((await ask(`${first.url}/auth/logout`, { json: { refresh_token: tokens.refresh_token } })).status, 204)
    const began = performance.now()
    t.equal(await soon(5_000, async () => await use(deaf, tokens.access_token), (status) => status === 401), 401)
    t.ok(performance.now() - began < 2_000)
    t.match(await deaf.line(({ msg }) => String(msg).startsWith('LISTEN hears nothing')), { msg: /storageOptions\.listenUrl/ })
    t.match(await ready(deaf), { status: 200 })
  })
}
