/**
 * CVE-2026-33805 (@fastify/http-proxy, CVSS 9.0): a client's `Connection: x-user-id` made the proxy drop the header that the
 * gateway had added a moment before. RFC 9110 §7.6.1 lets a client nominate headers of its own for its own connection; it has
 * no say in what the gateway writes.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: upstream.url, access: 'authenticated' }] })
const token = await gateway.token('root')

t.test('Connection cannot name away what the gateway writes', async (t) => {
  for (const nominated of ['X-User-Id', 'x-user-id, x-user-roles', 'close, X-USER-ID', 'x_user_id', 'X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host', 'Host', 'Content-Length', 'keep-alive, , X-User-Id,']) {
    await rawRequest(gateway.port, `POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nConnection: ${nominated}\r\nContent-Length: 2\r\n\r\nhi`)
    t.match(upstream.seen.at(-1), {
      body: 'hi',
      headers: { 'x-user-id': /./, 'x-user-roles': 'admin', 'x-request-id': /./, 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'a', 'host': /./ },
    }, nominated)
  }
})

t.test('what a client nominates of its own stays behind, from each of several Connection headers', async (t) => {
  await rawRequest(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nConnection: X-One\r\nX-One: 1\r\nx-TWO: 2\r\nX-Three: 3\r\nConnection: keep-alive, x-two\r\n\r\n`)
  const headers = upstream.seen.at(-1)?.headers ?? {}
  t.notOk(headers['x-one'])
  t.notOk(headers['x-two'])
  t.equal(headers['x-three'], '3')
})

t.test('hop-by-hop headers of a client stay behind without being named', async (t) => {
  await rawRequest(gateway.port, `POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n`)
  const headers = upstream.seen.at(-1)?.headers ?? {}
  for (const name of ['keep-alive', 'te', 'trailer', 'upgrade', 'proxy-authorization', 'proxy-connection']) t.notOk(headers[name], name)
})
