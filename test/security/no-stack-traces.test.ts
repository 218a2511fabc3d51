/**
 * Answers that tell too much (CWE-209): a stack, a path of the machine, the name and version of a library, an error of the database,
 * an address behind the gateway. Each of them tells an attacker where to go on. Here everything that can go wrong is made to go wrong,
 * and every answer has the one shape of a refusal, with nothing in it but its own sentences.
 */
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { catalogue } from '../../src/errors.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { startTestGateway, password } from '../helpers/gateway.ts'
import { rawRequest, type RawResponse } from '../helpers/raw-request.ts'
import { startRawUpstream } from '../helpers/upstream.ts'

const broken = await startRawUpstream((socket) => { socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nsecret-of-the-upstream') })
const silent = await startRawUpstream((socket) => { socket.destroy() })
t.teardown(async () => { await Promise.all([broken.close(), silent.close()]) })
const gateway = await startTestGateway(t, {
  throttle: { attempts: 3 },
  routes: [
    { path: '/broken', upstream: broken.url, access: 'public' },
    { path: '/silent', upstream: silent.url, access: 'public' },
    { path: '/closed', upstream: `http://127.0.0.1:${await closedPort()}`, access: 'public' },
    { path: '/unknown', upstream: 'http://no-such-host.invalid:7777', access: 'public' },
    { path: '/small', upstream: broken.url, access: 'public', limits: { body: '1kb' }, methods: ['POST'] },
    { path: '/api', upstream: broken.url, access: { roles: ['admin'] } },
  ],
})
const { port } = gateway

/** What no answer may have: traces, files, modules, engines, addresses behind the gateway, and what an upstream let slip. */
const telling = /\bat [\w.<>[\] ]+ ?\(|node:|node_modules|\/src\/|\/dist\/|\.[cm]?[jt]s\b|fastify|undici|pino|kysely|sqlite|postgres|fast-jwt|llhttp|HPE_|FST_|UND_|ERR_|ECONN|ENOTFOUND|EAI_|no such table|syntax|stack|secret-of-the-upstream|7777|no-such-host|127\.0\.0\.1|TypeError|SyntaxError|undefined|\[object/i
const descriptions = new Set<string>(Object.values(catalogue).map(({ description }) => description))

function assertTellsNothing (t: Test, what: string, { status, headers, body, text }: RawResponse): void {
  t.ok(status >= 400, `${what}: ${status}`)
  t.notMatch(text, telling, what)
  t.notOk(headers.some(([name]) => /^(?:server|x-powered-by|via)$/i.test(name)), `${what}: no name of a server`)
  if (body === '') return
  const refusal = JSON.parse(body) as Record<string, unknown>
  t.strictSame(Object.keys(refusal), ['error', 'error_description', 'code', 'request_id'], what)
  t.ok(descriptions.has(String(refusal['error_description'])), `${what}: a sentence of the catalogue`)
}

const get = (target: string, ...headers: readonly string[]) => [`GET ${target} HTTP/1.1`, 'Host: a', ...headers, '', ''].join('\r\n')
const post = (target: string, body: string, ...headers: readonly string[]) => [`POST ${target} HTTP/1.1`, 'Host: a', `Content-Length: ${Buffer.byteLength(body)}`, ...headers, '', body].join('\r\n')
const json = 'Content-Type: application/json'

const requests: Readonly<Record<string, string>> = {
  'garbage': '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n',
  'a broken request line': 'GET\r\n\r\n',
  'a broken header': 'GET / HTTP/1.1\r\nHost: a\r\nbroken header\r\n\r\n',
  'headers too large': get('/broken', `X-Large: ${'x'.repeat(20_000)}`),
  'no Host': 'GET / HTTP/1.1\r\n\r\n',
  'nothing at this path': get('/nothing/at/node_modules/this.js'),
  'a path with two readings': get('/a/../b'),
  'an escape that cannot be decoded': get('/%ff%'),
  'a method of another time': get('/small').replace('GET', 'PROPFIND'),
  'a body too large': post('/small', 'x'.repeat(2_000)),
  'an upstream with a broken answer': get('/broken'),
  'an upstream that hangs up': get('/silent'),
  'an upstream that is not there': get('/closed'),
  'an upstream without an address': get('/unknown'),
  'no token': get('/api'),
  'no token at all': get('/api', 'Authorization: Bearer a.b.c'),
  'two tokens': get('/api', 'Authorization: Bearer a.b.c', 'Authorization: Bearer d.e.f'),
  'JSON that is none': post('/auth/login', '{"username": oops}', json),
  'JSON of another shape': post('/auth/login', '[{"username":{}}]', json),
  'JSON with a prototype': post('/auth/login', '{"__proto__":{}}', json),
  'a media type that is not taken': post('/auth/login', '<x/>', 'Content-Type: text/xml'),
  'wrong credentials': post('/auth/login', JSON.stringify({ username: 'alice', password: 'x' }), json),
  'a refresh token of nobody': post('/auth/refresh', '{"refresh_token":"x"}', json),
  'a session of nobody': get('/auth/sessions'),
  'a form that is none': post('/oauth/token', '%zz', 'Content-Type: application/x-www-form-urlencoded'),
  'a client of nobody': post('/oauth/introspect', 'token=x', 'Content-Type: application/x-www-form-urlencoded', 'Authorization: Basic !!!'),
  'an upgrade to nothing': get('/nothing', 'Connection: upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x', 'Sec-WebSocket-Version: 13'),
  'an expectation': get('/broken', 'Expect: the-impossible'),
  'a tunnel': 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n'.replace('127.0.0.1', 'localhost'),
}

t.test('whatever a client gets wrong, and whatever an upstream does', async (t) => {
  for (const [what, bytes] of Object.entries(requests)) assertTellsNothing(t, what, await rawRequest(port, bytes, { timeout: 5_000 }))
})

t.test('the admin port is as silent', async (t) => {
  const adminPort = Number(new URL(gateway.adminUrl).port)
  for (const target of ['/', '/metrics/../x', '/nothing', '/%', '/livez/x']) assertTellsNothing(t, target, await rawRequest(adminPort, get(target)))
  assertTellsNothing(t, 'POST', await rawRequest(adminPort, post('/readyz', '{', json)))
})

t.test('a storage that fails under way is 503 or 500, and names neither table nor engine', async (t) => {
  const { refresh_token: refreshToken, access_token: token } = await gateway.login()
  const storage = await openStorage(gateway.config.storage)
  for (const table of ['sessions', 'login_attempts']) await storage.db.schema.dropTable(table).execute()
  for (const [what, bytes] of Object.entries({
    login: post('/auth/login', JSON.stringify({ username: 'alice', password }), json),
    refresh: post('/auth/refresh', JSON.stringify({ refresh_token: refreshToken }), json),
    logout: post('/auth/logout', JSON.stringify({ refresh_token: refreshToken }), json),
    sessions: get('/auth/sessions', `Authorization: Bearer ${token}`),
    grant: post('/oauth/token', new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }).toString(), 'Content-Type: application/x-www-form-urlencoded'),
  })) {
    const answer = await rawRequest(port, bytes, { timeout: 5_000 })
    t.ok(answer.status >= 500, `${what}: ${answer.status}`)
    assertTellsNothing(t, what, answer)
  }
  await storage.close()
  t.match(JSON.stringify(gateway.log), /no such table/, 'the operator reads it')
})

async function closedPort (): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const address = server.address()
  await new Promise<void>((resolve) => { server.close(() => { resolve() }) })
  return typeof address === 'object' && address !== null ? address.port : 0
}
