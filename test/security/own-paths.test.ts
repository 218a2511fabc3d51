/**
 * A route `/` takes every path and method that is not the gateway's own. If an own endpoint were there for the methods it serves
 * alone, any other one would fall through to that route: `GET /auth/login` or `REPORT /oauth/token` would carry what a client means
 * for the gateway (a password, a refresh token, a Basic secret) to an upstream, and an upstream could answer in its place. Here an own
 * path is the gateway's own whatever the method, however its bytes are encoded, and at each host.
 */
import { METHODS } from 'node:http'
import t from 'tap'
import { ownPaths } from '../../src/config/cross-checks.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const open = { upstream: upstream.url, access: 'public', allowPath: ['needless-encoding'] }
const gateway = await startTestGateway(t, {
  issuer: 'http://gateway.test/tenant',
  routes: [{ path: '/', ...open }, { path: '/auth', ...open }, { path: '/', hosts: ['a.test'], ...open }],
})

const served: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(ownPaths.map((path) => [path, path.startsWith('/.well-known/') || ['/auth/sessions', '/auth/verify'].includes(path) ? ['GET', 'HEAD', 'OPTIONS'] : ['POST', 'OPTIONS']])),
  '/auth/sessions/x': ['DELETE', 'OPTIONS'],
  '/.well-known/oauth-authorization-server/tenant': ['GET', 'HEAD', 'OPTIONS'],
}
// A tunnel is asked of no path.
const methods = METHODS.filter((method) => method !== 'CONNECT')

async function send (method: string, target: string, host = 'gateway.test') {
  const { status, header } = await rawRequest(gateway.port, `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`, { untilComplete: false })
  return { status, allow: header('allow') }
}

t.test('a method that an own endpoint does not serve is 405 there', async (t) => {
  for (const [path, allowed] of Object.entries(served)) {
    for (const method of methods) {
      const { status, allow } = await send(method, path)
      if (allowed.includes(method)) t.notOk([0, 404, 405].includes(status), `${method} ${path}: ${status}`)
      else t.strictSame({ status, allow }, { status: 405, allow: allowed.join(', ') }, `${method} ${path}`)
    }
  }
  t.strictSame(upstream.seen, [])
})

t.test('no form of an own path is a route\'s: at a host with routes, with a query, in absolute-form, or with letters encoded as the route allows', async (t) => {
  for (const [path, allowed] of Object.entries(served)) {
    const needless = path.replace(/\w$/, encoded)
    for (const method of ['GET', 'POST', 'PUT', 'REPORT'].filter((one) => !allowed.includes(one))) {
      t.equal((await send(method, path, 'a.test')).status, 405, `${method} ${path} at a.test`)
      t.equal((await send(method, `${path}?a=b`)).status, 405, `${method} ${path}?a=b`)
      t.equal((await send(method, `http://gateway.test${path}`)).status, 405, `${method} http://gateway.test${path}`)
      t.equal((await send(method, needless)).status, 400, `${method} ${needless}`)
    }
  }
  t.strictSame(upstream.seen, [])
  t.equal((await send('REPORT', '/auth/%78')).status, 200, 'what the routes allow elsewhere')
})

t.test('a 405 is logged and counted as the endpoint\'s', async (t) => {
  await send('REPORT', '/auth/login')
  t.match(gateway.log.at(-1), { route: '/auth/login', method: 'REPORT', status: 405, code: 'GW_METHOD_NOT_ALLOWED' })
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
  t.match(metrics, /^gatewarden_requests_total\{route="\/auth\/login",status="4xx"\} [1-9]/m)
  t.notMatch(metrics, /^gatewarden_requests_total\{route="(?:unmatched|\/|\/auth|a\.test\/)",status="4xx"\} [1-9]/m)
})

function encoded (letter: string): string {
  return `%${letter.charCodeAt(0).toString(16)}`
}
