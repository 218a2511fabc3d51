/** What an attack expects of a Host, and where it aims, beside what the route table makes of it. */
import t from 'tap'
import { aimedHost, routesAt, sharedHost, unnamedHost } from '../../src/attack/routes-of-host.ts'
import { compileRoutes } from '../../src/routes/compile.ts'
import { createLoader } from '../config/load-text.ts'

const { config } = createLoader(t)
const loaded = config(`routes:
${[
  '/', '/api, methods: [GET]', '/api, methods: [POST]', '/api/v2/deep', '/, hosts: [a.test], methods: [GET]', '/api/v2, hosts: [A.test, b.test]',
  "/api, hosts: [b.test, '[::1]'], methods: [POST]", '/x, hosts: [c.test]',
].map((route) => `  - { path: ${route}, upstream: 'http://127.0.0.1:9', access: public }`).join('\n')}`)
const table = compileRoutes(loaded)
const aimed = loaded.routes.map((route) => ({ config: route, host: aimedHost(route, loaded.routes, 'a.test:8443') }))
const methods = ['GET', 'POST', 'DELETE']

t.test('of every host and path it expects the routes that the table finds', (t) => {
  for (const host of ['a.test', 'A.TEST.:1', 'b.test', 'C.test', '[0:0::1]:80', 'none.test', '']) {
    for (const path of ['/', '/x', '/xy', '/api', '/api/', '/apis', '/api/v2', '/api/v2x', '/api/v2/deep/er', '/api/v3']) {
      const found = methods.map((method) => table.find(method, path, host))
      const expected = routesAt(aimed, host, path)
      const served = methods.map((method) => expected.findIndex(({ config: { methods: taken } }) => taken === undefined || taken.includes(method)))
      t.strictSame(found.map((one) => one.kind === 'route' ? table.routes.indexOf(one.route) : -1), served.map((place) => aimed.findIndex((one) => one === expected[place])), `${host} ${path}`)
      t.equal(expected.length === 0, found.every(({ kind }) => kind === 'nowhere'), `${host} ${path}`)
    }
  }
  t.end()
})

t.test('it aims at each route where the table finds it', (t) => {
  for (const [index, { config: { path, methods: [method = 'GET'] = [] }, host }] of aimed.entries()) {
    t.match(table.find(method, path === '/' ? '/attack-probe' : `${path}/attack-probe`, host), { kind: 'route', route: { name: table.routes[index]?.name } })
  }
  t.strictSame(aimed.map(({ host }) => host), [unnamedHost, unnamedHost, unnamedHost, unnamedHost, 'a.test', 'A.test', 'b.test', 'c.test'])
  const usual = loaded.routes.slice(3).map((route) => aimedHost(route, loaded.routes.slice(3), 'C.test:8443'))
  t.equal(usual[0], 'C.test:8443', 'where the routes of that host leave its path to it')
  t.end()
})

t.test('by way of another route it aims where both are', (t) => {
  const at = (host: string, hosts?: string[]) => ({ config: { path: '/', ...hosts === undefined ? {} : { hosts } }, host })
  t.equal(sharedHost(at('usual'), at('usual')), 'usual')
  t.equal(sharedHost(at(unnamedHost), at('usual')), unnamedHost)
  t.equal(sharedHost(at('usual'), at(unnamedHost)), unnamedHost)
  t.equal(sharedHost(at('usual'), at('a.test', ['a.test'])), 'a.test')
  t.equal(sharedHost(at('a.test', ['a.test']), at('usual')), 'a.test')
  t.equal(sharedHost(at('a.test', ['a.test', 'B.test']), at('b.test', ['b.test', 'c.test'])), 'B.test')
  t.equal(sharedHost(at('a.test', ['a.test']), at('b.test', ['b.test'])), undefined)
  t.end()
})
