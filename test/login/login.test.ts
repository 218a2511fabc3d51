import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { defaults } from './config-of.ts'
import { issuer, onlyShape, password, startLogin } from './login-rig.ts'

const { call, clock, events, log, logIn, aliceId, hashChecks, secretsInLog } = await startLogin(t)
const login = (json: unknown, options = {}) => call('POST', '/auth/login', { json, ...options })

t.test('POST /auth/login with the right credentials is 200 with exactly the token response, not to be stored', async (t) => {
  const answer = await login({ username: 'alice', password, unknown: 'member' })
  t.equal(answer.statusCode, 200)
  t.strictSame(Object.keys(answer.json()), ['access_token', 'token_type', 'expires_in', 'refresh_token'])
  t.match(answer.json(), { access_token: /^[\w-]+\.[\w-]+\.[\w-]+$/, token_type: 'Bearer', expires_in: 300, refresh_token: String })
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(answer.headers.pragma, 'no-cache')
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(answer.headers['x-content-type-options'], 'nosniff')
  t.ok(answer.headers['x-request-id'])
})

t.test('the access token has the header and claims of RFC 9068, as another implementation reads them', async (t) => {
  const { access_token: token } = await logIn()
  const keys = createLocalJWKSet((await call('GET', '/.well-known/jwks.json')).json())
  const { protectedHeader, payload } = await jwtVerify(token, keys, { issuer, audience: 'api', typ: 'at+jwt', currentDate: new Date(clock.time) })
  t.match(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: String })
  t.match(payload, { sub: aliceId, jti: String, sid: String, client_id: 'gatewarden', roles: ['user', 'admin'], scope: 'orders:read', exp: Number, iat: Number })
})

t.test('a wrong password is 401 invalid_credentials, and an unknown user is told the same', async (t) => {
  const [wrong, unknown] = [await login({ username: 'alice', password: 'wrong password' }), await login({ username: 'nobody', password: 'wrong password' })]
  for (const answer of [wrong, unknown]) {
    t.equal(answer.statusCode, 401)
    t.strictSame(Object.keys(answer.json()), onlyShape)
    t.match(answer.json(), { error: 'invalid_credentials', code: 'GW_CREDENTIALS_INVALID' })
    t.equal(answer.headers['www-authenticate'], `Bearer realm="${issuer}"`)
    t.equal(answer.headers['cache-control'], 'no-store')
  }
  const without = ({ headers, body }: typeof wrong) => [Object.keys(headers).sort(), body.replace(/"request_id":".*?"/, '')]
  t.strictSame(without(wrong), without(unknown))
})

t.test('a password that nobody can have is the same 401, without any hashing', async (t) => {
  const before = hashChecks()
  for (const impossible of ['', `${password}\0`, '\0', 'x'.repeat(1025), 'é'.repeat(513)]) {
    const answer = await login({ username: 'bob', password: impossible }, { from: '192.0.2.77' })
    t.equal(answer.statusCode, 401)
    t.equal(answer.json().code, 'GW_CREDENTIALS_INVALID')
  }
  t.equal((await login({ username: 'bo\0b', password }, { from: '192.0.2.77' })).statusCode, 401)
  t.equal((await login({ username: '', password }, { from: '192.0.2.77' })).statusCode, 401)
  t.equal(hashChecks(), before)
})

t.test('a body without username and password as strings is 400 invalid_request', async (t) => {
  const bodies = [{}, { username: 'alice' }, { password }, { username: ['alice'], password }, { username: 'alice', password: 7 }, { username: 'x'.repeat(257), password }, [], 'null', '{']
  for (const body of bodies) {
    const answer = await login(body)
    t.equal(answer.statusCode, 400, JSON.stringify(body).slice(0, 40))
    t.match(answer.json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  }
  t.equal((await call('POST', '/auth/login')).statusCode, 400, 'no body')
})

t.test('a login by form is 415: a page on another origin can send one without asking', async (t) => {
  const answer = await call('POST', '/auth/login', { form: { username: 'alice', password } })
  t.equal(answer.statusCode, 415)
  t.match(answer.json(), { error: 'unsupported_media_type', code: 'GW_MEDIA_TYPE_UNSUPPORTED' })
})

t.test('a body that is too large is 413', async (t) => {
  const answer = await login({ username: 'alice', password, more: 'x'.repeat(20_000) })
  t.equal(answer.statusCode, 413)
  t.equal(answer.json().code, 'GW_BODY_TOO_LARGE')
})

t.test('other methods are 405 with Allow; OPTIONS is 204', async (t) => {
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE'] as const) {
    const answer = await call(method, '/auth/login')
    t.equal(answer.statusCode, 405, method)
    t.equal(answer.headers.allow, 'POST, OPTIONS', method)
  }
  t.equal((await call('OPTIONS', '/auth/login')).statusCode, 204)
})

