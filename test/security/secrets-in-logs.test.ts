/**
 * A log is read by more people than a database. Tokens reach it by the URL (`?access_token=`), by headers printed with an error,
 * by a library's message that quotes what it could not parse (hono's JwtTokenInvalid), or by a user who types the password into
 * the field of the name. Here everything that can be refused is refused with secrets in every place, at debug level with access
 * lines on; then the whole log, the answers and the metrics are searched.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream((request, response) => {
  if (request.url?.startsWith('/api/broken') === true) response.socket?.destroy()
  else response.end('fine')
})
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  log: { access: true },
  clients: [{ id: 'orders-api', secret: 'the-secret-of-the-orders-client' }],
  routes: [
    { path: '/api', upstream: upstream.url, access: 'authenticated' },
    { path: '/dead', upstream: 'http://127.0.0.1:1', access: 'public' },
    { path: '/admin', upstream: upstream.url, access: { roles: ['admin'] } },
  ],
})

t.test('no line of the log, no refusal and no metric tells a secret', async (t) => {
  const { access_token: token, refresh_token: refreshToken } = await gateway.login()
  const forged = `${token.slice(0, -4)}AAAA`
  const typed = 'a-password-typed-into-the-wrong-field'
  const wrong = 'a-password-that-is-not-right'
  const masterKey = readFileSync(join(dirname(gateway.configFile), 'data', 'master.key'), 'utf8').trim()
  const secrets = [token, refreshToken, forged, typed, wrong, masterKey, 'the-secret-of-the-orders-client', 'correct horse battery staple', token.split('.')[2] ?? token]
  for (const secret of secrets) gateway.secrets.add(secret)

  const answers: string[] = []
  const send = async (bytes: string) => { answers.push((await rawRequest(gateway.port, bytes, { timeout: 500 })).text) }
  const post = async (path: string, type: string, body: string, headers = '') => {
    await send(`POST ${path} HTTP/1.1\r\nHost: a\r\n${headers}Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  }
  for (const secret of [token, forged, refreshToken, wrong]) {
    await send(`GET /api/x?access_token=${secret} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await send(`GET /nowhere/${secret} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await send(`GET /api/%zz${secret} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await send(`GET /dead/${secret}?t=${secret} HTTP/1.1\r\nHost: a\r\nCookie: s=${secret}\r\n\r\n`)
    await send(`GET /admin/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${secret}\r\n\r\n`)
    await send(`GET /api/broken HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${secret}\r\n\r\n`)
    await send(`GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${secret}\r\nAuthorization: Basic ${secret}\r\n\r\n`)
    await send(`GET /api/x HTTP/1.1\r\nHost: ${secret}@a\r\n\r\n`)
    await send(`${secret} / HTTP/1.1\r\nHost: a\r\n\r\n`)
    await send(`GET / HTTP/1.1\r\nHost: a\r\n${secret}\r\n\r\n`)
    await post('/auth/login', 'application/json', JSON.stringify({ username: secret, password: wrong }))
    await post('/auth/login', 'application/json', `{"username":"alice","password":"${secret}`)
    await post('/auth/login', `application/${secret}`, secret)
    await post('/auth/refresh', 'application/json', JSON.stringify({ refresh_token: secret.replace('gwr_', 'gwr_A') }))
    await post('/auth/logout', 'application/json', JSON.stringify({ refresh_token: [secret] }))
    await post('/oauth/token', 'application/x-www-form-urlencoded', `grant_type=password&username=${secret}&password=${secret}`)
    await post('/oauth/token', 'application/x-www-form-urlencoded', `grant_type=${secret}`)
    await post('/oauth/introspect', 'application/x-www-form-urlencoded', `token=${secret}&client_id=orders-api&client_secret=${wrong}`)
    await post('/oauth/introspect', 'application/x-www-form-urlencoded', `token=${secret}`, `Authorization: Basic ${Buffer.from(`orders-api:${secret}`).toString('base64')}\r\n`)
    await post('/oauth/revoke', 'application/x-www-form-urlencoded', `token=${secret}x`)
  }
  await post('/auth/login', 'application/json', JSON.stringify({ username: typed, password: 'x' }))
  await post('/auth/login', 'application/json', JSON.stringify({ username: 'alice', password: wrong }))
  await gateway.users.disable('alice')
  await send(`GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`)

  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
  const texts = { log: JSON.stringify(gateway.log), answers: answers.join('\n'), metrics }
  t.ok(gateway.log.length > 60, `${gateway.log.length} lines were written`)
  for (const [where, text] of Object.entries(texts)) {
    for (const secret of secrets) t.notOk(text.includes(secret), `${where}: ${secret.slice(0, 8)}…`)
  }
  t.notMatch(texts.log, /PRIVATE KEY|\$argon2/)
})
