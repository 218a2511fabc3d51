import t from 'tap'
import { defaults } from './config-of.ts'
import { issuer, onlyShape, password, startLogin } from './login-rig.ts'

const { call, clock, events, logIn, users, secretsInLog } = await startLogin(t)
const refresh = (refreshToken: unknown) => call('POST', '/auth/refresh', { json: { refresh_token: refreshToken } })

t.test('POST /auth/refresh is 200 with the successor, not to be stored', async (t) => {
  const first = await logIn()
  const answer = await refresh(first.refresh_token)
  t.equal(answer.statusCode, 200)
  t.strictSame(Object.keys(answer.json()), ['access_token', 'token_type', 'expires_in', 'refresh_token'])
  t.not(answer.json().refresh_token, first.refresh_token)
  t.not(answer.json().access_token, first.access_token)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal((await refresh(answer.json().refresh_token)).statusCode, 200)
})

t.test('a refresh token that is unknown is 401 invalid_grant, with the realm as challenge', async (t) => {
  const { refresh_token: good } = await logIn()
  for (const bad of ['', 'nonsense', 'x'.repeat(5000), `${good}x`, good.slice(0, -1), good.toUpperCase()]) {
    const answer = await refresh(bad)
    t.equal(answer.statusCode, 401)
    t.strictSame(Object.keys(answer.json()), onlyShape)
    t.match(answer.json(), { error: 'invalid_grant', code: 'GW_REFRESH_TOKEN_INVALID' })
    t.equal(answer.headers['www-authenticate'], `Bearer realm="${issuer}"`)
  }
})

t.test('an access token is no refresh token', async (t) => {
  t.equal((await refresh((await logIn()).access_token)).statusCode, 401)
})

t.test('a body without a refresh token is 400 invalid_request', async (t) => {
  for (const body of [{}, { refresh_token: 7 }, { refresh_token: null }, [], 'x']) {
    t.match((await call('POST', '/auth/refresh', { json: body })).json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  }
})

t.test('of twenty refreshes at once each gets the same successor, and nobody is logged out', async (t) => {
  const { refresh_token: token } = await logIn()
  const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(token)))
  t.ok(answers.every(({ statusCode }) => statusCode === 200))
  const successors = new Set(answers.map((answer) => answer.json().refresh_token))
  t.equal(successors.size, 1)
  const outcomes = events().slice(-20).map(({ outcome }) => outcome)
  t.equal(outcomes.filter((outcome) => outcome === 'rotated').length, 1)
  t.equal(outcomes.filter((outcome) => outcome === 'repeated').length, 19)
  t.equal((await refresh([...successors][0])).statusCode, 200)
})

t.test('a used token shown after the grace window ends its session, and only that one, and the log says so', async (t) => {
  const [stolen, other] = [await logIn(), await logIn()]
  const successor = (await refresh(stolen.refresh_token)).json()
  clock.time += defaults.refreshToken.graceWindow + 1
  const before = events().length
  t.equal((await refresh(stolen.refresh_token)).statusCode, 401)
  t.ok(events().slice(before).some(({ event }) => event === 'reuse'))
  t.ok(events().slice(before).some(({ event }) => event === 'refresh_failed'))
  t.equal((await refresh(successor.refresh_token)).statusCode, 401)
  t.equal((await call('GET', '/auth/sessions', { bearer: successor.access_token })).json().code, 'GW_SESSION_ENDED')
  t.equal((await refresh(other.refresh_token)).statusCode, 200)
})

t.test('a refresh is told to the log with its outcome, subject and session', async (t) => {
  const { refresh_token: token } = await logIn()
  const session = events().at(-1)?.['session_id']
  await refresh(token)
  t.match(events().at(-1), { event: 'refresh', outcome: 'rotated', subject: String, session_id: session, address: '192.0.2.1', request_id: String })
  await refresh('nonsense')
  t.match(events().at(-1), { event: 'refresh_failed', reason: String, address: '192.0.2.1' })
})

t.test('a session begun by a client is not refreshed without it', async (t) => {
  const begun = (await call('POST', '/oauth/token', { form: { grant_type: 'password', username: 'alice', password, client_id: 'app' } })).json()
  t.equal((await refresh(begun.refresh_token)).statusCode, 401)
  const form = { grant_type: 'refresh_token', refresh_token: begun.refresh_token, client_id: 'app' }
  t.equal((await call('POST', '/oauth/token', { form })).statusCode, 200, 'and is none the worse for it')
})

t.test('a session ends at its lifetime, however often it was refreshed', async (t) => {
  const rig = await startLogin(t, { refreshToken: { lifetime: 3_600_000, graceWindow: 10_000 } })
  let { refresh_token: token } = await rig.logIn()
  const tokenAfter = async (milliseconds: number) => {
    rig.clock.time += milliseconds
    return await rig.call('POST', '/auth/refresh', { json: { refresh_token: token } })
  }
  token = (await tokenAfter(1_800_000)).json().refresh_token
  token = (await tokenAfter(1_799_000)).json().refresh_token
  t.equal((await tokenAfter(1_001)).statusCode, 401)
})

t.test('a user who was disabled gets no more tokens', async (t) => {
  const { refresh_token: token } = await logIn('bob')
  await users.disable('bob')
  t.equal((await refresh(token)).json().code, 'GW_REFRESH_TOKEN_INVALID')
  t.equal((await call('POST', '/auth/login', { json: { username: 'bob', password } })).statusCode, 401)
  await users.enable('bob')
  t.equal((await call('POST', '/auth/login', { json: { username: 'bob', password } })).statusCode, 200)
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
