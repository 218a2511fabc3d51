import t from 'tap'
import { createLoader, routes } from './load-text.ts'

const { faults } = createLoader(t)
const to = (path: string, rest = '') => `{ path: ${path}, upstream: "http://127.0.0.1:1", access: public${rest} }`

t.test('each rule between keys has its fault, at its place', async (t) => {
  const cases: [yaml: string, fault: RegExp][] = [
    [`accessToken: { lifetime: 500ms }\n${routes}`, /^c:1:26 accessToken\.lifetime: must be at least 1s/],
    [`accessToken: { lifetime: 30d }\n${routes}`, /^c:1:26 accessToken\.lifetime: must be shorter than refreshToken\.lifetime/],
    [`refreshToken: { lifetime: 1h, graceWindow: 1h }\n${routes}`, /^c:1:44 refreshToken\.graceWindow: must be shorter/],
    [`keys: { rotateEvery: 1h, publishAhead: 1h }\n${routes}`, /^c:1:40 keys\.publishAhead: must be shorter than keys\.rotateEvery/],
    [`listen: { port: 80 }\nadmin: { port: 80 }\n${routes}`, /^c:2:16 admin\.port: is the public port too/],
    [`clients: [{ id: a }, { id: b }, { id: a }]\n${routes}`, /^c:1:39 clients\[2\]\.id: stands twice; clients\[0\] has it already/],
    [`clients: [{ id: gatewarden }]\n${routes}`, /^c:1:17 clients\[0\]\.id: is what tokens say/],
    [`keys: { directory: k }\naccessToken: { algorithm: HS256, secret: f3a9c1d7e5b2048896a1c3e5f7092b4d6e8f0a1b2c3d4e5f60718293a4b5c6d7 }\n${routes}`, /^c:1:20 keys\.directory: is for keys of key pairs/],
    [`accessToken: { algorithm: HS512, secret: f3a9c1d7e5b2048896a1c3e5f7092b4d6e8f0a1b2c3d4e5f60718293a4b5c6d7 }\n${routes}`, /^c:1:42 accessToken\.secret: is too weak: .*at least 64 random bytes/],
    [`routes: [${to('/auth/login')}]`, /^c:1:18 routes\[0\]\.path: \/auth\/login is served by the gateway itself/],
    [`routes: [${to('/AUTH/sessions/x')}]`, /^c:1:18 routes\[0\]\.path: \/auth\/sessions is served by the gateway itself/],
    [`routes: [${to('/api')}, ${to('/api')}]`, /routes\[1\]\.path: routes\[0\] has this path already, with all or some of its methods/],
    [`routes: [${to('/api', ', methods: [GET, POST]')}, ${to('/api', ', methods: [POST]')}]`, /routes\[1\]\.path: routes\[0\] has this path already, with POST/],
    [`routes: [${to('/api')}, ${to('/API')}]`, /routes\[1\]\.path: differs from routes\[0\] in case alone/],
    [`routes: [${to('/api')}, ${to('/api..')}]`, /routes\[1\]\.path: differs from routes\[0\] in case alone, or in dots/],
    [`routes: [${to('/api', ', methods: [GET]')}, ${to('/api', ', methods: [HEAD]')}]`, /routes\[1\]\.path: routes\[0\] has this path already, with HEAD/],
    [`routes: [${to('/api', ', hosts: [a.test, b.test]')}, ${to('/api', ', hosts: [B.test.]')}]`, /routes\[1\]\.path: routes\[0\] has this path already/],
    [`routes: [${to('/api', ', hosts: [b.test]')}, ${to('/API', ', hosts: [a.test, b.test]')}]`, /routes\[1\]\.path: differs from routes\[0\] in case alone/],
    [`identity: { headers: { X-User-Id: sub, x-user-id: roles } }\n${routes}`, /^c:1:51 identity\.headers\.x-user-id: is the same header as X-User-Id/],
  ]
  for (const [yaml, fault] of cases) t.match(faults(yaml), [fault], yaml)
})

t.test('one path with different methods is no fault, and port 0 may stand twice', async (t) => {
  t.strictSame(faults(`listen: { port: 0 }\nadmin: { port: 0 }\nroutes: [${to('/api', ', methods: [GET]')}, ${to('/api', ', methods: [POST]')}]`), [])
})

t.test('one path at different hosts is no fault', async (t) => {
  t.strictSame(faults(`routes: [${to('/api')}, ${to('/api', ', hosts: [a.test]')}, ${to('/API', ', hosts: [b.test, "[::1]", 127.0.0.1]')}]`), [])
  t.strictSame(faults(`routes: [${Array.from({ length: 300 }, (_, number) => to('/', `, hosts: [h${number}.test]`)).join(', ')}, ${to('/')}]`), [])
})

t.test('no identity in a header that means something else on the way', async (t) => {
  for (const name of ['Host', 'content-length', 'Transfer-Encoding', 'Connection', 'Authorization', 'Cookie', 'X-Forwarded-For', 'X-Request-Id', 'Forwarded', 'Proxy', 'TE', 'Upgrade', 'Sec-WebSocket-Key', 'Accept']) {
    t.match(faults(`identity: { headers: { ${name}: sub } }\n${routes}`), [/cannot carry identity/], name)
    t.match(faults(`routes: [${to('/', `, identity: { headers: { ${name}: sub } }`)}]`), [/^c:1:\d+ routes\[0\]\.identity\.headers\..*cannot carry identity/], name)
  }
})
