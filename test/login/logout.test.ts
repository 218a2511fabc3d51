import t from 'tap'
import { startLogin } from './login-rig.ts'

const { call, clock, events, logIn, secretsInLog } = await startLogin(t)
const isLive = async (bearer: string) => (await call('GET', '/auth/sessions', { bearer })).statusCode === 200
const refresh = (refreshToken: string) => call('POST', '/auth/refresh', { json: { refresh_token: refreshToken } })

t.test('POST /auth/logout with the refresh token is 204, and the session is over everywhere, its access tokens included', async (t) => {
  const [mine, other] = [await logIn(), await logIn()]
  const answer = await call('POST', '/auth/logout', { json: { refresh_token: mine.refresh_token } })
  t.equal(answer.statusCode, 204)
  t.equal(answer.body, '')
  t.equal(answer.headers['cache-control'], 'no-store')
  const refused = await call('GET', '/auth/sessions', { bearer: mine.access_token })
  t.equal(refused.statusCode, 401)
  t.equal(refused.json().code, 'GW_SESSION_ENDED')
  t.equal((await refresh(mine.refresh_token)).statusCode, 401)
  t.ok(await isLive(other.access_token), 'and no other session is')
})

t.test('POST /auth/logout with a bearer token is 204 and does the same', async (t) => {
  const mine = await logIn()
  t.equal((await call('POST', '/auth/logout', { bearer: mine.access_token })).statusCode, 204)
  t.notOk(await isLive(mine.access_token))
  t.equal((await refresh(mine.refresh_token)).statusCode, 401)
})

t.test('a bearer token is enough beside an empty JSON body or an empty object', async (t) => {
  const [one, other] = [await logIn(), await logIn()]
  t.equal((await call('POST', '/auth/logout', { bearer: one.access_token, headers: { 'content-type': 'application/json' } })).statusCode, 204)
  t.equal((await call('POST', '/auth/logout', { bearer: other.access_token, json: {} })).statusCode, 204)
  t.notOk(await isLive(one.access_token))
  t.notOk(await isLive(other.access_token))
})

t.test('logging out again is 204, and so is an unknown refresh token', async (t) => {
  const mine = await logIn()
  for (let times = 0; times < 2; times++) t.equal((await call('POST', '/auth/logout', { json: { refresh_token: mine.refresh_token } })).statusCode, 204)
  t.equal((await call('POST', '/auth/logout', { bearer: mine.access_token })).statusCode, 204)
  t.equal((await call('POST', '/auth/logout', { json: { refresh_token: 'unknown' } })).statusCode, 204)
})

t.test('a logout that is malformed is 400', async (t) => {
  for (const json of [{}, { refresh_token: 7 }, [], '{']) t.equal((await call('POST', '/auth/logout', { json })).statusCode, 400)
  t.equal((await call('POST', '/auth/logout')).json().code, 'GW_BODY_INVALID', 'nothing at all')
})

t.test('an access token that proves nothing is 401: the session it may be of goes on', async (t) => {
  const mine = await logIn()
  t.equal((await call('POST', '/auth/logout', { bearer: `${mine.access_token}x` })).json().code, 'GW_TOKEN_INVALID')
  t.ok(await isLive(mine.access_token))
  clock.time += 600_000
  t.equal((await call('POST', '/auth/logout', { bearer: mine.access_token })).json().code, 'GW_TOKEN_EXPIRED')
  t.equal((await refresh(mine.refresh_token)).statusCode, 200)
})

t.test('a logout is told to the log once', async (t) => {
  const mine = await logIn()
  const session = events().at(-1)?.['session_id']
  const before = events().length
  await call('POST', '/auth/logout', { json: { refresh_token: mine.refresh_token } })
  await call('POST', '/auth/logout', { json: { refresh_token: mine.refresh_token } })
  const told = events().slice(before).filter(({ event }) => event === 'logout')
  t.equal(told.length, 1)
  t.match(told[0], { event: 'logout', session_id: session, subject: String, request_id: String, address: '192.0.2.1' })
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
