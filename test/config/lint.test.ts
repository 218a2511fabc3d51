/** Each finding by a configuration that has it, and by its nearest neighbour that has it not. */
import t from 'tap'
import { faultText, pathText } from '../../src/config/fault.ts'
import { lintConfig } from '../../src/config/lint.ts'
import { createLoader, routes } from './load-text.ts'

const { config, load } = createLoader(t)
const warnings = (yaml: string) => lintConfig(config(yaml)).map(({ path, message }) => `${pathText(path)}: ${message}`)
const to = (path: string, access: string, rest = '', upstream = 'http://127.0.0.1:1') => `{ path: ${path}, upstream: "${upstream}", access: ${access}${rest} }`
const two = (one: string, other: string) => `routes: [${one}, ${other}]`
const htpasswd = (roles = '') => `credentials: [{ type: htpasswd, file: ./users${roles} }]`
const https = 'issuer: https://gate.example\naudience: orders'
const random = 'f3a9c1d7e5b2048896a1c3e5f7092b4d6e8f0a1b2c3d4e5f60718293a4b5c6d7'
const corp = (rest = '') => `trustedIssuers: [{ name: corp, issuer: https://login.example, audience: orders, roles: [staff], scopes: [read]${rest} }]`

t.test('a plain configuration warns of nothing', async (t) => {
  t.strictSame(warnings(routes), [])
  t.strictSame(warnings(`${https}\nlisten: { host: 0.0.0.0 }\ntrustedProxies: [10.0.0.0/8, fd00::/16]\nroutes: [${to('/public', 'public')}, ${to('/api', 'authenticated')}, ${to('/admin', '{ roles: [admin], scopes: [all], claims: { tenant: acme } }')}]`), [])
})

/** What is found, in a configuration, and what it is not found in. */
type Case = readonly [finding: RegExp, has: string, hasNot: string]

