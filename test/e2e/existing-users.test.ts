import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { password, startTestGateway } from '../helpers/gateway.ts'
import { startUpstream, type Seen } from '../helpers/upstream.ts'
import { otherSqlite } from '../credentials/sql-rig.ts'

// Of the gateway's tests' password. Made by: htpasswd -niB -C 4 user
const bcrypt = '$2y$04$GMu5IITw62ENZtHgtepUJOog7SWfpgr9IoWKcohV.BunBfAEmRN6S'

async function start (t: Test, credentials: readonly Record<string, unknown>[]) {
  const upstream = await startUpstream()
  t.teardown(async () => { await upstream.close() })
  const gateway = await startTestGateway(t, {
    credentials,
    routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }],
    identity: { headers: { 'X-User-Id': 'sub', 'X-User-Roles': 'roles', 'X-User-Email': 'email' } },
  })
  gateway.secrets.add(bcrypt)
  const post = async (path: string, body: unknown) => {
    const response = await fetch(`${gateway.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
    return { status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() as { access_token: string, refresh_token: string, code?: string } }
  }
  return {
    gateway,
    refresh: async (refreshToken: string) => await post('/auth/refresh', { refresh_token: refreshToken }),
    attempt: async (username: string) => await post('/auth/login', { username, password }),
    async get (token: string) {
      const response = await fetch(`${gateway.url}/api`, { headers: { authorization: `Bearer ${token}` } })
      const seen = await response.json() as Seen
      return { status: response.status, headers: response.status === 200 ? seen.headers : {} }
    },
  }
}

t.test('users of a table: what the table says reaches the upstream, and what changes there holds from the next refresh on', async (t) => {
  const other = otherSqlite(t)
  await other.execute(`create table users (id integer primary key, email text, password_hash text, roles text, disabled integer); insert into users values (42, 'ann@example.com', '${bcrypt}', 'staff', 0), (43, 'bob@example.com', '${bcrypt}', '', 0)`)
  const { gateway, refresh, get } = await start(t, [{ type: 'sql', url: other.url, subject: 'as-is', query: 'select * from users where email = $1' }])
  const ann = await gateway.login('ann@example.com')
  t.match((await get(ann.access_token)).headers, { 'x-user-id': '42', 'x-user-roles': 'staff', 'x-user-email': 'ann@example.com' })
  await other.execute("update users set roles = 'admin' where id = 42")
  const renewed = await refresh(ann.refresh_token)
  t.match((await get(renewed.body.access_token)).headers, { 'x-user-id': '42', 'x-user-roles': 'admin' })
  const [second, bob] = [await gateway.login('ann@example.com'), await gateway.login('bob@example.com')]

  await other.execute('update users set disabled = 1 where id = 42')
  t.match(await refresh(second.refresh_token), { status: 401, body: { code: 'GW_REFRESH_TOKEN_INVALID' } })
  t.equal((await get(second.access_token)).status, 401, 'and the session’s access token with it')
  await other.execute(`update users set disabled = 0, password_hash = '${bcrypt.replace(/.$/, 'T')}' where id = 42`)
  t.match(await refresh(renewed.body.refresh_token), { status: 401 }, 'another password ends it as well')
  t.equal((await refresh(bob.refresh_token)).status, 200)
  t.match(gateway.log.filter(({ event }) => event === 'session_ended').map(({ subject, reason }) => [subject, reason]), [['42', 'user_disabled'], ['42', 'password_changed']])
})

t.test('users of an endpoint that goes down: requests go on, logins and refreshes are 503 and lose nothing, and all of it comes back', async (t) => {
  const accounts = createServer((request, response) => {
    request.resume().on('end', () => { response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ id: 7, email: 'ann@example.com' })) })
  }).listen(0, '127.0.0.1')
  await once(accounts, 'listening')
  t.teardown(() => { accounts.close() })
  const { port } = accounts.address() as AddressInfo
  const { gateway, refresh, attempt, get } = await start(t, [{ type: 'http', name: 'accounts', url: `http://127.0.0.1:${port}/check`, findUrl: `http://127.0.0.1:${port}/find`, secret: 'the secret of the two' }])
  gateway.secrets.add('the secret of the two')
  const ann = await gateway.login('ann@example.com')
  accounts.closeAllConnections()
  accounts.close()
  await once(accounts, 'close')

  t.match(await refresh(ann.refresh_token), { status: 503, retryAfter: '2', body: { code: 'GW_UNAVAILABLE' } })
  t.match(await attempt('ann@example.com'), { status: 503, body: { code: 'GW_UNAVAILABLE' } })
  t.match(await get(ann.access_token), { status: 200, headers: { 'x-user-id': 'accounts:7', 'x-user-email': 'ann@example.com' } })

  accounts.listen(port, '127.0.0.1')
  await once(accounts, 'listening')
  t.match(await refresh(ann.refresh_token), { status: 200 })
  t.match(await attempt('ann@example.com'), { status: 200 })
})
