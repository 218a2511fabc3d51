/**
 * PostgreSQL goes away and comes back under two gateways: one goes on without word of ended sessions, the other one refuses. Both
 * say so, and heal by themselves. Before that: texts that PostgreSQL cannot hold, where somebody may write them.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { cli, configText, password, startCli, type Running } from '../cli/running-cli.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { ask, logIn, ready, soon, use } from './gateway-client.ts'

const upstream = createServer((_request, response) => { response.end() }).listen(0, '127.0.0.1')
await once(upstream, 'listening')
t.teardown(() => { upstream.close(); upstream.closeAllConnections() })
const database = await startPostgres(t, { fsync: 'off' })
const common = {
  storage: await database.createDatabase(),
  storageOptions: { connectTimeout: '2s' },
  keys: { masterKey: randomBytes(32).toString('base64url') },
  routes: [{ path: '/api', upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, access: 'authenticated' }],
}
const folder = t.testdir({
  'config.yaml': configText({ ...common, revocations: { blindAfter: '2s' } }),
  'refusing.yaml': configText({ ...common, revocations: { blindAfter: '2s', whenBlind: 'refuse' } }),
})
const added = await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)
if (added.code !== 0) throw new Error(added.stderr)
const serving = await startCli(t, folder)
const refusing = await startCli(t, folder, ['--config', 'refusing.yaml'])

const lag = async ({ adminUrl }: Running) => Number(/^gatewarden_revocation_lag_seconds (.*)$/m.exec((await ask(`${adminUrl}/metrics`)).text)?.[1])

t.test('texts that PostgreSQL cannot hold are unknown, and no failure', async (t) => {
  const { body: { access_token: token } } = await logIn(serving)
  t.match(await logIn(serving, 'a\0b'), { status: 401, body: { code: 'GW_CREDENTIALS_INVALID' } })
  for (const id of ['%00', 'a%00b', '%ED%A0%80']) {
    const { status } = await ask(`${serving.url}/auth/sessions/${id}`, { method: 'DELETE', token: String(token) })
    t.ok([400, 404].includes(status), `${id}: ${status}`)
  }
  t.match(await ask(`${serving.url}/auth/refresh`, { json: { refresh_token: 'gwr_\0' } }), { status: 401 })
})

t.test('the database goes away, and comes back', async (t) => {
  const { body } = await logIn(serving)
  const { access_token: token, refresh_token: refreshToken } = body as { access_token: string, refresh_token: string }
  for (const gateway of [serving, refusing]) {
    t.equal(await use(gateway, token), 200)
    t.match(await ready(gateway), { status: 200, body: { checks: { revocations: 'ok' } } })
    t.ok(await lag(gateway) < 1.5)
  }

  await database.stop('immediate')
  t.match(await logIn(serving), { status: 503, body: { code: 'GW_UNAVAILABLE' }, retryAfter: /^\d+$/ })
  t.match(await ask(`${serving.url}/auth/refresh`, { json: { refresh_token: refreshToken } }), { status: 503, retryAfter: /^\d+$/ })
  t.equal(await use(refusing, token), 200, 'not blind yet')
  t.equal(await soon(5_000, async () => await use(refusing, token), (status) => status === 503), 503)
  t.match(await soon(1_000, async () => await ready(serving), ({ text }) => text.includes('degraded')), { status: 503, body: { checks: { storage: 'failed', revocations: 'degraded' } } })
  t.equal(await use(serving, token), 200)
  t.match(await ready(refusing), { status: 503, body: { checks: { storage: 'failed', revocations: 'failed' } } })
  t.ok(await lag(serving) > 2)

  await database.start()
  t.equal(await soon(8_000, async () => await use(refusing, token), (status) => status === 200), 200)
  for (const gateway of [serving, refusing]) t.equal((await soon(5_000, async () => await ready(gateway), ({ status }) => status === 200)).status, 200)
  t.match(await ask(`${serving.url}/auth/refresh`, { json: { refresh_token: refreshToken } }), { status: 200 })
  t.equal((await ask(`${serving.url}/auth/logout`, { method: 'POST', token })).status, 204)
  t.equal(await soon(1_000, async () => await use(refusing, token), (status) => status === 401), 401)
})
