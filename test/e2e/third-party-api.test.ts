/**
 * The whole product before an API that was written by others and knows nothing of login (json-server), used by an OAuth client
 * that was written by others (oauth4webapi), its tokens checked by a verifier that was written by others (jose).
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRequire } from 'node:module'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import t from 'tap'
import { freePort } from '../helpers/free-port.ts'
import { password, startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'

interface JsonServer {
  create (): { use (handler: unknown): void } & Parameters<typeof createServer>[1]
  router (data: unknown): unknown
  defaults (options: unknown): unknown
}

const jsonServer = createRequire(import.meta.url)('json-server') as JsonServer
const api = jsonServer.create()
api.use(jsonServer.defaults({ logger: false }))
api.use(jsonServer.router({ posts: [{ id: 1, title: 'first' }], comments: [] }))
const server = createServer(api as never)
await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
t.teardown(() => { server.close(); server.closeAllConnections() })
const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

// The issuer must be where clients find it.
const port = await freePort()
const issuer = `http://127.0.0.1:${port}`

const clientSecret = 'a secret: with + and %'
const gateway = await startTestGateway(t, {
  listen: { port },
  issuer,
  clients: [{ id: 'app' }, { id: 'orders-api', secret: clientSecret }],
  routes: [{ path: '/api', upstream, access: 'authenticated', stripPrefix: true }, { path: '/admin', upstream, access: { roles: ['admin'] }, stripPrefix: true }],
})

const insecure = { [oauth.allowInsecureRequests]: true }
const as = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure }))
const app: oauth.Client = { client_id: 'app' }
const orders: oauth.Client = { client_id: 'orders-api' }

t.test('the metadata says where everything is', async (t) => {
  t.match(as, {
    issuer,
    token_endpoint: `${issuer}/oauth/token`,
    revocation_endpoint: `${issuer}/oauth/revoke`,
    introspection_endpoint: `${issuer}/oauth/introspect`,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
  })
})

t.test('the API serves whoever has logged in, all its methods, and nobody else', async (t) => {
  t.equal((await fetch(`${issuer}/api/posts`)).status, 401)
  const headers = { 'authorization': `Bearer ${await gateway.token()}`, 'content-type': 'application/json' }
  const created = await fetch(`${issuer}/api/posts`, { method: 'POST', headers, body: JSON.stringify({ title: 'zweiter — 二' }) })
  t.equal(created.status, 201)
  const { id } = await created.json() as { id: number }
  t.match(await (await fetch(`${issuer}/api/posts/${id}`, { headers })).json(), { title: 'zweiter — 二' })
  t.match(await (await fetch(`${issuer}/api/posts/${id}`, { method: 'PATCH', headers, body: '{"title":"new"}' })).json(), { title: 'new' })
  t.equal((await fetch(`${issuer}/api/posts/${id}`, { method: 'DELETE', headers })).status, 200)
  t.equal((await fetch(`${issuer}/api/posts/${id}`, { headers })).status, 404)
  const etag = (await fetch(`${issuer}/api/posts/1`, { headers })).headers.get('etag') ?? ''
  // fetch would add Cache-Control: no-cache to a condition of one's own.
  t.equal((await rawRequest(port, `GET /api/posts/1 HTTP/1.1\r\nHost: a\r\nAuthorization: ${headers.authorization}\r\nIf-None-Match: ${etag}\r\n\r\n`)).status, 304)
  t.equal((await fetch(`${issuer}/admin/posts`, { headers })).status, 403)
})

t.test('jose verifies the access token by the published keys', async (t) => {
  const { payload, protectedHeader } = await jwtVerify(await gateway.token('root'), createRemoteJWKSet(new URL(as.jwks_uri ?? '')), { issuer, audience: 'api', typ: 'at+jwt', algorithms: ['ES256'] })
  t.match(payload, { sub: String, sid: String, jti: String, client_id: 'gatewarden', roles: ['admin'] })
  t.match(protectedHeader, { alg: 'ES256', kid: String })
})

async function passwordGrant () {
  const response = await oauth.genericTokenEndpointRequest(as, app, oauth.None(), 'password', { username: 'root', password }, insecure)
  return await oauth.processGenericTokenEndpointResponse(as, app, response)
}

t.test('a client refreshes, and the successor works', async (t) => {
  const first = await passwordGrant()
  t.equal(first.token_type, 'bearer')
  const response = await oauth.refreshTokenGrantRequest(as, app, oauth.None(), first.refresh_token ?? '', insecure)
  const second = await oauth.processRefreshTokenResponse(as, app, response)
  t.not(second.refresh_token, first.refresh_token)
  const answer = await oauth.protectedResourceRequest(second.access_token, 'GET', new URL(`${issuer}/admin/posts`), undefined, undefined, insecure)
  t.equal(answer.status, 200)
})

t.test('a confidential client introspects, and one with a wrong secret does not', async (t) => {
  const { access_token: token, refresh_token: refreshToken } = await passwordGrant()
  for (const authentication of [oauth.ClientSecretBasic(clientSecret), oauth.ClientSecretPost(clientSecret)]) {
    const response = await oauth.introspectionRequest(as, orders, authentication, token, insecure)
    t.match(await oauth.processIntrospectionResponse(as, orders, response), { active: true, iss: issuer, client_id: 'app', sub: String, exp: Number })
  }
  const refresh = await oauth.introspectionRequest(as, orders, oauth.ClientSecretBasic(clientSecret), refreshToken ?? '', insecure)
  t.match(await oauth.processIntrospectionResponse(as, orders, refresh), { active: true })
  const wrong = await oauth.introspectionRequest(as, orders, oauth.ClientSecretBasic('wrong'), token, insecure)
  await t.rejects(oauth.processIntrospectionResponse(as, orders, wrong))
})

t.test('a revoked token is over everywhere', async (t) => {
  const { access_token: token, refresh_token: refreshToken } = await passwordGrant()
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, app, oauth.None(), refreshToken ?? '', insecure))
  await t.rejects(oauth.protectedResourceRequest(token, 'GET', new URL(`${issuer}/api/posts`), undefined, undefined, insecure), /invalid_token|WWW-Authenticate/i)
  const response = await oauth.introspectionRequest(as, orders, oauth.ClientSecretBasic(clientSecret), token, insecure)
  t.match(await oauth.processIntrospectionResponse(as, orders, response), { active: false })
  const refresh = await oauth.refreshTokenGrantRequest(as, app, oauth.None(), refreshToken ?? '', insecure)
  t.equal(refresh.status, 400)
  t.match(await refresh.json(), { error: 'invalid_grant' })
})
