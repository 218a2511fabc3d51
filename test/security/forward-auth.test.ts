/**
 * Forward-auth: another proxy is in the request's way, and the gateway is only asked. What gets lost between the two is the attack:
 * a header that the client sent for the gateway's answer to fill in (Caddy, GHSA-7r4p-vjf4-gxv4: where the answer named nobody, the
 * client's own stayed; GHSA-f59h-q822-g45g: so did `X_User_Id`), a client's word about the method, the path or the host that is asked for, a path that one of them reads
 * otherwise. Run with the very configuration of examples/forward-auth, by a real nginx.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { startTestGateway } from '../helpers/gateway.ts'
import { isInstalled, startNginxWith } from '../helpers/other-servers.ts'
import { rawRequest } from '../helpers/raw-request.ts'

const example = resolve(import.meta.dirname, '../../examples/forward-auth')

/** What the API saw last: it is asked by whoever is let through. */
const seen: { url: string, headers: IncomingHttpHeaders }[] = []
const api = createServer(({ url = '', headers }, response) => {
  seen.push({ url, headers })
  response.end('reached')
}).listen(0, '127.0.0.1')
await once(api, 'listening')
t.teardown(() => { api.close(); api.closeAllConnections() })

if (isInstalled('nginx')) {
  const { routes, trustedProxies } = parse(readFileSync(join(example, 'config.yaml'), 'utf8')) as { routes: Record<string, unknown>[], trustedProxies: string[] }
  const gateway = await startTestGateway(t, {
    trustedProxies,
    routes: [
      ...routes,
      { path: '/maybe', upstream: 'http://127.0.0.1:9', access: 'optional' },
      // One path, two hosts, two rules.
      { path: '/shared', hosts: ['open.example'], upstream: 'http://127.0.0.1:9', access: 'public' },
      { path: '/shared', hosts: ['closed.example'], upstream: 'http://127.0.0.1:9', access: { roles: ['admin'] } },
    ],
  })
  const folder = join(dirname(gateway.configFile), 'nginx')
  cpSync(example, folder, { recursive: true })
  const file = join(folder, 'nginx.conf')
  const { port, close } = await startNginxWith(folder, (free) => {
    const text = readFileSync(join(example, 'nginx.conf'), 'utf8')
      .replaceAll('127.0.0.1:8000', `127.0.0.1:${free}`).replaceAll('127.0.0.1:8080', `127.0.0.1:${gateway.port}`)
      .replaceAll('127.0.0.1:3000', `127.0.0.1:${(api.address() as AddressInfo).port}`).replaceAll('/tmp/gatewarden-', `${folder}/`)
    writeFileSync(file, text)
  })
  t.teardown(() => close())

  /** Status of the answer, and what the API saw of it; null where it saw nothing. */
  async function ask (target: string, { headers = [], method = 'GET', host = 'shop.example' }: { headers?: readonly string[], method?: string, host?: string } = {}) {
    const before = seen.length
    const head = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...headers]
    const { status } = await rawRequest(port, `${head.join('\r\n')}\r\n\r\n`)
    return { status, seen: seen.length > before ? seen.at(-1) ?? null : null }
  }
  const bearer = async (name?: string) => `Authorization: Bearer ${await gateway.token(name)}`
  const userId = /^[0-9a-f-]{36}$/

  t.test('as the example says: 401, 200 with who is calling, 403, and what is public', async (t) => {
    t.match(await ask('/api/orders'), { status: 401, seen: null })
    const through = await ask('/api/orders?a=%zz', { headers: [await bearer()] })
    t.match(through, { status: 200, seen: { url: '/api/orders?a=%zz', headers: { 'x-user-id': userId } } })
    t.equal(through.seen?.headers['authorization'], undefined)
    t.match(await ask('/admin/report', { headers: [await bearer()] }), { status: 403, seen: null })
    t.match(await ask('/admin/report', { headers: [await bearer('root')] }), { status: 200, seen: { headers: { 'x-user-id': userId, 'x-user-roles': 'admin' } } })
    t.match(await ask('/public/hello'), { status: 200, seen: { url: '/public/hello' } })
    const login = await fetch(`http://127.0.0.1:${port}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'alice', password: 'wrong' }) })
    t.equal(login.status, 401)
  })

  t.test('who is named by the client alone is nobody, whoever the answer names, or does not', async (t) => {
    const spoofed = ['X-User-Id: mallory', 'X-User-Roles: admin', 'x-user-id: mallory', 'X_User_Id: mallory', 'X-User_Roles: admin']
    for (const [target, headers] of [['/public/x', []], ['/maybe', []], ['/maybe', [await bearer()]], ['/api/x', [await bearer()]]] as const) {
      const { status, seen: request } = await ask(target, { headers: [...spoofed, ...headers] })
      t.equal(status, 200, target)
      t.notMatch(JSON.stringify(request), /mallory/, target)
      t.equal(request?.headers['x-user-roles'], undefined, target)
    }
    t.match(await ask('/maybe', { headers: ['Authorization: Bearer bad'] }), { status: 401, seen: null })
  })

  t.test('asked by a proxy that strips nothing, the gateway refuses what its answer would not replace', async (t) => {
    const verify = async (target: string, ...headers: string[]) => {
      const head = ['GET /auth/verify HTTP/1.1', 'Host: shop.example', 'Connection: close', 'X-Forwarded-Method: GET', `X-Forwarded-Uri: ${target}`, ...headers]
      return (await rawRequest(gateway.port, `${head.join('\r\n')}\r\n\r\n`)).status
    }
    for (const name of ['X-User-Id', 'x-user-id', 'X_User_Id', 'X-User-Roles', 'X.User.Id', 'X-User-Anything', 'HTTP_X_USER_ID', 'X-Gatewarden-Session']) {
      t.equal(await verify('/public/x', `${name}: mallory`), 403, `${name} where nobody is named`)
      t.equal(await verify('/maybe', `${name}: mallory`), 403, `${name} where nobody has to be named`)
    }
    const token = await bearer()
    t.equal(await verify('/api/x', token, 'X-User-Id: mallory', 'x-USER-id: mallory'), 200, 'the answer replaces these')
    t.equal(await verify('/api/x', token, 'X_User_Id: mallory'), 403)
    t.equal(await verify('/api/x', token, 'X-User-Roles: admin'), 403, 'alice has no role, and the answer no such header')
    t.equal(await verify('/api/x', await bearer('root'), 'X-User-Roles: none'), 200)
    t.equal(await verify('/public/x', 'X-Users: 1', 'X-Request-Id: a', 'Forwarded: for=a'), 200)
  })

  t.test("a client's word about what is asked for is not passed on", async (t) => {
    for (const lie of [
      ['X-Forwarded-Uri: /public/x'], ['X-Forwarded-Method: OPTIONS', 'X-Forwarded-Uri: /public/x'], ['X-Original-URL: /public/x'], ['X-Rewrite-URL: /public/x'],
      ['X-Forwarded-Host: open.example'], ['X_Forwarded_Uri: /public/x'], ['X-HTTP-Method-Override: OPTIONS'],
    ]) t.match(await ask('/api/x', { headers: lie }), { status: 401, seen: null }, lie.join())
  })

  t.test("the rules are those of the request's own host", async (t) => {
    t.match(await ask('/shared/x', { host: 'open.example' }), { status: 200 })
    t.match(await ask('/shared/x', { host: 'closed.example' }), { status: 401, seen: null })
    t.match(await ask('/shared/x', { host: 'closed.example', headers: ['X-Forwarded-Host: open.example'] }), { status: 401, seen: null })
    t.match(await ask('/shared/x', { host: 'closed.example', headers: ['X-Forwarded-Host: open.example', await bearer()] }), { status: 403, seen: null })
    t.match(await ask('http://open.example/shared/x', { host: 'closed.example' }), { seen: null })
    t.match(await ask('/shared/x', { host: 'CLOSED.example.:80' }), { status: 401, seen: null })
  })

  t.test('a path that one of them could read otherwise reaches nothing that is protected', async (t) => {
    for (const target of [
      '/public/../admin/report', '/public/%2e%2e/admin/report', '/public/..%2fadmin/report', '/public%2f..%2fadmin/report', '//admin/report', '/admin//report',
      '/./admin/report', '/%61dmin/report', '/admin%2freport', '/admin;a=b/report', '/public/..;/admin/report', '/admin/report%00', '/public/%252e%252e/admin/report',
    ]) {
      const { status, seen: request } = await ask(target)
      t.ok(status >= 400, `${target}: ${status}`)
      t.equal(request, null, target)
    }
  })
} else {
  t.comment('NOT RUN: nginx is not installed (Debian: nginx-light), so forward-auth was not tried with it')
  t.pass('NOT RUN against forward-auth: nginx is not installed')
}
