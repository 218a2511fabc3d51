import t from 'tap'
import { decodeJwt } from 'jose'
import { clientSecret, issuer, password, startLogin, type Call } from './login-rig.ts'

const { call, clock, logIn, aliceId, secretsInLog } = await startLogin(t)
const introspect = (form: Record<string, string>, options: Call = { basic: ['orders-api', clientSecret] }) => call('POST', '/oauth/introspect', { form, ...options })
const inactive = { active: false }

t.test('POST /oauth/introspect of an access token tells a confidential client what it proves (RFC 7662 §2.2)', async (t) => {
  const begun = (await call('POST', '/oauth/token', { form: { grant_type: 'password', username: 'alice', password, client_id: 'app' } })).json()
  const claims = decodeJwt(begun.access_token)
  const answer = await introspect({ token: begun.access_token })
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.strictSame(answer.json(), {
    active: true,
    token_type: 'Bearer',
    scope: 'orders:read',
    client_id: 'app',
    exp: claims.exp,
    iat: claims.iat,
    sub: aliceId,
    aud: 'api',
    iss: issuer,
    jti: claims.jti,
    sid: claims['sid'],
    roles: ['user', 'admin'],
  })
})

t.test('of a refresh token it tells whose it is and when its session runs out, and does not rotate it', async (t) => {
  const mine = await logIn()
  for (let times = 0; times < 2; times++) {
    t.strictSame((await introspect({ token: mine.refresh_token })).json(), {
      active: true, client_id: 'gatewarden', sub: aliceId, iss: issuer, exp: clock.time / 1000 + 30 * 86_400, sid: decodeJwt(mine.access_token)['sid'],
    })
  }
  t.equal((await call('POST', '/auth/refresh', { json: { refresh_token: mine.refresh_token } })).statusCode, 200)
})

t.test('client_secret in the form does as well; a token_type_hint changes nothing', async (t) => {
  const mine = await logIn()
  const credentials = { client_id: 'orders-api', client_secret: clientSecret }
  t.equal((await introspect({ token: mine.access_token, token_type_hint: 'refresh_token', ...credentials }, {})).json().active, true)
  t.equal((await introspect({ token: mine.refresh_token, token_type_hint: 'access_token', ...credentials }, {})).json().active, true)
})

t.test('whatever is not live is active: false, and nothing more', async (t) => {
  const mine = await logIn()
  const used = mine.refresh_token
  const next = (await call('POST', '/auth/refresh', { json: { refresh_token: used } })).json()
  for (const token of ['no-such-token', `${mine.access_token}x`, 'a.b.c', '.']) t.strictSame((await introspect({ token })).json(), inactive, token)
  await call('POST', '/auth/logout', { json: { refresh_token: next.refresh_token } })
  for (const token of [mine.access_token, next.access_token, next.refresh_token]) t.strictSame((await introspect({ token })).json(), inactive, 'its session has ended')
  const other = await logIn()
  clock.time += 600_000
  t.strictSame((await introspect({ token: other.access_token })).json(), inactive, 'it has expired')
})

t.test('without a confidential client it is 401 invalid_client, whatever the token (RFC 7662 §2.1)', async (t) => {
  const mine = await logIn()
  const attempts: [Record<string, string>, Call][] = [
    [{}, {}],
    [{ client_id: 'app' }, {}],
    [{}, { basic: ['app', ''] }],
    [{ client_id: 'orders-api' }, {}],
    [{}, { basic: ['orders-api', 'wrong'] }],
    [{}, { bearer: mine.access_token }],
  ]
  for (const [form, options] of attempts) {
    const answer = await introspect({ token: mine.access_token, ...form }, options)
    t.equal(answer.statusCode, 401)
    t.match(answer.json(), { error: 'invalid_client', code: 'GW_CLIENT_INVALID' })
    t.match(answer.headers['www-authenticate'], /^Basic realm=/)
  }
})

t.test('without a token it is 400 invalid_request; GET is 405, for tokens do not belong in URLs', async (t) => {
  t.match((await introspect({})).json(), { error: 'invalid_request', code: 'GW_BODY_INVALID' })
  t.equal((await call('GET', '/oauth/introspect?token=x')).statusCode, 405)
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
