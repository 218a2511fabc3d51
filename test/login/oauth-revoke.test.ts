import t from 'tap'
import { clientSecret, password, startLogin, type Call } from './login-rig.ts'

const { call, clock, events, logIn, secretsInLog } = await startLogin(t)
const revoke = (form: Record<string, string>, options: Call = {}) => call('POST', '/oauth/revoke', { form, ...options })
const isLive = async (bearer: string) => (await call('GET', '/auth/sessions', { bearer })).statusCode === 200
const refreshes = async (refreshToken: string) => (await call('POST', '/auth/refresh', { json: { refresh_token: refreshToken } })).statusCode === 200

t.test('POST /oauth/revoke with a refresh token is 200, and its session is over: holding the token is enough (RFC 7009)', async (t) => {
  const mine = await logIn()
  const answer = await revoke({ token: mine.refresh_token })
  t.equal(answer.statusCode, 200)
  t.equal(answer.body, '')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.notOk(await isLive(mine.access_token))
  t.notOk(await refreshes(mine.refresh_token))
})

t.test('POST /oauth/revoke with an access token does the same', async (t) => {
  const mine = await logIn()
  t.equal((await revoke({ token: mine.access_token })).statusCode, 200)
  t.notOk(await isLive(mine.access_token))
  t.notOk(await refreshes(mine.refresh_token))
})

t.test('a token_type_hint that is wrong or unknown changes nothing', async (t) => {
  for (const hint of ['access_token', 'refresh_token', 'id_token', 'x']) {
    const [one, other] = [await logIn(), await logIn()]
    t.equal((await revoke({ token: one.refresh_token, token_type_hint: hint })).statusCode, 200)
    t.equal((await revoke({ token: other.access_token, token_type_hint: hint })).statusCode, 200)
    t.notOk(await isLive(one.access_token))
    t.notOk(await refreshes(other.refresh_token))
  }
})

t.test('a token that is unknown, ended or expired is 200 too (RFC 7009 §2.2)', async (t) => {
  const mine = await logIn()
  t.equal((await revoke({ token: 'no-such-token' })).statusCode, 200)
  t.equal((await revoke({ token: mine.access_token.slice(0, -3) })).statusCode, 200)
  for (let times = 0; times < 2; times++) t.equal((await revoke({ token: mine.refresh_token })).statusCode, 200)
  const other = await logIn()
  clock.time += 600_000
  t.equal((await revoke({ token: other.access_token })).statusCode, 200)
})

t.test('the token of a client is revoked by whoever holds it', async (t) => {
  const begun = (await call('POST', '/oauth/token', { form: { grant_type: 'password', username: 'alice', password, client_id: 'app' } })).json()
  t.equal((await revoke({ token: begun.refresh_token })).statusCode, 200)
  t.notOk(await isLive(begun.access_token))
})

t.test('a client that names itself must prove it: 401 invalid_client, and nothing is revoked', async (t) => {
  const mine = await logIn()
  t.equal((await revoke({ token: mine.refresh_token, client_id: 'nobody' })).json().error, 'invalid_client')
  t.equal((await revoke({ token: mine.refresh_token }, { basic: ['orders-api', 'wrong'] })).statusCode, 401)
  t.ok(await isLive(mine.access_token))
  t.equal((await revoke({ token: mine.refresh_token }, { basic: ['orders-api', clientSecret] })).statusCode, 200)
  t.notOk(await isLive(mine.access_token))
})

t.test('without a token it is 400 invalid_request; as JSON 415', async (t) => {
  t.match((await revoke({})).json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  t.equal((await call('POST', '/oauth/revoke', { json: { token: 'x' } })).statusCode, 415)
})

t.test('a revocation is told to the log once', async (t) => {
  const mine = await logIn()
  const session = events().at(-1)?.['session_id']
  const before = events().length
  await revoke({ token: mine.refresh_token, client_id: 'app' })
  await revoke({ token: mine.refresh_token, client_id: 'app' })
  const told = events().slice(before).filter(({ event }) => event === 'revoked')
  t.equal(told.length, 1)
  t.match(told[0], { session_id: session, subject: String, client_id: 'app', request_id: String })
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
