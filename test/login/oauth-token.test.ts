import t from 'tap'
import { decodeJwt } from 'jose'
import { clientSecret, issuer, onlyShape, password, startLogin, type Call } from './login-rig.ts'
import { defaults } from './config-of.ts'

const { call, events, logIn, secretsInLog } = await startLogin(t)
const token = (form: Record<string, string>, options: Call = {}) => call('POST', '/oauth/token', { form, ...options })
const alice = { grant_type: 'password', username: 'alice', password }
const refreshOf = (refreshToken: string) => ({ grant_type: 'refresh_token', refresh_token: refreshToken })

t.test('POST /oauth/token with grant_type=password is 200 with the token response, not to be stored (RFC 6749 §4.3, §5.1)', async (t) => {
  const answer = await token(alice)
  t.equal(answer.statusCode, 200)
  t.strictSame(Object.keys(answer.json()), ['access_token', 'token_type', 'expires_in', 'refresh_token'])
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(answer.headers.pragma, 'no-cache')
  t.match(answer.headers['content-type'], 'application/json')
  t.equal(decodeJwt(answer.json().access_token)['client_id'], 'gatewarden')
})

t.test('POST /oauth/token with grant_type=refresh_token is 200 with the successor (RFC 6749 §6)', async (t) => {
  const first = (await token(alice)).json()
  const answer = await token(refreshOf(first.refresh_token))
  t.equal(answer.statusCode, 200)
  t.not(answer.json().refresh_token, first.refresh_token)
})

t.test('the client that asks becomes the client_id of the token', async (t) => {
  const publicly = await token({ ...alice, client_id: 'app' })
  t.equal(decodeJwt(publicly.json().access_token)['client_id'], 'app')
  const byBasic = await token(alice, { basic: ['orders-api', clientSecret] })
  t.equal(decodeJwt(byBasic.json().access_token)['client_id'], 'orders-api')
  const byForm = await token({ ...alice, client_id: 'orders-api', client_secret: clientSecret })
  t.equal(decodeJwt(byForm.json().access_token)['client_id'], 'orders-api')
})

t.test('a client that is not configured, or does not prove itself, is 401 invalid_client with a Basic challenge (RFC 6749 §5.2)', async (t) => {
  const answers = [
    await token({ ...alice, client_id: 'nobody' }),
    await token({ ...alice, client_id: 'orders-api' }),
    await token({ ...alice, client_id: 'orders-api', client_secret: 'wrong' }),
    await token(alice, { basic: ['orders-api', 'wrong'] }),
    await token(alice, { bearer: 'something' }),
  ]
  for (const answer of answers) {
    t.equal(answer.statusCode, 401)
    t.strictSame(Object.keys(answer.json()), onlyShape)
    t.match(answer.json(), { error: 'invalid_client', code: 'GW_CLIENT_INVALID' })
    t.equal(answer.headers['www-authenticate'], `Basic realm="${issuer}", charset="UTF-8"`)
  }
})

t.test('client credentials in two places are 400 invalid_request', async (t) => {
  const answer = await token({ ...alice, client_id: 'orders-api', client_secret: clientSecret }, { basic: ['orders-api', clientSecret] })
  t.equal(answer.statusCode, 400)
  t.equal(answer.json().error, 'invalid_request')
})

t.test('a wrong password or an unknown user is 400 invalid_grant, without a challenge (RFC 6749 §5.2)', async (t) => {
  for (const form of [{ ...alice, password: 'wrong password' }, { ...alice, username: 'nobody' }]) {
    const answer = await token(form)
    t.equal(answer.statusCode, 400)
    t.strictSame(Object.keys(answer.json()), onlyShape)
    t.match(answer.json(), { error: 'invalid_grant', code: 'GW_GRANT_INVALID' })
    t.notOk('www-authenticate' in answer.headers)
  }
})

t.test('a refresh token that is not valid is 400 invalid_grant', async (t) => {
  const answer = await token(refreshOf('nonsense'))
  t.equal(answer.statusCode, 400)
  t.match(answer.json(), { error: 'invalid_grant', code: 'GW_GRANT_INVALID' })
})

