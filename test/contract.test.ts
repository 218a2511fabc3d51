/** The surface that people configure, call and depend on, line by line, at the real gateway. What a line means in depth is tested beside its part. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { loadConfig } from '../src/config/load.ts'
import { password, startTestGateway, type Tokens } from './helpers/gateway.ts'
import { rawRequest } from './helpers/raw-request.ts'
import { startUpstream } from './helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  clients: [{ id: 'app' }, { id: 'orders-api', secret: 'orders-secret' }],
  accessToken: { lifetime: '5m' },
  routes: [
    { path: '/public', upstream: upstream.url, access: 'public' },
    { path: '/api', upstream: upstream.url, access: 'authenticated' },
    { path: '/optional', upstream: upstream.url, access: 'optional' },
    { path: '/admin', methods: ['GET', 'POST'], upstream: upstream.url, stripPrefix: true, access: { roles: ['admin'] }, timeout: '30s' },
  ],
})

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const call = async (path: string, init: RequestInit = {}) => await fetch(`${gateway.url}${path}`, init)
const json = async (path: string, body: unknown) => await call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
const form = async (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) => await call(path, { method: 'POST', headers, body: new URLSearchParams(fields) })
const orders = { authorization: `Basic ${Buffer.from('orders-api:orders-secret').toString('base64')}` }

t.test('`config.yaml` at the root is the documented example and works as it stands', async (t) => {
  const loaded = loadConfig(new URL('../config.yaml', import.meta.url).pathname, {})
  t.notOk('faults' in loaded && loaded.faults)
})

t.test('every fault is reported at once, each with file, line, column, the path of the key and what would be right; an unknown key is a fault, with the nearest known one suggested', async (t) => {
  const file = `${t.testdir({ 'config.yaml': 'isuer: http://x\nlisten: { prot: 1 }\nroutes:\n  - path: /x\n    upstream: http://127.0.0.1:1\n' })}/config.yaml`
  const loaded = loadConfig(file, {})
  t.match('faults' in loaded ? loaded.faults : [], [
    { file, line: 1, column: 1, path: 'isuer', message: /did you mean issuer/ },
    { file, line: 2, column: 11, path: 'listen.prot', message: /did you mean port/ },
    { file, line: 4, path: 'routes[0].access', message: /is missing/ },
  ])
})

t.test('a JSON Schema for editors is generated from the same source as the types', async (t) => {
  const schema = JSON.parse(readFileSync(new URL('../schema/gatewarden.schema.json', import.meta.url), 'utf8'))
  t.ok(schema.properties.routes)
})

t.test('`access`: public, optional, authenticated, or a rule', async (t) => {
  const [alice, root] = [await gateway.token('alice'), await gateway.token('root')]
  const status = async (path: string, headers = {}) => (await call(path, { headers })).status
  t.equal(await status('/public/x'), 200)
  t.equal(await status('/public/x', bearer('bad')), 200, 'public looks at no token')
  t.equal(await status('/optional/x'), 200)
  t.equal(await status('/optional/x', bearer('bad')), 401, 'a bad one is refused')
  t.equal(await status('/api/x'), 401)
  t.equal(await status('/api/x', bearer(alice)), 200)
  t.equal(await status('/admin/x', bearer(alice)), 403)
  t.equal(await status('/admin/x', bearer(root)), 200)
})

t.test('POST /auth/login JSON {username, password}: 200 token response; 401 invalid_credentials', async (t) => {
  const response = await json('/auth/login', { username: 'alice', password })
  t.equal(response.status, 200)
  t.equal(response.headers.get('cache-control'), 'no-store')
  const tokens = await response.json() as Tokens
  t.strictSame(Object.keys(tokens).sort(), ['access_token', 'expires_in', 'refresh_token', 'token_type'])
  t.match(tokens, { token_type: 'Bearer', expires_in: 300 })
  const refused = await json('/auth/login', { username: 'alice', password: 'not it' })
  t.equal(refused.status, 401)
  t.match(await refused.json(), { error: 'invalid_credentials' })
})

t.test('POST /auth/login: 429 too_many_attempts with Retry-After', async (t) => {
  let response = await json('/auth/login', { username: 'nobody', password: 'not it' })
  for (let count = 0; count < 30 && response.status === 401; count++) response = await json('/auth/login', { username: 'nobody', password: 'not it' })
  t.equal(response.status, 429)
  t.match(response.headers.get('retry-after'), /^[1-9]\d*$/)
  t.match(await response.json(), { error: 'too_many_attempts' })
})

t.test('POST /auth/refresh JSON {refresh_token}: 200 token response with the successor; 401 invalid_grant', async (t) => {
  const { refresh_token: first } = await gateway.login()
  const second = await (await json('/auth/refresh', { refresh_token: first })).json() as Tokens
  t.not(second.refresh_token, first)
  t.equal((await call('/api/x', { headers: bearer(second.access_token) })).status, 200)
  const refused = await json('/auth/refresh', { refresh_token: `${first}x` })
  t.equal(refused.status, 401)
  t.match(await refused.json(), { error: 'invalid_grant' })
})

t.test('POST /auth/logout JSON {refresh_token}, or a Bearer access token: 204; the session is over everywhere, its access tokens included', async (t) => {
  for (const how of ['refresh', 'access']) {
    const tokens = await gateway.login()
    const response = how === 'refresh' ? await json('/auth/logout', { refresh_token: tokens.refresh_token }) : await call('/auth/logout', { method: 'POST', headers: bearer(tokens.access_token) })
    t.equal(response.status, 204)
    t.equal((await call('/api/x', { headers: bearer(tokens.access_token) })).status, 401)
    t.equal((await json('/auth/refresh', { refresh_token: tokens.refresh_token })).status, 401)
  }
})

t.test('GET /auth/sessions, DELETE /auth/sessions/{id}: the caller\'s own live sessions; ends one', async (t) => {
  const [mine, other] = [await gateway.token(), await gateway.token()]
  const { sid } = JSON.parse(Buffer.from(other.split('.')[1] ?? '', 'base64url').toString()) as { sid: string }
  t.match(JSON.stringify(await (await call('/auth/sessions', { headers: bearer(mine) })).json()), sid)
  t.equal((await call(`/auth/sessions/${sid}`, { method: 'DELETE', headers: bearer(mine) })).status, 204)
  t.equal((await call('/api/x', { headers: bearer(other) })).status, 401)
  t.equal((await call('/api/x', { headers: bearer(mine) })).status, 200)
})

t.test('GET /auth/verify: forward-auth for other proxies: 200 with the identity headers, 401, 403', async (t) => {
  const response = await call('/auth/verify', { headers: bearer(await gateway.token('root')) })
  t.equal(response.status, 200)
  t.match(response.headers.get('x-user-id'), /^[0-9a-f-]{36}$/)
  t.equal(response.headers.get('x-user-roles'), 'admin')
  t.equal((await call('/auth/verify')).status, 401)
  t.equal((await call('/auth/verify?roles=admin', { headers: bearer(await gateway.token('alice')) })).status, 403)
})

t.test('POST /oauth/token form grant_type=password|refresh_token: errors as RFC 6749 says; client_id optional, but one that is sent must be configured', async (t) => {
  const granted = await form('/oauth/token', { grant_type: 'password', username: 'alice', password })
  t.equal(granted.status, 200)
  const { refresh_token: refreshToken } = await granted.json() as Tokens
  t.equal((await form('/oauth/token', { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'app' })).status, 200)
  const refused = await form('/oauth/token', { grant_type: 'refresh_token', refresh_token: 'nonsense' })
  t.equal(refused.status, 400)
  t.match(await refused.json(), { error: 'invalid_grant' })
  t.equal((await form('/oauth/token', { grant_type: 'password', username: 'alice', password, client_id: 'stranger' })).status, 401)
  t.match(await (await form('/oauth/token', { grant_type: 'magic' })).json(), { error: 'unsupported_grant_type' })
})

t.test('POST /oauth/revoke: holding the token is enough; POST /oauth/introspect: a confidential client, else 401 invalid_client', async (t) => {
  const { access_token: token } = await gateway.login()
  t.match(await (await form('/oauth/introspect', { token }, orders)).json(), { active: true })
  const stranger = await form('/oauth/introspect', { token, client_id: 'app' })
  t.equal(stranger.status, 401)
  t.match(await stranger.json(), { error: 'invalid_client' })
  t.equal((await form('/oauth/revoke', { token })).status, 200)
  t.strictSame(await (await form('/oauth/introspect', { token }, orders)).json(), { active: false })
})

t.test('GET /.well-known/jwks.json, GET /.well-known/oauth-authorization-server', async (t) => {
  t.match(await (await call('/.well-known/jwks.json')).json(), { keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: String }] })
  t.match(await (await call('/.well-known/oauth-authorization-server')).json(), { issuer: 'http://gateway.test', token_endpoint: 'http://gateway.test/oauth/token' })
})

t.test('anything else: its route, or 404 not_found', async (t) => {
  t.equal((await call('/auth/else')).status, 404)
  t.match(await (await call('/nothing')).json(), { error: 'not_found' })
})

t.test('access token: header alg, typ at+jwt, kid; claims iss sub aud exp iat jti sid, client_id, roles', async (t) => {
  const token = await gateway.token('root')
  t.strictSame(Object.keys(decodeProtectedHeader(token)).sort(), ['alg', 'kid', 'typ'])
  const keys = createLocalJWKSet(await (await call('/.well-known/jwks.json')).json() as Parameters<typeof createLocalJWKSet>[0])
  const { payload } = await jwtVerify(token, keys, { issuer: 'http://gateway.test', audience: 'api', typ: 'at+jwt' })
  t.strictSame(Object.keys(payload).sort(), ['aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'roles', 'sid', 'sub'])
})

t.test('every refusal has one shape: {error, error_description, code, request_id}; request_id is also X-Request-Id', async (t) => {
  const response = await call('/api/x')
  const body = await response.json() as Record<string, string>
  t.strictSame(Object.keys(body), ['error', 'error_description', 'code', 'request_id'])
  t.equal(body['request_id'], response.headers.get('x-request-id'))
})

t.test('401 carries WWW-Authenticate: Bearer: without a token just the realm; with a bad one error="invalid_token"; 403 insufficient_scope', async (t) => {
  t.equal((await call('/api/x')).headers.get('www-authenticate'), 'Bearer realm="http://gateway.test"')
  t.match((await call('/api/x', { headers: bearer('bad') })).headers.get('www-authenticate'), /^Bearer .*error="invalid_token"/)
  const denied = await call('/admin/x', { headers: bearer(await gateway.token('alice')) })
  t.match(denied.headers.get('www-authenticate'), /error="insufficient_scope"/)
  t.match(await denied.json(), { error: 'insufficient_scope' })
})

t.test('an expired token has GW_TOKEN_EXPIRED, so that a client knows to refresh', async (t) => {
  const short = await startTestGateway(t, { accessToken: { lifetime: '2s', clockTolerance: '0s' }, routes: [{ path: '/', upstream: upstream.url, access: 'authenticated' }] })
  const token = await short.token()
  let response = await fetch(short.url, { headers: bearer(token) })
  t.equal(response.status, 200)
  while (response.status === 200) {
    await new Promise((resolve) => { setTimeout(resolve, 50) })
    response = await fetch(short.url, { headers: bearer(token) })
  }
  t.equal(response.status, 401)
  t.match(await response.json(), { error: 'invalid_token', code: 'GW_TOKEN_EXPIRED' })
})

t.test('400 invalid_request; 413; 415; 502 bad_gateway; 504 gateway_timeout', async (t) => {
  t.match(await (await json('/auth/login', {})).json(), { error: 'invalid_request' })
  t.equal((await json('/auth/login', { username: 'x'.repeat(100_000), password: '' })).status, 413)
  t.equal((await call('/auth/login', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x' })).status, 415)
})

t.test('the request arrives as it was sent, same bytes of path and body, plus the identity headers, X-Request-Id, X-Forwarded-For/-Proto/-Host, and without Authorization', async (t) => {
  const token = await gateway.token()
  await rawRequest(gateway.port, `POST /api/a%20b?c=%zz HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer ${token}\r\nX-User-Id: mallory\r\nx_user_id: mallory\r\nConnection: X-User-Id\r\nContent-Length: 3\r\n\r\n\xe9\x00\xff`)
  const seen = upstream.seen.at(-1)
  t.match(seen, { method: 'POST', url: '/api/a%20b?c=%zz', body: '\xe9\x00\xff' })
  t.match(seen?.headers, { 'x-user-id': /^[0-9a-f-]{36}$/, 'x-request-id': /./, 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'shop' })
  t.notOk(seen?.headers['authorization'])
  t.notOk(seen?.rawHeaders.includes('mallory'))
})

t.test('/admin/x arrives as /x', async (t) => {
  await call('/admin/x', { headers: bearer(await gateway.token('root')) })
  t.equal(upstream.seen.at(-1)?.url, '/x')
})

t.test('admin port: GET /livez, GET /readyz, GET /metrics (Prometheus)', async (t) => {
  for (const path of ['/livez', '/readyz', '/metrics']) t.equal((await fetch(`${gateway.adminUrl}${path}`)).status, 200, path)
  t.match(await (await fetch(`${gateway.adminUrl}/metrics`)).text(), /^# TYPE gatewarden_requests_total counter$/m)
})
