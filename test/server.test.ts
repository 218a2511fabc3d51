/** The gateway as a whole: reload, drain, what the operator sees of it. */
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { Config } from '../src/config/schema.ts'
import { startGateway } from '../src/server.ts'
import { pino } from 'pino'
import { startTestGateway } from './helpers/gateway.ts'
import { rawRequest, readResponse } from './helpers/raw-request.ts'
import { startUpstream } from './helpers/upstream.ts'

async function start (t: Test, config: Record<string, unknown> = {}) {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, { ...config, routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }, { path: '/public', upstream: upstream.url, access: 'public' }] })
  const get = async (path: string, token?: string) => await fetch(`${gateway.url}${path}`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
  return { upstream, gateway, get }
}

const changed = (config: Config, changes: Record<string, unknown>): Config => ({ ...config, ...changes }) as Config

t.test('a reload takes over as a whole: routes change, tokens and sessions go on', async (t) => {
  const { gateway, get } = await start(t)
  const { access_token: token, refresh_token: refreshToken } = await gateway.login()
  const [api, open] = gateway.config.routes
  if (api === undefined || open === undefined) throw new Error('two routes')
  t.equal((await get('/public/x')).status, 200)
  await gateway.gateway.reload(changed(gateway.config, { routes: [{ ...api, path: '/v2' }, { ...open, access: 'authenticated' }] }))
  t.equal((await get('/public/x')).status, 401)
  t.equal((await get('/api/x', token)).status, 404)
  t.equal((await get('/v2/x', token)).status, 200)
  const refreshed = await fetch(`${gateway.url}/auth/refresh`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ refresh_token: refreshToken }) })
  t.equal(refreshed.status, 200)
})

t.test('a reload that asks for another claim of a token has it, also of one that was remembered', async (t) => {
  const { gateway, get, upstream } = await start(t)
  const { access_token: token } = await gateway.login()
  const told = async () => {
    t.equal((await get('/api/x', token)).status, 200)
    const { headers } = upstream.seen.at(-1) ?? {}
    return [headers?.['x-client'], typeof headers?.['x-user-id']]
  }
  const [api, open] = gateway.config.routes
  t.strictSame(await told(), [undefined, 'string'])
  await gateway.gateway.reload(changed(gateway.config, { routes: [{ ...api, identity: { headers: { 'X-Client': 'client_id' } } }, open] }))
  t.strictSame(await told(), ['gatewarden', 'undefined'])
  await gateway.gateway.reload(gateway.config)
  t.strictSame(await told(), [undefined, 'string'])
})

t.test('a request under way at a reload is answered, and its connection goes on', async (t) => {
  let release: () => void = () => {}
  const slow = createServer((_request, response) => { release = () => { response.end('done') } })
  await new Promise<void>((resolve) => { slow.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { slow.close(); slow.closeAllConnections() })
  const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: `http://127.0.0.1:${(slow.address() as AddressInfo).port}`, access: 'public' }] })
  const answer = rawRequest(gateway.port, 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await new Promise((resolve) => { slow.once('request', resolve) })
  await gateway.gateway.reload(gateway.config)
  release()
  t.match((await answer).body, /done/)
})

t.test('a session that ends on the new side has ended, whatever side issued it', async (t) => {
  const { gateway, get } = await start(t)
  const token = await gateway.token()
  await gateway.gateway.reload(gateway.config)
  t.equal((await get('/api/x', token)).status, 200)
  await fetch(`${gateway.url}/auth/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  t.equal((await get('/api/x', token)).status, 401)
  await gateway.gateway.reload(gateway.config)
  t.equal((await get('/api/x', token)).status, 401, 'after the next reload too')
})

t.test('what needs a restart is refused by a reload, and all stays as it was', async (t) => {
  const { gateway, get } = await start(t)
  for (const changes of [{ listen: { host: '127.0.0.1', port: 1 } }, { admin: { host: '127.0.0.1', port: 1 } }, { storage: 'sqlite:elsewhere.db' }, { limits: { ...gateway.config.limits, headers: 1 } }]) {
    await t.rejects(gateway.gateway.reload(changed(gateway.config, { routes: [], ...changes })), { message: /needs a restart/ })
  }
  t.equal((await get('/public/x')).status, 200)
})

t.test('draining lets what is under way finish, accepts nothing new, and says so to the probes', async (t) => {
  let release: () => void = () => {}
  const slow = createServer((_request, response) => { release = () => { response.end('done') } })
  await new Promise<void>((resolve) => { slow.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { slow.close(); slow.closeAllConnections() })
  const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: `http://127.0.0.1:${(slow.address() as AddressInfo).port}`, access: 'public' }] })
  const idle = connect(gateway.port, '127.0.0.1')
  const idleClosed = new Promise((resolve) => { idle.resume().once('close', resolve) })
  const answer = rawRequest(gateway.port, 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n', { untilComplete: false })
  await new Promise((resolve) => { slow.once('request', resolve) })
  t.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 200)

  const drained = gateway.gateway.drain()
  await idleClosed
  t.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 503)
  t.equal((await fetch(`${gateway.adminUrl}/livez`)).status, 200)
  const refused = connect(gateway.port, '127.0.0.1')
  await new Promise((resolve) => { refused.once('error', resolve) })
  release()
  const { body, closed } = await answer
  t.match(body, /done/)
  t.ok(closed)
  await drained
})

