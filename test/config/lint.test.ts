import t from 'tap'
import { pathText } from '../../src/config/fault.ts'
import { lintConfig } from '../../src/config/lint.ts'
import { createLoader, routes } from './load-text.ts'

const { config } = createLoader(t)
const warnings = (yaml: string) => lintConfig(config(yaml)).map(({ path, message }) => `${pathText(path)}: ${message}`)
const to = (path: string, access: string, rest = '') => `{ path: ${path}, upstream: "http://127.0.0.1:1", access: ${access}${rest} }`

t.test('a plain configuration warns of nothing', async (t) => {
  t.strictSame(warnings(routes), [])
  t.strictSame(warnings(`issuer: https://gate.example\nlisten: { host: 0.0.0.0 }\ntrustedProxies: [10.0.0.0/8, fd00::/16]\nroutes: [${to('/public', 'public')}, ${to('/api', 'authenticated')}]`), [])
})

t.test('each danger has its place, and says what to do', async (t) => {
  const hmac = 'algorithm: HS256, secret: f3a9c1d7e5b2048896a1c3e5f7092b4d6e8f0a1b2c3d4e5f60718293a4b5c6d7'
  const cases: [yaml: string, warning: RegExp][] = [
    [`issuer: http://gate.example\n${routes}`, /^issuer: Passwords and tokens would cross the network in the clear\..*TLS/],
    [`listen: { host: 0.0.0.0 }\nadmin: { host: "::" }\n${routes}`, /^admin\.host: Health and metrics are open/],
    [`trustedProxies: [10.0.0.1, 0.0.0.0/0]\n${routes}`, /^trustedProxies\[1\]: So wide a network/],
    [`trustedProxies: ["::/0"]\n${routes}`, /^trustedProxies\[0\]: So wide a network/],
    [`accessToken: { ${hmac} }\n${routes}`, /^accessToken\.algorithm: Whoever can check such a token can forge one/],
    [`accessToken: { lifetime: 2h }\n${routes}`, /^accessToken\.lifetime: Roles and attributes stay/],
    [`refreshToken: { graceWindow: 2m }\n${routes}`, /^refreshToken\.graceWindow: A stolen refresh token/],
    ['routes: [{ path: /, upstream: ["http://127.0.0.1:1", "http://orders:3000"], access: public }]', /^routes\[0\]\.upstream: Identity headers travel to orders:3000 in the clear/],
    [`routes: [${to('/', 'public', ', forwardAuthorization: true')}]`, /^routes\[0\]\.forwardAuthorization: The upstream gets tokens/],
    [`routes: [${to('/api', 'authenticated')}, ${to('/api/open', 'public')}]`, /^routes\[1\]\.access: \/api\/open is open, though it lies below \/api/],
    [`routes: [${to('/', '{ roles: [admin] }')}, ${to('/x', 'optional')}]`, /^routes\[1\]\.access: \/x is open, though it lies below \//],
    [`identity: { headers: { X-User-Roles: roles } }\n${routes}`, /^identity\.headers: No header says who is calling/],
    [`routes: [${to('/', 'public', ', identity: { headers: { x-user-id: email } }')}]`, /^routes\[0\]\.identity\.headers\.x-user-id: It means sub elsewhere, and email here/],
  ]
  for (const [yaml, warning] of cases) {
    const found = warnings(yaml)
    t.equal(found.length, 1, yaml)
    t.match(found[0], warning)
    t.match(found[0], /\. .+\.$/, 'danger and remedy')
  }
})

t.test('loopback is no danger, in any spelling; what only looks like it is', async (t) => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', 'gate.localhost']) t.strictSame(warnings(`issuer: http://${host}:8080\n${routes}`), [], host)
  for (const host of ['localhost.example', '127.example', '128.0.0.1', 'notlocalhost', '127.0.0.1.example']) t.equal(warnings(`issuer: http://${host}:8080\n${routes}`).length, 1, host)
})