t.test('a session begun by a client is refreshed by that client alone', async (t) => {
  const { refresh_token: ofApp } = (await token({ ...alice, client_id: 'app' })).json()
  t.equal((await token(refreshOf(ofApp))).json().error, 'invalid_grant', 'without a client')
  t.equal((await token({ ...refreshOf(ofApp), client_id: 'other-app' })).json().error, 'invalid_grant')
  t.equal((await token(refreshOf(ofApp), { basic: ['orders-api', clientSecret] })).json().error, 'invalid_grant')
  t.equal((await token({ ...refreshOf(ofApp), client_id: 'app' })).statusCode, 200)

  const { refresh_token: ofOrders } = (await token(alice, { basic: ['orders-api', clientSecret] })).json()
  t.equal((await token({ ...refreshOf(ofOrders), client_id: 'orders-api' })).json().error, 'invalid_client', 'a confidential one proves itself')
  t.equal((await token(refreshOf(ofOrders), { basic: ['orders-api', clientSecret] })).statusCode, 200)
})

t.test('a session begun without a client may be refreshed by any configured one, or none', async (t) => {
  const form = refreshOf((await logIn()).refresh_token)
  t.equal((await token(form)).statusCode, 200)
  t.equal((await token({ ...form, client_id: 'app' })).statusCode, 200)
  t.equal((await token({ ...form, client_id: 'nobody' })).statusCode, 401)
})

t.test('a missing or unknown grant type has its own error', async (t) => {
  t.match((await token({ username: 'alice', password })).json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  for (const grantType of ['authorization_code', 'client_credentials', 'Password', 'urn:ietf:params:oauth:grant-type:device_code']) {
    const answer = await token({ ...alice, grant_type: grantType })
    t.equal(answer.statusCode, 400)
    t.match(answer.json(), { error: 'unsupported_grant_type', code: 'GW_GRANT_UNSUPPORTED' })
  }
})

t.test('a parameter that is missing, empty or repeated is 400 invalid_request', async (t) => {
  for (const form of [{ grant_type: 'password', username: 'alice' }, { ...alice, password: '' }, { grant_type: 'refresh_token' }]) {
    t.match((await token(form)).json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  }
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const answer = await call('POST', '/oauth/token', { json: 'grant_type=password&grant_type=password&username=alice&password=x', headers })
  t.match(answer.json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  t.equal((await call('POST', '/oauth/token')).statusCode, 400, 'no body')
})

t.test('JSON is 415, and parameters in the query are not looked at', async (t) => {
  t.equal((await call('POST', '/oauth/token', { json: alice })).statusCode, 415)
  t.equal((await call('POST', `/oauth/token?${new URLSearchParams(alice).toString()}`)).statusCode, 400)
  t.equal((await call('GET', `/oauth/token?${new URLSearchParams(alice).toString()}`)).statusCode, 405)
})

t.test('whoever asks for another scope than is granted is told which was (RFC 6749 §5.1)', async (t) => {
  t.equal((await token({ ...alice, scope: 'everything' })).json().scope, 'orders:read')
  t.notOk('scope' in (await token({ ...alice, scope: 'orders:read' })).json())
  t.equal((await token({ ...alice, username: 'bob', scope: 'everything' })).json().scope, '')
})

t.test('the password grant is throttled like a login', async (t) => {
  const rig = await startLogin(t, { throttle: { ...defaults.throttle, attempts: 3, attemptsPerAddress: 5 } })
  let answer = await rig.call('POST', '/oauth/token', { form: { ...alice, password: 'wrong password' } })
  for (let attempt = 0; attempt < 10 && answer.statusCode === 400; attempt++) {
    answer = await rig.call('POST', '/oauth/token', { form: { ...alice, password: 'wrong password' } })
  }
  t.equal(answer.statusCode, 429)
  t.ok(Number(answer.headers['retry-after']) >= 1)
  t.equal(answer.json().error, 'too_many_attempts')
})

t.test('logins and refreshes by OAuth are told to the log with their client', async (t) => {
  const begun = (await token({ ...alice, client_id: 'app' })).json()
  t.match(events().at(-1), { event: 'login', client_id: 'app', session_id: String })
  await token({ ...refreshOf(begun.refresh_token), client_id: 'app' })
  t.match(events().at(-1), { event: 'refresh', client_id: 'app', outcome: 'rotated' })
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