const cases: Readonly<Record<string, readonly Case[]>> = {
  'the network': [
    [/^issuer: Passwords and tokens would cross the network in the clear\..*TLS/, `issuer: http://gate.example\naudience: orders\n${routes}`, `${https}\n${routes}`],
    [/^issuer: Tokens name an issuer that every machine has/, `listen: { host: 0.0.0.0 }\n${routes}`, `${https}\nlisten: { host: 0.0.0.0 }\n${routes}`],
    [/^audience: This is what a gateway says that was told nothing/, `issuer: https://gate.example\n${routes}`, `${https}\n${routes}`],
    [/^admin\.host: Health and metrics are open/, `admin: { host: "::" }\n${routes}`, `admin: { host: "::1" }\n${routes}`],
    [/^admin\.host: Health and metrics are open/, `${https}\nlisten: { host: 10.0.0.1 }\nadmin: { host: 10.0.0.1 }\n${routes}`, `${https}\nlisten: { host: 10.0.0.1 }\n${routes}`],
    [/^trustedProxies\[1\]: So wide a network/, `trustedProxies: [10.0.0.1, 0.0.0.0/0]\n${routes}`, `trustedProxies: [10.0.0.1, 10.0.0.0/8]\n${routes}`],
    [/^trustedProxies\[0\]: So wide a network/, `trustedProxies: ["::/0"]\n${routes}`, `trustedProxies: ["fd00::/16"]\n${routes}`],
    [/^trustedProxies\[0\]: Whoever gets an address in this public network/, `trustedProxies: [203.0.0.0/16]\n${routes}`, `trustedProxies: [203.0.113.0/24, 172.20.0.0/14, 192.168.0.0/16, 100.64.0.0/10]\n${routes}`],
    [/^trustedProxies\[0\]: Whoever gets an address in this public network/, `trustedProxies: ["2001:db8::/32"]\n${routes}`, `trustedProxies: ["2001:db8::/64", "2001:db8::1", "fd12::/32", 198.51.100.1]\n${routes}`],
  ],
  'tokens, keys and secrets': [
    [/^accessToken\.algorithm: Whoever can check such a token can forge one/, `accessToken: { algorithm: HS256, secret: ${random} }\n${routes}`, `accessToken: { algorithm: PS256 }\n${routes}`],
    [/^accessToken\.lifetime: Roles and attributes stay/, `accessToken: { lifetime: 2h }\n${routes}`, `accessToken: { lifetime: 1h }\n${routes}`],
    [/^accessToken\.clockTolerance: Tokens that have expired/, `accessToken: { clockTolerance: 5m }\n${routes}`, `accessToken: { clockTolerance: 1m }\n${routes}`],
    [/^refreshToken\.graceWindow: A stolen refresh token/, `refreshToken: { graceWindow: 2m }\n${routes}`, `refreshToken: { graceWindow: 1m }\n${routes}`],
    [/^refreshToken\.lifetime: Whoever finds an old device/, `refreshToken: { lifetime: 365d }\n${routes}`, `refreshToken: { lifetime: 90d }\n${routes}`],
    [/^keys\.rotateEvery: A key that leaked unseen/, `keys: { rotateEvery: 3650d }\n${routes}`, `keys: { rotateEvery: 365d }\n${routes}`],
    [/^keys\.masterKey: Nobody has thrown dice for it/, `keys: { masterKey: ${'A'.repeat(43)} }\n${routes}`, `keys: { masterKey: ${Buffer.from(random, 'hex').toString('base64url')} }\n${routes}`],
    [/^clients\[1\]\.secret: Whoever guesses it/, `clients: [{ id: a }, { id: b, secret: short }]\n${routes}`, `clients: [{ id: a }, { id: b, secret: ${random} }]\n${routes}`],
    [/^clients\[0\]\.secret: Whoever guesses it/, `clients: [{ id: b, secret: change-me-before-production }]\n${routes}`, `clients: [{ id: b, secret: gXyS6cSvL0TZ1kHd9aNf2w }]\n${routes}`],
    [/^clients\[0\]\.secret: Whoever guesses it/, `clients: [{ id: b, secret: abababababababababababababababab }]\n${routes}`, `clients: [{ id: b }]\n${routes}`],
  ],
  'passwords and logins': [
    [/^passwords\.minimumLength: Shorter passwords are guessed/, `passwords: { minimumLength: 6 }\n${routes}`, `passwords: { minimumLength: 8 }\n${routes}`],
    [/^passwords\.memory: Whoever copies the storage/, `passwords: { memory: 4mb, iterations: 3 }\n${routes}`, `passwords: { memory: 12mb, iterations: 3 }\n${routes}`],
    [/^passwords\.iterations: Whoever copies the storage/, `passwords: { memory: 19mb, iterations: 1 }\n${routes}`, `passwords: { memory: 46mb, iterations: 1 }\n${routes}`],
    [/^throttle\.attempts: So many guesses/, `throttle: { attempts: 1000 }\n${routes}`, `throttle: { attempts: 100 }\n${routes}`],
    [/^throttle\.attemptsPerAddress: One machine/, `throttle: { attemptsPerAddress: 100000 }\n${routes}`, `throttle: { attemptsPerAddress: 500 }\n${routes}`],
    [/^throttle\.maximumDelay: At an account/, `throttle: { maximumDelay: 1s }\n${routes}`, `throttle: { maximumDelay: 1m }\n${routes}`],
  ],
  'upstreams': [
    [/^routes\[0\]\.upstream: Identity headers travel to orders:3000 in the clear/, 'routes: [{ path: /, upstream: ["http://127.0.0.1:1", "http://orders:3000"], access: public }]', 'routes: [{ path: /, upstream: ["http://127.0.0.1:1", "https://orders:3000"], access: public }]'],
    [/^routes\[0\]\.forwardAuthorization: The upstream gets tokens/, `routes: [${to('/', 'public', ', forwardAuthorization: true')}]`, `routes: [${to('/', 'public', ', forwardAuthorization: false')}]`],
    [/^routes\[0\]\.preserveHost: Whoever calls chooses/, `routes: [${to('/', 'public', ', preserveHost: true')}]`, `routes: [${to('/', 'public', ', preserveHost: true, hosts: [a.example]')}]`],
  ],
  'routes against each other': [
    [/^routes\[1\]\.access: \/api\/open is open, though it lies below \/api,/, two(to('/api', 'authenticated'), to('/api/open', 'public')), two(to('/api', 'authenticated'), to('/open', 'public'))],
    [/^routes\[1\]\.access: \/x is open, though it lies below \/,/, two(to('/', '{ roles: [admin] }'), to('/x', 'optional')), two(to('/', 'public'), to('/x', 'optional'))],
    [/^routes\[1\]\.access: \/api\/open is open/, two(to('/api', 'authenticated', ', hosts: [a.example]'), to('/api/open', 'public', ', hosts: [A.example.]')), two(to('/api', 'authenticated', ', hosts: [a.example]'), to('/api/open', 'public', ', hosts: [b.example]'))],
    [/^routes\[1\]\.hosts: At these hosts \/admin is not protected as it is elsewhere/, two(to('/admin', '{ roles: [admin] }'), to('/', 'public', ', hosts: [a.example]')), two(to('/admin', '{ roles: [admin] }'), to('/', 'public', ', hosts: [a.example]', 'http://127.0.0.1:2'))],
    [/^routes\[1\]\.hosts: At these hosts \/admin is not protected/, two(to('/admin', '{ roles: [admin] }'), to('/admin', 'authenticated', ', hosts: [a.example]')), two(to('/admin', '{ roles: [admin] }'), to('/admin', '{ roles: [admin] }', ', hosts: [a.example]'))],
    [/^routes\[0\]\.stripPrefix: \/public\/admin arrives at the same upstream as \/admin/, two(to('/public', 'public', ', stripPrefix: true'), to('/admin', '{ roles: [admin] }')), two(to('/public', 'public', ', stripPrefix: true'), to('/admin', '{ roles: [admin] }', '', 'http://127.0.0.1:2'))],
    [/^routes\[0\]\.stripPrefix: \/staff\/admin arrives/, two(to('/staff', '{ roles: [staff] }', ', stripPrefix: true'), to('/admin', '{ roles: [admin] }')), two(to('/staff', '{ roles: [admin] }', ', stripPrefix: true'), to('/admin', '{ roles: [admin] }'))],
    [/^routes\[0\]\.stripPrefix: \/staff\/admin arrives/, two(to('/staff', '{ roles: [staff] }', ', stripPrefix: true'), to('/admin', '{ roles: [admin] }')), two(to('/staff', '{ roles: [admin], scopes: [all] }', ', stripPrefix: true'), to('/admin', '{ roles: [admin, root] }'))],
    [/^routes\[0\]\.stripPrefix: \/open\/ arrives at the same upstream as \/,/, two(to('/open', 'public', ', stripPrefix: true'), to('/', 'authenticated')), two(to('/open', 'public'), to('/', 'authenticated'))],
    [/^routes\[0\]\.stripPrefix: \/open\/ arrives at the same upstream as \/admin\/,/, two(to('/open', 'optional', ', stripPrefix: true'), to('/admin', 'authenticated', ', stripPrefix: true')), two(to('/open', 'optional', ', stripPrefix: true'), to('/admin', 'optional', ', stripPrefix: true'))],
    [/^routes\[0\]\.stripPrefix: \/api\/api\/admin arrives/, two(to('/api', 'authenticated', ', stripPrefix: true'), to('/api/admin', '{ roles: [admin] }')), `routes: [${to('/api', 'authenticated', ', stripPrefix: true')}, ${to('/api/admin', '{ roles: [admin] }')}, ${to('/api/api/admin', '{ roles: [admin] }')}]`],
    [/^routes\[0\]\.stripPrefix: \/open\/admin arrives/, two(to('/open', 'public', ', stripPrefix: true, methods: [GET]'), to('/admin', 'authenticated', ', methods: [GET, POST]')), two(to('/open', 'public', ', stripPrefix: true, methods: [GET]'), to('/admin', 'authenticated', ', methods: [POST]'))],
    [/^routes\[0\]\.access: \/ arrives at the same upstream as \/admin\/,/, two(to('/', 'public'), to('/admin', '{ roles: [admin] }', ', stripPrefix: true')), two(to('/', 'public', '', 'http://127.0.0.1:2'), to('/admin', '{ roles: [admin] }', ', stripPrefix: true'))],
    [/^routes\[0\]\.access: \/users arrives at the same upstream as \/admin\/users,/, two(to('/users', 'public'), to('/admin', '{ roles: [admin] }', ', stripPrefix: true')), two(to('/users', '{ roles: [admin] }'), to('/admin', '{ roles: [admin] }', ', stripPrefix: true'))],
    [/^routes\[0\]\.access: With another Host than a\.example a call of \/admin comes here/, two(to('/', 'public'), to('/admin', 'authenticated', ', hosts: [a.example]')), `routes: [${to('/', 'public')}, ${to('/admin', 'authenticated', ', hosts: [a.example]')}, ${to('/admin', 'authenticated')}]`],
    [/^routes\[0\]\.hosts: At these hosts \/admin is not protected/, two(to('/', 'public', ', hosts: [b.example]'), to('/admin', 'authenticated', ', hosts: [a.example]')), two(to('/', 'public', ', hosts: [b.example], preserveHost: true'), to('/admin', 'authenticated', ', hosts: [a.example], preserveHost: true'))],
    [/^routes\[0\]\.methods: An upstream that takes _method/, two(to('/x', 'public', ', methods: [GET, POST]'), to('/x', 'authenticated', ', methods: [DELETE]')), two(to('/x', 'public', ', methods: [GET]'), to('/x', 'authenticated', ', methods: [POST, DELETE]'))],
  ],
  'rules that nobody can satisfy': [
    [/^routes\[0\]\.access\.roles: Nobody can satisfy this rule: no source of users gives any of the roles admin/, `${htpasswd()}\nroutes: [${to('/', '{ roles: [admin] }')}]`, `${htpasswd(', roles: [user, admin]')}\nroutes: [${to('/', '{ roles: [root, admin] }')}]`],
    [/^routes\[0\]\.access\.roles: Nobody can satisfy/, `${htpasswd(', roles: [user]')}\nroutes: [${to('/', '{ roles: [admin] }')}]`, `credentials: [{ type: htpasswd, file: ./users, roles: [user] }, { type: store }]\nroutes: [${to('/', '{ roles: [admin] }')}]`],
    [/^routes\[0\]\.access\.scopes: Nobody can satisfy this rule: no source of users gives any of the scopes write/, `${htpasswd()}\nroutes: [${to('/', '{ scopes: [write] }')}]`, `routes: [${to('/', '{ scopes: [write] }')}]`],
    [/^routes\[0\]\.access\.claims: Nobody can satisfy this rule: no token has such a claim tenant/, `${htpasswd()}\nroutes: [${to('/', '{ claims: { tenant: acme } }')}]`, `routes: [${to('/', '{ claims: { tenant: acme } }')}]`],
    [/^routes\[0\]\.access\.claims: .*no token has such a claim client_id/, `clients: [{ id: app }]\nroutes: [${to('/', '{ claims: { client_id: [web, shop] } }')}]`, `clients: [{ id: app }]\nroutes: [${to('/', '{ claims: { client_id: [web, app] } }')}]`],
    [/^routes\[0\]\.access\.claims: .*no token has such a claim iss/, `routes: [${to('/', '{ claims: { iss: "https://other.example" } }')}]`, `routes: [${to('/', '{ claims: { iss: "http://localhost:8080" } }')}]`],
    [/^routes\[0\]\.access\.claims: .*no token has such a claim aud/, `routes: [${to('/', '{ claims: { aud: orders } }')}]`, `routes: [${to('/', '{ claims: { aud: api } }')}]`],
    [/^routes\[0\]\.access: Nobody can satisfy this rule: no source of users gives its roles and claims together/, `${htpasswd(', roles: [user]')}\n${corp()}\nroutes: [${to('/', '{ roles: [user], claims: { iss: "https://login.example" } }')}]`, `${htpasswd(', roles: [user]')}\n${corp()}\nroutes: [${to('/', '{ roles: [staff], claims: { iss: "https://login.example" } }')}]`],
    [/^routes\[0\]\.access\.scopes: Nobody can satisfy/, `${htpasswd()}\n${corp()}\nroutes: [${to('/', '{ scopes: [write] }')}]`, `${htpasswd()}\n${corp()}\nroutes: [${to('/', '{ scopes: [read] }')}]`],
  ],
  'identity headers': [
    [/^identity\.headers: No header says who is calling/, `identity: { headers: { X-User-Roles: roles } }\n${routes}`, `identity: { headers: { X-Me: sub } }\n${routes}`],
    [/^routes\[0\]\.identity\.headers\.x-user-id: It means sub elsewhere, and email here/, `routes: [${to('/', 'public', ', identity: { headers: { x-user-id: email } }')}]`, `routes: [${to('/', 'public', ', identity: { headers: { x-user-id: sub, x-user-email: email } }')}]`],
    [/^routes\[1\]\.identity\.headers\.X-Me: It means name elsewhere, and email here/, two(to('/a', 'public', ', identity: { headers: { X-Me: name } }'), to('/b', 'public', ', identity: { headers: { X-Me: email } }')), two(to('/a', 'public', ', identity: { headers: { X-Me: name } }'), to('/b', 'public', ', identity: { headers: { X-Me: name } }'))],
    [/^identity\.headers\.X-User\.Id: To CGI, WSGI and PHP it is one header with X-User-Id/, `identity: { headers: { X-User-Id: sub, X-User.Id: sub } }\n${routes}`, `identity: { headers: { X-User-Id: sub, X-UserId: sub } }\n${routes}`],
  ],
}

