import t from 'tap'
import type { RouteConfig } from '../../src/config/schema.ts'
import { compileRoutes, type Found } from '../../src/routes/compile.ts'
import { hostName } from '../../src/routes/hosts.ts'

const defaults = { stripPrefix: false, preserveHost: false, forwardAuthorization: false, websocket: true, access: 'public' as const, upstream: 'http://127.0.0.1:1' }

function table (...routes: (Partial<RouteConfig> & { path: string })[]) {
  return compileRoutes({
    routes: routes.map((route) => ({ ...defaults, ...route })),
    timeouts: { connect: 1, upstream: 30_000, idle: 1, clientHeaders: 1, clientBody: 1, clientBodyGrace: 1, keepAlive: 1, drain: 1, tokenGrace: 1 },
    limits: { body: 1_000, bodyRate: 240, headers: 1, connections: 1 },
    identity: { headers: { 'X-User-Id': 'sub' }, reservedPrefixes: [] },
  })
}

function pathFor (routes: ReturnType<typeof table>, path: string, method = 'GET'): string | null {
  return leadOf(routes.find(method, path))
}

function leadOf (found: Found): string | null {
  if (found.kind === 'other methods') return `405 ${found.allow}`
  return found.kind === 'ambiguous' ? 'ambiguous' : found.route?.name ?? null
}

t.test('the longest path wins', async (t) => {
  const routes = table({ path: '/' }, { path: '/api' }, { path: '/api/v2' })
  t.equal(pathFor(routes, '/api/v2/x'), '/api/v2')
  t.equal(pathFor(routes, '/api/v3'), '/api')
  t.equal(pathFor(routes, '/other'), '/')
})

t.test('`/api` matches /api and /api/…, never /apix', async (t) => {
  const routes = table({ path: '/api' })
  t.equal(pathFor(routes, '/api'), '/api')
  t.equal(pathFor(routes, '/api/'), '/api')
  t.equal(pathFor(routes, '/api/x/y'), '/api')
  t.equal(pathFor(routes, '/apix'), null)
  t.equal(pathFor(routes, '/'), null)
})

t.test('a method that a path does not take never falls through to a shorter path', async (t) => {
  const routes = table({ path: '/' }, { path: '/admin', methods: ['GET', 'POST'] })
  t.equal(pathFor(routes, '/admin/x', 'POST'), 'GET,POST /admin')
  t.equal(pathFor(routes, '/admin/x', 'HEAD'), 'GET,POST /admin')
  t.equal(pathFor(routes, '/admin/x', 'DELETE'), '405 GET, POST, HEAD')
})

t.test('TRACE and CONNECT are forwarded by no route that does not name them', async (t) => {
  const routes = table({ path: '/' }, { path: '/debug', methods: ['TRACE'] })
  t.equal(pathFor(routes, '/', 'TRACE'), '405 ')
  t.equal(pathFor(routes, '/', 'CONNECT'), '405 ')
  t.equal(pathFor(routes, '/debug', 'TRACE'), 'TRACE /debug')
})

t.test('a path that a lenient upstream would read as one of another route is ambiguous', async (t) => {
  const routes = table({ path: '/' }, { path: '/admin' }, { path: '/@me' })
  for (const path of ['/ADMIN', '/Admin/x', '/admin;x', '/admin;x/y', '/admin.', '/admin%20/x', '/%40me', '/admin%3B', '/adm%69n']) t.equal(pathFor(routes, path), 'ambiguous', path)
  for (const path of ['/users/AbC', '/x;y=z', '/a%20b', '/admins', '/x/admin', '/x/ADMIN']) t.equal(pathFor(routes, path), '/', path)
  t.equal(pathFor(routes, '/admin/X;y'), '/admin')
})

t.test('a configured path with capitals is as safe', async (t) => {
  const routes = table({ path: '/' }, { path: '/API' })
  t.equal(pathFor(routes, '/api/x'), 'ambiguous')
  t.equal(pathFor(routes, '/API/x'), '/API')
})

t.test('a route says otherwise than the defaults', async (t) => {
  const [plain, special] = table({ path: '/' }, { path: '/x', timeout: 5, limits: { body: 7 }, identity: { headers: { 'X-Me': 'email' } }, stripPrefix: true }).routes
  t.match(plain, { timeout: 30_000, bodyLimit: 1_000, identityHeaders: { 'X-User-Id': 'sub' }, stripLength: 0 })
  t.match(special, { timeout: 5, bodyLimit: 7, identityHeaders: { 'X-Me': 'email' }, stripLength: 2 })
})

t.test('a host comes before a path, and the routes without hosts are what is left', async (t) => {
  const routes = table({ path: '/' }, { path: '/api/v2' }, { path: '/', hosts: ['b.test'] }, { path: '/api', hosts: ['a.test', 'B.test.'] }, { path: '/only', hosts: ['a.test'], methods: ['GET'] })
  const at = (host: string, path: string, method = 'GET') => leadOf(routes.find(method, path, host))
  t.equal(at('a.test', '/api/v2/x'), 'a.test,B.test./api')
  t.equal(at('A.TEST:81', '/api'), 'a.test,B.test./api')
  t.equal(at('a.test', '/x'), '/')
  t.equal(at('b.test.', '/x'), 'b.test/')
  t.equal(at('b.test', '/api/v2'), 'a.test,B.test./api')
  t.equal(at('c.test', '/api/v2'), '/api/v2')
  t.equal(at('', '/api'), '/')
  t.equal(at('a.test', '/only', 'POST'), '405 GET, HEAD')
  t.equal(at('b.test', '/only', 'POST'), 'b.test/')
  t.equal(at('a.test', '/API'), 'ambiguous')
  t.equal(at('c.test', '/API'), '/')
})

t.test('a Host names a host whatever its case, its port, its trailing dot, or the spelling of its address', async (t) => {
  const names: [host: string, name: string][] = [['API.test:1', 'api.test'], ['api.test.', 'api.test'], ['[::1]:80', '[::1]'], ['[0:0::1]', '[::1]'], ['[::FFFF:1.2.3.4]', '[::ffff:102:304]'], ['[junk', ''], ['a..', 'a.'], ['', '']]
  for (const [host, name] of names) t.equal(hostName(host), name, host)
})
