/**
 * A PostgreSQL that hangs, that is not there at the start, or comes up late. That it stops and comes back is storage-outage's matter.
 * docs/operations.md tells it to operators.
 */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { cli, configText, password, startCli } from '../cli/running-cli.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { logIn, ready, refresh, soon, tokensOf, useAllAlong } from './gateway-client.ts'

const upstream = await startUpstream((_request, response) => { response.end() })
t.teardown(() => upstream.close())
const database = await startPostgres(t, { fsync: 'off' })
const folder = t.testdir({
  'config.yaml': configText({
    storage: await database.createDatabase(),
    storageOptions: { connectTimeout: '2s', statementTimeout: '2s' },
    keys: { masterKey: randomBytes(32).toString('base64url') },
    refreshToken: { graceWindow: '1m' },
    routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }],
  }),
})
const added = await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)
if (added.code !== 0) throw new Error(added.stderr)

t.test('the server hangs: a hundred logins have their 503 in bounded time, verified requests go on, and it heals', async (t) => {
  const running = await startCli(t, folder)
  const before = await tokensOf(running)
  const traffic = useAllAlong(running, before.access_token)
  database.pause()
  // However the test ends: a server that stands still does not stop.
  t.teardown(() => { database.resume() })
  const answers = await Promise.all([refresh(running, before.refresh_token), ...Array.from({ length: 100 }, async (_, number) => await logIn(running, `user ${number}`))])
  const wrong = answers.filter(({ status, retryAfter, milliseconds }) => status !== 503 || retryAfter === null || milliseconds > 10_000)
  t.strictSame(wrong, [])
  t.match(await ready(running), { status: 503, body: { checks: { storage: /failed|timeout/, keys: 'ok' } } })
  database.resume()
  t.match(await soon(10_000, async () => await logIn(running), ({ status }) => status === 200), { status: 200 })
  // The statement of a refresh that was answered 503 may have been on its way, and be done when the server goes on: that is what the
  // grace window is for (docs/decisions/0021).
  t.match(await refresh(running, before.refresh_token), { status: 200 })
  t.equal((await soon(5_000, async () => await ready(running), ({ status }) => status === 200)).status, 200)
  const { others, count } = await traffic.stop()
  t.strictSame(others, [], `${count} verified requests went on`)
})

t.test('a server that is not there at the start is waited for as long as storageOptions.connectTimeout, and then told of in one line', async (t) => {
  await database.stop('fast')
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: PostgreSQL at [^\n]* cannot be reached \(ECONNREFUSED\)[^\n]*\n$/)
  const starting = startCli(t, folder)
  await database.start()
  t.match(await logIn(await starting), { status: 200 })
})