for (const [about, found] of Object.entries(cases)) {
  t.test(`${about}: each danger is found, with its remedy, and its neighbour is left in peace`, async (t) => {
    for (const [finding, has, hasNot] of found) {
      const matching = warnings(has).filter((warning) => finding.test(warning))
      t.equal(matching.length, 1, `${has}\n${warnings(has).join('\n')}`)
      t.match(matching[0], /\. .+\.$/, 'danger and remedy')
      t.strictSame(warnings(hasNot).filter((warning) => finding.test(warning)), [], hasNot)
    }
  })
}

t.test('a finding has its place', async (t) => {
  const loaded = load(`issuer: https://gate.example\naudience: orders\nroutes:\n  - ${to('/api', 'authenticated')}\n  - path: /api/open\n    upstream: http://127.0.0.1:1\n    access: public\n`)
  if ('faults' in loaded) throw new Error('faults')
  t.match(lintConfig(loaded.config).map(({ path, message }) => faultText({ ...loaded.faultAt(path, message), file: 'c' })), [/^c:7:13 routes\[1\]\.access: \/api\/open is open/])
})

t.test('loopback is no danger, in any spelling; what only looks like it is', async (t) => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', 'gate.localhost']) t.strictSame(warnings(`issuer: http://${host}:8080\n${routes}`), [], host)
  for (const host of ['localhost.example', '127.example', '128.0.0.1', 'notlocalhost', '127.0.0.1.example']) t.equal(warnings(`issuer: http://${host}:8080\naudience: orders\n${routes}`).length, 1, host)
})
