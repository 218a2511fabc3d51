import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { createLoader, routes } from './load-text.ts'

const { folder, load, faults, config } = createLoader(t)
const route = (rest: string) => `routes:\n  - path: /\n    upstream: http://127.0.0.1:3000\n    ${rest}\n`

t.test('one route is enough; the rest has defaults', async (t) => {
  t.match(config(routes), {
    listen: { host: '127.0.0.1', port: 8080 },
    admin: { host: '127.0.0.1', port: 9090 },
    issuer: 'http://localhost:8080',
    audience: 'api',
    storage: 'sqlite:./data/gatewarden.db',
    accessToken: { algorithm: 'ES256', lifetime: 300_000, clockTolerance: 2_000 },
    refreshToken: { lifetime: 2_592_000_000, graceWindow: 10_000 },
    limits: { body: 1024 ** 3, headers: 16_384 },
    credentials: [{ type: 'store' }],
    clients: [],
    identity: { headers: { 'X-User-Id': 'sub', 'X-User-Roles': 'roles' } },
    trustedProxies: [],
    routes: [{ path: '/', access: 'public', stripPrefix: false, forwardAuthorization: false }],
  })
})

t.test('each fault says where it stands, what is wrong, and what would be right', async (t) => {
  const cases: [yaml: string, fault: string][] = [
    [`lisen: { port: 1 }\n${routes}`, 'c:1:1 lisen: unknown key; did you mean listen?'],
    [`listen: { prot: 1 }\n${routes}`, 'c:1:11 listen.prot: unknown key; did you mean port?'],
    [`accesstoken: { }\n${routes}`, 'c:1:1 accesstoken: unknown key; did you mean accessToken?'],
    ['routes:\n  - path: /\n    upstream: http://127.0.0.1:1\n', 'c:2:5 routes[0].access: is missing; `public`, `optional` (a valid token is used, none is fine, a bad one is refused), `authenticated`, or a rule. Never left out.'],
    ['issuer: https://gate.example\n', 'c:1:1 routes: is missing; What is protected, for whom, and where it goes.'],
    ['routes: []\n', 'c:1:9 routes: must have at least one entry'],
    [`listen: { port: "80" }\n${routes}`, 'c:1:17 listen.port: must be a whole number'],
    [`listen: { port: 65536 }\n${routes}`, 'c:1:17 listen.port: must be at most 65535'],
    [`listen: { port: -1 }\n${routes}`, 'c:1:17 listen.port: must be at least 0'],
    [`workers: 1.5\n${routes}`, 'c:1:10 workers: must be a whole number, or auto'],
    [`listen: { host: "" }\n${routes}`, 'c:1:17 listen.host: must not be empty'],
    [`limits: 5\n${routes}`, 'c:1:9 limits: must be a map of keys'],
    [`trustedProxies: 10.0.0.0/8\n${routes}`, 'c:1:17 trustedProxies: must be a list'],
    [`log: { access: yes }\n${routes}`, 'c:1:16 log.access: must be true or false'],
    [`log: { level: inffo }\n${routes}`, 'c:1:15 log.level: must be one of fatal, error, warn, info, debug, trace; did you mean info?'],
    [`accessToken: { lifetime: 300 }\n${routes}`, 'c:1:26 accessToken.lifetime: must be a text'],
    [`accessToken: { lifetime: 5 min }\n${routes}`, 'c:1:26 accessToken.lifetime: must be a whole number and a unit, as in 500ms, 30s, 5m, 12h or 30d'],
    [`limits: { body: 10m }\n${routes}`, 'c:1:17 limits.body: must be a whole number and a unit, as in 512b, 64kb, 10mb or 1gb'],
    [`identity: { headers: { X_User: sub } }\n${routes}`, 'c:1:24 identity.headers.X_User: must be a header name without underscores, as in X-User-Id'],
    ['just a text', 'c:1:1 must be a map of keys'],
    ['- a\n- list\n', 'c:1:1 must be a map of keys'],
    ['', 'c:1:1 routes: is missing; What is protected, for whom, and where it goes.'],
    ['# nothing but a comment\n', 'c:1:1 routes: is missing; What is protected, for whom, and where it goes.'],
  ]
  for (const [yaml, fault] of cases) t.strictSame(faults(yaml), [fault])
  t.strictSame(faults('just a text', { GATEWARDEN_MASTER_KEY: 'A'.repeat(43) }), ['c:1:1 must be a map of keys'])
})

t.test('all faults at once, in the order of the file', async (t) => {
  t.strictSame(faults([
    'listen: { port: x }',
    'audience: 5',
    'credentials: [{ type: htpaswd }, { type: htpasswd }]',
    'routes:',
    '  - path: api/',
    '    upstream: http://127.0.0.1:1/base',
    '    acces: public',
  ].join('\n')).map((fault) => fault.split(' ').slice(0, 2).join(' ')), [
    'c:1:17 listen.port:',
    'c:2:11 audience:',
    'c:3:23 credentials[0].type:',
    'c:3:34 credentials[1].file:',
    'c:5:5 routes[0].access:',
    'c:5:11 routes[0].path:',
    'c:6:15 routes[0].upstream:',
    'c:7:5 routes[0].acces:',
  ])
})

