/** Where every host, path and method leads: for a request that is forwarded, and for one that another proxy asks /auth/verify about. */
import t from 'tap'
import { compileRoutes, type Route } from '../../src/routes/compile.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const route = (path: string, rest: Record<string, unknown> = {}) => ({ path, upstream: upstream.url, access: 'public', stripPrefix: true, ...rest })
// The upstream learns which route a request came by from a header that only that route has.
const marked = (routes: readonly Record<string, unknown>[]) => routes.map((one, index) => ({ ...one, identity: { headers: { [`X-Route-${index}`]: 'sub' } }, access: 'authenticated' }))
const many = Array.from({ length: 300 }, (_, number) => route('/many', { hosts: [`h${number}.test`] }))

const gateway = await startTestGateway(t, {
  routes: marked([
    route('/'),
    route('/api', { methods: ['GET'] }),
    route('/api', { methods: ['POST'] }),
    route('/api/v2/deep'),
    route('/', { hosts: ['a.test'], methods: ['GET'] }),
    route('/api/v2', { hosts: ['a.test', 'b.test'] }),
    route('/api', { hosts: ['b.test'], methods: ['POST'] }),
    route('/x', { hosts: ['c.test'] }),
    ...many,
  ]),
  trustedProxies: ['127.0.0.1'],
})
const table = compileRoutes(gateway.config)

t.test('every host, path and method leads to the route of the table, whoever is asked', async (t) => {
  const token = await gateway.token()
  for (const host of ['a.test', 'B.test:1', 'c.test.', 'h299.test', 'none.test']) {
    for (const path of ['/', '/x', '/xy', '/api', '/api/', '/apis', '/api/v2', '/api/v2x', '/api/v2/deep/er', '/api/v3', '/many', '/many/more']) {
      for (const method of ['GET', 'POST', 'HEAD', 'DELETE']) {
        const found = table.find(method, path, host)
        const before = upstream.seen.length
        const { status, header } = await rawRequest(gateway.port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
        const [seen] = upstream.seen.slice(before)
        const marks = Object.keys(seen?.headers ?? {}).filter((name) => name.startsWith('x-route-'))
        const what = `${method} ${host} ${path}`
        const asked = await fetch(`${gateway.url}/auth/verify`, {
          headers: { 'authorization': `Bearer ${token}`, 'x-forwarded-method': method, 'x-forwarded-uri': path, 'x-forwarded-host': host },
        })
        const told = [...asked.headers.keys()].filter((name) => name.startsWith('x-route-'))
        if (found.kind === 'nowhere') {
          t.strictSame([status, asked.status, asked.headers.get('x-user-id')], [404, 200, 'alice'], what)
        } else if (found.kind === 'other methods') {
          t.strictSame([status, header('allow'), asked.status], [405, found.allow, 403], what)
        } else {
          const mark = `x-route-${table.routes.indexOf(found.route as Route)}`
          t.strictSame([marks, told], [[mark], [mark]], what)
        }
      }
    }
  }
})