t.test('draining gives up on what does not finish within its time', async (t) => {
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => { silent.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { silent.close(); silent.closeAllConnections() })
  const gateway = await startTestGateway(t, { timeouts: { drain: '200ms' }, routes: [{ path: '/', upstream: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`, access: 'public' }] })
  const socket = connect(gateway.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await new Promise((resolve) => { silent.once('request', resolve) })
  const started = Date.now()
  const ended = readResponse(socket, { untilComplete: false })
  await gateway.gateway.drain()
  t.ok(Date.now() - started < 1_500)
  t.ok((await ended).closed)
})

t.test('a port in use is one clear sentence, on either port, and nothing stays open', async (t) => {
  const { gateway } = await start(t)
  const { port } = gateway
  const folder = t.testdir()
  for (const key of ['listen', 'admin'] as const) {
    const config = changed(gateway.config, { [key]: { host: '127.0.0.1', port }, storage: `sqlite:${folder}/${key}.db` })
    await t.rejects(startGateway(config, { log: pino({ level: 'silent' }) }), { name: 'StartupFault', message: new RegExp(`^cannot listen on 127\\.0\\.0\\.1:${port}: it is in use`) })
  }
})

t.test('metrics: requests by route and status class, refused ones too, with labels from the configuration alone', async (t) => {
  const { gateway, get } = await start(t)
  const token = await gateway.token()
  await get('/api/x', token)
  await get('/api/y', token)
  await get('/api/x')
  await get('/nowhere/secret-looking-thing')
  await get('/api/x', 'forged.token.here')
  await get('/api%2fsecret-looking-thing')
  await rawRequest(gateway.port, 'TRACE /api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await rawRequest(gateway.port, 'GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
  t.match(metrics, /gatewarden_requests_total\{route="\/api",status="2xx"\} 2/)
  t.match(metrics, /gatewarden_requests_total\{route="\/api",status="4xx"\} 3/)
  t.match(metrics, /gatewarden_requests_total\{route="unmatched",status="4xx"\} 3/)
  t.match(metrics, /gatewarden_request_duration_seconds_count\{route="\/api"\} 5/)
  t.match(metrics, /gatewarden_logins_total\{outcome="accepted"\} 1/)
  t.match(metrics, /gatewarden_token_verifications_total\{result="hit"\} 1/)
  t.notMatch(metrics, /secret-looking-thing/)
})

t.test('health and metrics are not on the public port, nor the public endpoints on the admin port', async (t) => {
  const { gateway, get } = await start(t)
  for (const path of ['/livez', '/readyz', '/metrics']) {
    t.equal((await get(path)).status, 404, path)
    t.equal((await fetch(`${gateway.adminUrl}${path}`)).status, 200, path)
  }
  t.equal((await fetch(`${gateway.adminUrl}/auth/login`, { method: 'POST' })).status, 404)
})

t.test('one line for each refused request, with its id, route, user and reason; none for what passes', async (t) => {
  const { gateway, get } = await start(t)
  const token = await gateway.token()
  const before = gateway.log.length
  await get('/api/x', token)
  t.equal(gateway.log.length, before)
  const refused = await get('/api/x', `${token}x`)
  t.match(gateway.log.at(-1), { level: 'info', msg: 'request refused', route: '/api', status: 401, code: 'GW_TOKEN_INVALID', reason: String, address: '127.0.0.1', request_id: refused.headers.get('x-request-id') })
  t.match(await refused.json(), { request_id: refused.headers.get('x-request-id') })
})

t.test('access lines for all requests where the configuration asks for them', async (t) => {
  const { gateway, get } = await start(t, { log: { access: true } })
  await get('/public/x?token=secret')
  while (gateway.log.at(-1)?.['msg'] !== 'request') await new Promise((resolve) => { setTimeout(resolve, 5) })
  t.match(gateway.log.at(-1), { route: '/public', status: 200, method: 'GET' })
  t.notMatch(JSON.stringify(gateway.log), /secret/)
})

t.test('every refusal has the one shape', async (t) => {
  const { gateway, get } = await start(t)
  const token = await gateway.token()
  for (const [response, error, code] of [
    [await get('/api/x'), 'unauthorized', 'GW_TOKEN_MISSING'],
    [await get('/api/x', 'a.b.c'), 'invalid_token', 'GW_TOKEN_INVALID'],
    [await get('/nowhere', token), 'not_found', 'GW_ROUTE_NOT_FOUND'],
    [await get('/public/%00', token), 'invalid_request', 'GW_PATH_AMBIGUOUS'],
  ] as const) {
    const body = await response.json() as Record<string, unknown>
    t.strictSame(Object.keys(body), ['error', 'error_description', 'code', 'request_id'])
    t.match(body, { error, code, request_id: response.headers.get('x-request-id') })
    t.equal(response.headers.get('cache-control'), 'no-store')
    t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
  }
})
