/** The router and the route table are two: here both are asked about every host, path and method, and have to agree. */
import t from 'tap'
import { compileRoutes } from '../../src/routes/compile.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const route = (path: string, rest: Record<string, unknown> = {}) => ({ path, upstream: upstream.url, access: 'public', stripPrefix: true, ...rest })
// The upstream learns which route a request came by from a header that only that route has.
const marked = (routes: readonly Record<string, unknown>[]) => routes.map((one, index) => ({ ...one, identity: { headers: { [`X-Route-${index}`]: 'sub' } }, access: 'authenticated' }))
const thirty = Array.from({ length: 26 }, (_, number) => route('/many', { hosts: [`h${number}.test`] }))

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
    ...thirty,
  ]),
})
const table = compileRoutes(gateway.config)

t.test('every host, path and method leads to one route, whoever is asked', async (t) => {
  const token = await gateway.token()
  for (const host of ['a.test', 'B.test:1', 'c.test.', 'h7.test', 'none.test']) {
    for (const path of ['/', '/x', '/xy', '/api', '/api/', '/apis', '/api/v2', '/api/v2x', '/api/v2/deep/er', '/api/v3', '/many', '/many/more']) {
      for (const method of ['GET', 'POST', 'HEAD', 'DELETE']) {
        const found = table.match(method, path, host)
        const before = upstream.seen.length
        const { status, header } = await rawRequest(gateway.port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
        const [seen] = upstream.seen.slice(before)
        const marks = Object.keys(seen?.headers ?? {}).filter((name) => name.startsWith('x-route-'))
        const what = `${method} ${host} ${path}`
        if (found === null) t.equal(status, 404, what)
        else if ('allow' in found) t.strictSame([status, header('allow')], [405, found.allow], what)
        else t.strictSame(marks, [`x-route-${table.routes.indexOf(found.route)}`], what)
      }
    }
  }
})