t.test('where there are several ways to write a thing, one useful fault', async (t) => {
  const cases: [yaml: string, fault: string][] = [
    [route('access: publik'), 'c:4:13 routes[0].access: must be one of public, optional, authenticated; did you mean public?'],
    [route('access: { role: [admin] }'), 'c:4:15 routes[0].access.role: unknown key; did you mean roles?'],
    [route('access: { roles: admin }'), 'c:4:22 routes[0].access.roles: must be a list'],
    [route('access: {}'), 'c:4:13 routes[0].access: must name at least one of its keys'],
    [route('access: [public]'), 'c:4:13 routes[0].access: must be public, optional, authenticated, or a map of keys'],
    [route('access:'), 'c:4:12 routes[0].access: must be public, optional, authenticated, or a map of keys'],
    [route('access: { claims: { level: {} } }'), 'c:4:32 routes[0].access.claims.level: must be a text or a number or true or false, or a list'],
    [route('access: public').replace('http://127.0.0.1:3000', '3000'), 'c:3:15 routes[0].upstream: must be a text, or a list'],
    [route('access: public').replace('http://127.0.0.1:3000', '["http://a:1", "ftp://b"]'), 'c:3:30 routes[0].upstream[1]: must be http:// or https://, a host and a port, as in http://127.0.0.1:3000, without a path, a query or a user'],
    [`credentials: [{ type: ldap }]\n${routes}`, 'c:1:23 credentials[0].type: must be one of store, htpasswd, sql, http'],
    [`credentials: [{ file: x }]\n${routes}`, 'c:1:15 credentials[0].type: is missing; one of store, htpasswd, sql, http'],
    [`credentials: [{ type: store, file: x }]\n${routes}`, 'c:1:30 credentials[0].file: unknown key; known here: type, name'],
  ]
  for (const [yaml, fault] of cases) t.strictSame(faults(yaml), [fault])
})

t.test('what is no YAML, or YAML that means two things', async (t) => {
  const cases: [yaml: string, fault: string][] = [
    [`issuer: http://a\nissuer: http://b\n${routes}`, 'c:2:1 this key stands twice; leave one of them'],
    [`listen: { port: 1, port: 2 }\n${routes}`, 'c:1:20 this key stands twice; leave one of them'],
    [`listen:\n\tport: 1\n${routes}`, 'c:2:1 a tab indents here; YAML indents by spaces'],
    [`${routes}\n---\nissuer: http://b\n`, 'c:2:1 a second document begins here; one file holds one configuration'],
    [`listen: { port: 1 } }\n${routes}`, 'c:1:21 not valid YAML: Unexpected flow-map-end token in YAML stream'],
    [`__proto__: { polluted: true }\n${routes}`, 'c:1:1 no key has this name'],
    [route('access: { claims: { __proto__: x } }'), 'c:4:25 routes[0].access.claims: no key has this name'],
    [`constructor: 1\n${routes}`, 'c:1:1 constructor: unknown key; known here: listen'],
    [`? [a]\n: b\n${routes}`, 'c:1:3 a key is one word'],
    [`audience: *nothing\n${routes}`, 'c:1:11 audience: this alias names no anchor; a text that begins with * is put in quotes'],
    [`audience: !api\n${routes}`, 'c:1:11 this tag is not known; a text that begins with ! is put in quotes'],
    [`a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n${routes}`, 'c:1:1 aliases multiply too far; write the values out'],
    [`base: &base { port: 1 }\nlisten: { <<: *base }\n${routes}`, 'c:1:1 base: unknown key; known here: listen'],
  ]
  for (const [yaml, fault] of cases) {
    const found = faults(yaml)
    t.ok(found[0]?.startsWith(fault), String(found[0]))
  }
  t.notOk('polluted' in {})
})

t.test('an alias is what it stands for', async (t) => {
  t.match(config(`listen: &here { host: "::1", port: 0 }\nadmin: *here\n${routes}`).admin, { host: '::1', port: 0 })
})

t.test('deep nesting is a fault, and no crash', async (t) => {
  t.match(faults('['.repeat(20_000))[0], /^c:1:\d+ /)
})

t.test('a file that is not there, or is none', async (t) => {
  const at = (file: string) => loadConfig(file, {})
  t.match(at(join(folder, 'none.yaml')), { faults: [{ file: join(folder, 'none.yaml'), line: 1, column: 1, message: 'there is no such file; name one with --config FILE' }] })
  t.match(at(folder), { faults: [{ message: 'this is a folder; name the file in it with --config FILE' }] })
  t.match(at(join(folder, 'config.yaml', 'below')), { faults: [{ message: 'the file cannot be read (ENOTDIR)' }] })
})

t.test('line ends and a byte order mark of other systems are fine', async (t) => {
  t.strictSame(config(`\uFEFFaudience: x\r\n${routes}\r\n`).audience, 'x')
})

t.test('what is loaded is frozen, all the way down', async (t) => {
  const loaded = config(`clients: [{ id: a }]\n${routes}`)
  const frozen = (value: unknown): boolean => typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
  t.ok(frozen(loaded))
  t.throws(() => { (loaded.clients as unknown[]).push({}) }, TypeError)
})

t.test('one load leaves no trace in the next', async (t) => {
  const first = config(routes)
  config(`identity: { headers: { X-Name: name } }\ncredentials: [{ type: store }, { type: htpasswd, file: u }]\n${routes}`)
  t.strictSame(config(routes), first)
})

t.test('paths are taken from the folder of the file', async (t) => {
  t.match(config(`credentials: [{ type: htpasswd, file: ./users }]\nkeys: { directory: keys }\n${routes}`), {
    credentials: [{ file: join(folder, 'users') }],
    keys: { directory: join(folder, 'keys') },
  })
})

t.test('finds the place of a key for what is known later', async (t) => {
  const loaded = load(`# comment\n${route('access: public')}`)
  if ('faults' in loaded) throw new Error('faults')
  t.match(loaded.faultAt(['routes', 0, 'upstream'], 'is down'), { line: 4, column: 15, path: 'routes[0].upstream', message: 'is down' })
  t.match(loaded.faultAt(['routes', 0, 'timeout'], 'is short'), { line: 3, column: 5 })
})
