/**
 * Routes by host are a rule like any other: whoever can make the gateway and an upstream (or the gateway and itself) read another
 * host out of one request reaches a route by another's rule. Fastify's own host constraint compares the header letter for letter,
 * so that `ADMIN.test`, `admin.test:80` and `admin.test.` fall through to the routes without hosts (measured on 5.12.8). Here they
 * are one host, a Host that could be read in two ways is refused before any rule, and what no route names is not found.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstreams = { api: await startUpstream(), admin: await startUpstream(), rest: await startUpstream() }
t.teardown(async () => { await Promise.all(Object.values(upstreams).map((upstream) => upstream.close())) })

const gateway = await startTestGateway(t, {
  routes: [
    { path: '/', hosts: ['api.test', 'www.api.test'], upstream: upstreams.api.url, access: 'public' },
    { path: '/', hosts: ['admin.test', '[::1]'], upstream: upstreams.admin.url, access: { roles: ['admin'] } },
    { path: '/health', hosts: ['admin.test'], upstream: upstreams.admin.url, access: 'public', methods: ['GET'] },
    { path: '/shared', upstream: upstreams.rest.url, access: 'authenticated' },
    { path: '/shared/open', upstream: upstreams.rest.url, access: 'public' },
  ],
})

async function send (host: string, path = '/', method = 'GET', more = '') {
  const before = Object.values(upstreams).map(({ seen }) => seen.length)
  const { status } = await rawRequest(gateway.port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`)
  const reached = Object.entries(upstreams).filter(([, { seen }], index) => seen.length !== before[index]).map(([name]) => name)
  return `${status} ${reached.join('+')}`.trim()
}

t.test('a host is one host in every spelling', async (t) => {
  for (const host of ['api.test', 'API.test', 'Api.Test:80', 'api.test:8443', 'api.test.', 'API.TEST.:80', 'www.api.test']) t.equal(await send(host), '200 api', host)
  for (const host of ['admin.test', 'ADMIN.test', 'admin.test:80', 'admin.test.', 'Admin.Test.:443', '[::1]', '[::1]:80', '[0:0:0:0:0:0:0:1]', '[0000::0001]']) {
    t.equal(await send(host), '401', host)
    t.equal(await send(host, '/shared/open'), '401', `${host}: its own routes come before those of every host`)
  }
})

t.test('a Host that has two readings is refused before any rule', async (t) => {
  for (const host of ['api.test, admin.test', 'api.test admin.test', 'user@api.test', 'api.test/admin', 'api.test:', 'api.test:80:80', 'api.test:x', 'api.test\\admin', '', ' ', 'api.test#', 'api.test?', '[::1', '::1', 'api%2etest', 'api.test:999999', '\xefapi.test', '.api.test', '-api.test']) {
    t.equal(await send(host), '400', host)
  }
  t.equal(await send('api.test', '/', 'GET', 'Host: admin.test\r\n'), '400')
  t.equal(await send('admin.test', '/', 'GET', 'host: api.test\r\n'), '400')
  t.equal(await send('api.test', '/', 'GET', 'Host: api.test\r\n'), '400')
  t.equal(await send('admin.test', 'http://api.test/'), '400', 'a target that disagrees with it')
  t.equal(await send('api.test', 'http://admin.test/'), '400')
  t.equal(await send('api.test', 'http://API.test/'), '200 api')
})

t.test('only the Host itself decides, no header that speaks of one', async (t) => {
  for (const name of ['X-Forwarded-Host', 'X-Host', 'Forwarded', 'X-Original-Host', 'X-HTTP-Host-Override']) {
    t.equal(await send('admin.test', '/', 'GET', `${name}: ${name === 'Forwarded' ? 'host=' : ''}api.test\r\n`), '401', name)
  }
})

t.test('a host that no route names has the routes without hosts, and nothing else', async (t) => {
  for (const host of ['other.test', 'xapi.test', 'api.testx', 'test', 'api.test.evil.test', 'x.api.test', '127.0.0.1', '[::2]', 'api_test']) {
    t.equal(await send(host), '404', host)
    t.equal(await send(host, '/shared/open'), '200 rest', host)
    t.equal(await send(host, '/shared/x'), '401', host)
    t.equal(await send(host, '/health'), '404', host)
  }
  t.equal((await rawRequest(gateway.port, 'GET /shared/open HTTP/1.0\r\n\r\n')).status, 200, 'HTTP/1.0 has none')
  t.equal((await rawRequest(gateway.port, 'GET / HTTP/1.0\r\n\r\n')).status, 404)
})

t.test('within a host the longest path wins, and a method that it does not take falls through to nothing', async (t) => {
  t.equal(await send('admin.test', '/health'), '200 admin')
  t.equal(await send('admin.test', '/health/x'), '200 admin')
  t.equal(await send('admin.test', '/healthy'), '401')
  t.equal(await send('admin.test', '/health', 'DELETE'), '405')
  t.equal(await send('api.test', '/health', 'DELETE'), '200 api')
  t.equal(await send('admin.test', '/HEALTH'), '400', 'nor does another reading of the path')
  t.equal(await send('api.test', '/SHARED/x'), '200 api', 'what another host has there is no matter here')
})

t.test('the endpoints of the gateway itself are there at every host', async (t) => {
  for (const host of ['api.test', 'admin.test', 'other.test']) t.equal(await send(host, '/.well-known/jwks.json'), '200', host)
})
