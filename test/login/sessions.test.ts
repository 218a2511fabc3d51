import t from 'tap'
import { onlyShape, startLogin } from './login-rig.ts'

const { call, clock, events, logIn, secretsInLog } = await startLogin(t)
const list = async (bearer: string) => (await call('GET', '/auth/sessions', { bearer })).json().sessions as Record<string, unknown>[]

t.test('GET /auth/sessions lists the caller\'s own live sessions and marks the current one', async (t) => {
  const [phone, laptop, other] = [
    await logIn('alice', { headers: { 'user-agent': 'phone' }, from: '198.51.100.1' }),
    await logIn('alice', { headers: { 'user-agent': 'laptop' }, from: '198.51.100.2' }),
    await logIn('bob'),
  ]
  const sessions = await list(phone.access_token)
  t.equal(sessions.length, 2)
  t.match(sessions.find(({ current }) => current), { id: String, client_id: 'gatewarden', user_agent: 'phone', address: '198.51.100.1', created_at: /Z$/, last_used_at: /Z$/, expires_at: /Z$/ })
  t.match(sessions.find(({ current }) => !current), { user_agent: 'laptop', address: '198.51.100.2' })
  t.equal((await list(laptop.access_token)).find(({ current }) => current)?.['user_agent'], 'laptop')
  t.equal((await list(other.access_token)).length, 1)
})

t.test('GET /auth/sessions is 401 without a token; HEAD is served, without a body', async (t) => {
  const answer = await call('GET', '/auth/sessions')
  t.equal(answer.statusCode, 401)
  t.equal(answer.json().code, 'GW_TOKEN_MISSING')
  const { access_token: bearer } = await logIn('bob')
  const head = await call('HEAD', '/auth/sessions', { bearer })
  t.equal(head.statusCode, 200)
  t.equal(head.body, '')
  t.equal((await call('OPTIONS', '/auth/sessions')).headers.allow, 'GET, HEAD, OPTIONS')
})

t.test('DELETE /auth/sessions/{id} ends one: 204, and its access token is refused at once', async (t) => {
  const [here, there] = [await logIn(), await logIn()]
  const id = String((await list(there.access_token)).find(({ current }) => current)?.['id'])
  const answer = await call('DELETE', `/auth/sessions/${id}`, { bearer: here.access_token })
  t.equal(answer.statusCode, 204)
  t.equal(answer.body, '')
  t.equal((await call('GET', '/auth/sessions', { bearer: there.access_token })).json().code, 'GW_SESSION_ENDED')
  t.equal((await call('POST', '/auth/refresh', { json: { refresh_token: there.refresh_token } })).statusCode, 401)
  t.notOk((await list(here.access_token)).some((session) => session['id'] === id))
  t.match(events().findLast(({ event }) => event === 'session_deleted'), { session_id: id, subject: String, request_id: String })
})

t.test('DELETE of another\'s session is 404, as of one that never was, and ends nothing', async (t) => {
  const [alice, bob] = [await logIn('alice'), await logIn('bob')]
  const id = String((await list(bob.access_token)).find(({ current }) => current)?.['id'])
  for (const unknown of [id, 'unknown', '%00', 'x'.repeat(90)]) {
    const answer = await call('DELETE', `/auth/sessions/${unknown}`, { bearer: alice.access_token })
    t.equal(answer.statusCode, 404)
    t.strictSame(Object.keys(answer.json()), onlyShape)
    t.match(answer.json(), { error: 'not_found', code: 'GW_SESSION_NOT_FOUND' })
  }
  t.ok((await list(bob.access_token)).length > 0)
})

t.test('one may end the session one is calling from', async (t) => {
  const { access_token: bearer } = await logIn()
  const id = String((await list(bearer)).find(({ current }) => current)?.['id'])
  t.equal((await call('DELETE', `/auth/sessions/${id}`, { bearer })).statusCode, 204)
  t.equal((await call('DELETE', `/auth/sessions/${id}`, { bearer })).statusCode, 401)
})

t.test('sessions that have ended or run out are not listed', async (t) => {
  const { access_token: bearer } = await logIn()
  const gone = await logIn()
  const before = (await list(bearer)).length
  await call('POST', '/auth/logout', { json: { refresh_token: gone.refresh_token } })
  t.equal((await list(bearer)).length, before - 1)
  clock.time += 31 * 86_400_000
  t.equal((await list((await logIn()).access_token)).length, 1)
})

t.test('other methods are 405 with Allow', async (t) => {
  const { access_token: bearer } = await logIn()
  t.equal((await call('POST', '/auth/sessions', { bearer })).headers.allow, 'GET, HEAD, OPTIONS')
  const answer = await call('GET', '/auth/sessions/some', { bearer })
  t.equal(answer.statusCode, 405)
  t.equal(answer.headers.allow, 'DELETE, OPTIONS')
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
