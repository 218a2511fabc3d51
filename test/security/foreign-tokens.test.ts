/**
 * The gateway before an API, trusting a real OpenID provider: what its tokens open, as whom, and what they do not. Its
 * users are not the gateway's: they reach upstreams as `corp|sub`, have no session here, and nobody else speaks for them.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { oidcAudience, startOidcServer } from '../helpers/oidc-server.ts'
import { startUpstream } from '../helpers/upstream.ts'

const corp = await startOidcServer(t)
const upstream = await startUpstream()
t.teardown(() => upstream.close())
const { url, adminUrl, token, login } = await startTestGateway(t, {
  clients: [{ id: 'watcher', secret: 'a secret of the watcher alone' }],
  trustedIssuers: [{ name: 'corp', issuer: corp.url, audience: oidcAudience, roles: ['reader'] }],
  identity: { headers: { 'X-User-Id': 'sub', 'X-User-Roles': 'roles', 'X-User-Session': 'sid' } },
  routes: [
    { path: '/api', upstream: upstream.url, access: 'authenticated' },
    { path: '/maybe', upstream: upstream.url, access: 'optional' },
    { path: '/reading', upstream: upstream.url, access: { roles: ['reader'] } },
    { path: '/admin', upstream: upstream.url, access: { roles: ['admin'] } },
    { path: '/alice', upstream: upstream.url, access: { claims: { sub: 'alice' } } },
  ],
})
const get = async (path: string, bearer: string, method = 'GET') => await fetch(`${url}${path}`, { method, headers: { authorization: `Bearer ${bearer}` } })
const codeOf = async (response: Response) => (await response.json() as { code: string }).code

await t.test('lets its tokens in, as its users', async (t) => {
  const response = await get('/api/x', await corp.token('alice'))
  t.equal(response.status, 200)
  t.match(await response.json(), { headers: { 'x-user-id': 'corp|alice' } })
  t.equal((await get('/maybe', await corp.token('alice'))).status, 200)
  t.equal((await get('/auth/verify', await corp.token('alice'))).headers.get('x-user-id'), 'corp|alice')
})

await t.test('asks it nothing for the next token of a known key', async (t) => {
  const before = corp.asked.length
  for (let round = 0; round < 10; round++) t.equal((await get('/api', await corp.token(`user-${round}`))).status, 200)
  t.equal(corp.asked.length, before)
})

await t.test('believes the roles that it may give, and no others; not even as a header', async (t) => {
  const bearer = await corp.token('alice', { roles: ['admin', 'reader'], sid: 'session-1' })
  const { headers } = await (await get('/reading', bearer)).json() as { headers: Record<string, string> }
  t.equal(headers['x-user-roles'], 'reader')
  t.notOk('x-user-session' in headers, 'a session elsewhere is none here')
  t.equal(await codeOf(await get('/admin', bearer)), 'GW_ACCESS_DENIED')
  t.equal(await codeOf(await get('/alice', bearer)), 'GW_ACCESS_DENIED', 'a rule about sub means whole subjects')
})

await t.test('refuses what is no access token, or not for it', async (t) => {
  const now = Math.floor(Date.now() / 1000)
  const cases: [string, Record<string, unknown>, Record<string, unknown>?][] = [
    ['another audience', { aud: 'other' }],
    ['a list without it', { aud: ['other', 'my-client-2'] }],
    ['a list with something else in it', { aud: ['my-client', 1] }],
    ['an audience that begins like it', { aud: 'my-client-2' }],
    ['no audience', { aud: undefined }],
    ['no subject', { sub: undefined }],
    ['a subject that is a number', { sub: 1 }],
    ['a subject with a line end', { sub: 'a\r\nX-User-Id: root' }],
    ['no expiry', { exp: undefined }],
    ['no iat', { iat: undefined }],
    ['expiry as text', { exp: String(now + 60) }],
    ['expiry in ten years', { exp: now + 3650 * 86_400 }],
    ['not valid yet', { nbf: now + 600 }],
    ['issued in the future', { iat: now + 600, exp: now + 900 }],
    ['an ID token, by its nonce', { nonce: 'n' }],
    ['an ID token, by its at_hash', { at_hash: 'x' }],
    ['an ID token, by its c_hash', { c_hash: 'x' }],
    ['an ID token of Keycloak', { typ: 'ID' }],
    ['a refresh token of Keycloak', { typ: 'Refresh' }],
    ['an offline token of Keycloak', { typ: 'Offline' }],
    ['an ID token of Cognito', { token_use: 'id' }],
    ['a logout token', { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }],
    ['a token bound to a key (DPoP)', { cnf: { jkt: 'x' } }],
    ['a logout token by its type', {}, { typ: 'logout+jwt' }],
    ['a refresh token by its type', {}, { typ: 'rt+jwt' }],
    ['no type', {}, { typ: undefined }],
    ['a key in the header', {}, { jwk: { kty: 'EC' } }],
    ['a place of keys in the header', {}, { jku: `${corp.url}/jwks` }],
    ['a certificate in the header', {}, { x5c: ['x'] }],
    ['roles that are no list', { roles: 'reader' }],
  ]
  for (const [name, changes, header] of cases) {
    const response = await get('/api', await corp.token('alice', changes, header))
    t.equal(response.status, 401, name)
    t.equal(await codeOf(response), 'GW_TOKEN_INVALID', name)
  }
  t.equal(await codeOf(await get('/api', await corp.token('alice', { iat: now - 7200, exp: now - 3600 }))), 'GW_TOKEN_EXPIRED')
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'jwt']) t.equal((await get('/api', await corp.token('alice', {}, { typ }))).status, 200, typ)
  t.equal((await get('/api', await corp.token('alice', { aud: ['other', 'my-client'], scp: ['a'] }, { x5t: 'x' }))).status, 200, 'as Entra writes them')
})

await t.test('refuses a token whose signature is not that of the key, or is of zeros', async (t) => {
  const good = await corp.token('alice')
  const [header = '', payload = ''] = good.split('.')
  for (const signature of [Buffer.alloc(64), Buffer.alloc(64, 1), Buffer.alloc(63, 1)]) {
    t.equal((await get('/api', `${header}.${payload}.${signature.toString('base64url')}`)).status, 401)
  }
  const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT', kid: 'x' })).toString('base64url')
  t.equal((await get('/api', `${none}.${payload}.`)).status, 401)
  t.equal((await get('/api', `${none}.${payload}.${Buffer.alloc(64, 1).toString('base64url')}`)).status, 401)
})

await t.test('gives them no session here, and ends none by them', async (t) => {
  const { access_token: own } = await login('alice')
  const { sessions } = await (await get('/auth/sessions', own)).json() as { sessions: { id: string }[] }
  const [session] = sessions
  const bearer = await corp.token('alice', { sid: session?.id ?? '' })
  t.equal(await codeOf(await get('/auth/sessions', bearer)), 'GW_ACCESS_DENIED')
  t.equal(await codeOf(await get(`/auth/sessions/${session?.id ?? ''}`, bearer, 'DELETE')), 'GW_ACCESS_DENIED')
  t.equal(await codeOf(await get('/auth/logout', bearer, 'POST')), 'GW_ACCESS_DENIED')
  const revoked = await fetch(`${url}/oauth/revoke`, { method: 'POST', body: new URLSearchParams({ token: bearer }) })
  t.equal((await revoked.json() as { error: string }).error, 'unsupported_token_type')
  t.equal((await get('/api', own)).status, 200)
})

await t.test('vouches for them to nobody', async (t) => {
  const introspect = async (bearer: string): Promise<unknown> => {
    const authorization = `Basic ${Buffer.from('watcher:a secret of the watcher alone').toString('base64')}`
    return await (await fetch(`${url}/oauth/introspect`, { method: 'POST', headers: { authorization }, body: new URLSearchParams({ token: bearer }) })).json()
  }
  t.match(await introspect(await token('alice')), { active: true })
  t.strictSame(await introspect(await corp.token('alice')), { active: false })
})

await t.test('goes on with its own tokens', async (t) => {
  const seen = await (await get('/api', await token('root'))).json() as { headers: Record<string, string> }
  t.notMatch(seen.headers['x-user-id'], '|')
})

await t.test('counts fetches and shows the age of the keys', async (t) => {
  const text = await (await fetch(`${adminUrl}/metrics`)).text()
  t.match(text, /^gatewarden_issuer_key_fetches_total\{issuer="corp",outcome="fetched"\} 1$/m)
  t.match(text, /^gatewarden_issuer_keys\{issuer="corp"\} 1$/m)
  t.match(text, /^gatewarden_issuer_keys_age_seconds\{issuer="corp"\} \d/m)
})