t.test('twenty logins at once are twenty sessions', async (t) => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => login({ username: 'alice', password })))
  t.ok(answers.every(({ statusCode }) => statusCode === 200))
  t.equal(new Set(answers.map((answer) => answer.json().refresh_token)).size, 20)
})

t.test('a login is told to the log: who, where from, which session, by which source', async (t) => {
  const before = events().length
  const answer = await login({ username: 'alice', password }, { from: '198.51.100.7' })
  const [event, ...more] = events().slice(before)
  t.strictSame(more, [])
  t.match(event, { event: 'login', request_id: answer.headers['x-request-id'], subject: aliceId, session_id: String, client_id: 'gatewarden', source: 'store', address: '198.51.100.7', account: /^[0-9a-f]{16}$/ })
})

t.test('a failed login is told to the log, with a tag for the name that was typed and never the name', async (t) => {
  const before = events().length
  await login({ username: 'Alice', password: 'not the password' })
  await login({ username: 'my-secret-password-in-the-wrong-field', password: 'not the password' })
  const [known, unknown] = events().slice(before)
  t.match(known, { event: 'login_failed', request_id: String, address: '192.0.2.1', account: /^[0-9a-f]{16}$/, reason: String })
  const success = events().find(({ event }) => event === 'login')
  t.equal(known?.['account'], success?.['account'], 'the tag of a later success tells whose it is')
  t.not(known?.['account'], unknown?.['account'])
  t.notMatch(log.text(), 'wrong-field')
})

t.test('a client may say what it likes of itself: a long User-Agent is cut', async (t) => {
  const { access_token: bearer } = await logIn('bob', { headers: { 'user-agent': 'x'.repeat(5000) } })
  const { sessions } = (await call('GET', '/auth/sessions', { bearer })).json()
  t.equal(sessions[0].user_agent.length, 256)
})

t.test('too many failures are 429 too_many_attempts with Retry-After, and told to the log', async (t) => {
  const rig = await startLogin(t, { throttle: { ...defaults.throttle, attempts: 3, attemptsPerAddress: 5 } })
  let answer = await rig.call('POST', '/auth/login', { json: { username: 'alice', password: 'wrong password' } })
  for (let attempt = 0; attempt < 10 && answer.statusCode === 401; attempt++) {
    answer = await rig.call('POST', '/auth/login', { json: { username: 'alice', password: 'wrong password' } })
  }
  t.equal(answer.statusCode, 429)
  t.match(answer.json(), { error: 'too_many_attempts', code: 'GW_TOO_MANY_ATTEMPTS' })
  const seconds = Number(answer.headers['retry-after'])
  t.ok(Number.isInteger(seconds) && seconds >= 1)
  t.match(rig.events().at(-1), { event: 'throttled', account: String, address: '192.0.2.1' })
  rig.clock.time += seconds * 1000
  t.equal((await rig.call('POST', '/auth/login', { json: { username: 'alice', password } })).statusCode, 200, 'and passes')
})

t.test('when more passwords come than can be hashed, the rest is 503 and counts as no failure', async (t) => {
  const rig = await startLogin(t, { passwords: { ...defaults.passwords, memory: 64 * 1024 ** 2, concurrency: 1, queue: 1 }, throttle: { ...defaults.throttle, attempts: 3, attemptsPerAddress: 5 } })
  const answers = await Promise.all(Array.from({ length: 12 }, () => rig.call('POST', '/auth/login', { json: { username: 'alice', password } })))
  const busy = answers.filter(({ statusCode }) => statusCode === 503)
  t.ok(busy.length > 0)
  t.match(busy[0]?.json(), { error: 'unavailable', code: 'GW_UNAVAILABLE' })
  t.ok(answers.every(({ statusCode }) => statusCode === 200 || statusCode === 503))
  t.equal((await rig.call('POST', '/auth/login', { json: { username: 'alice', password } })).statusCode, 200)
})

t.test('who comes while no more can be hashed is turned away before they are counted', async (t) => {
  const rig = await startLogin(t, { passwords: { ...defaults.passwords, memory: 256 * 1024 ** 2, iterations: 4, concurrency: 1, queue: 0 } })
  const first = rig.logIn('alice', { from: '192.0.2.1' })
  while (rig.hashing().running === 0) await nextTurn()
  const answer = await rig.call('POST', '/auth/login', { json: { username: 'bob', password }, from: '192.0.2.2' })
  t.equal(rig.hashing().running, 1, 'alice is not through yet')
  t.equal(answer.statusCode, 503)
  t.match(answer.headers, { 'retry-after': /^\d+$/ })
  t.equal((await rig.db.selectFrom('login_attempts').select('key').execute()).length, 3, 'her account, her address, and all: nothing of bob')
  await first
  t.equal(rig.hashChecks(), 1)
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
