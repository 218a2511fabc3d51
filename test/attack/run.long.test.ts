/** `gatewarden attack` from the inside: what holds is told, what is broken is noticed, and nothing leaves this machine. */
import { existsSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { guardLoopback } from '../../src/attack/loopback.ts'
import { attackClasses, runAttacks } from '../../src/attack/run.ts'
import type { Config } from '../../src/config/schema.ts'
import { startGateway } from '../../src/server.ts'
import { configOf, only, told } from './attack-rig.ts'

t.setTimeout(180_000)

const routes = [
  { path: '/public', upstream: 'http://10.9.8.7:3000', access: 'public' },
  { path: '/api', upstream: 'http://10.9.8.7:3000', access: 'authenticated' },
  { path: '/admin', upstream: 'http://10.9.8.7:3000', access: { roles: ['admin'] }, methods: ['GET', 'POST'] },
]

/** None of them is at the host of the issuer; the one without hosts is not reached at that of the one with `/`. */
const hosted = [
  { path: '/public', hosts: ['Api.test', 'www.api.test'], upstream: 'http://10.9.8.7:3000', access: 'public' },
  { path: '/api', hosts: ['api.test'], upstream: 'http://10.9.8.7:3000', access: 'authenticated' },
  { path: '/admin', hosts: ['admin.test', '[::1]'], upstream: 'http://10.9.8.7:3001', access: { roles: ['admin'] }, methods: ['GET', 'POST'] },
  { path: '/', hosts: ['localhost'], upstream: 'http://10.9.8.7:3002', access: 'authenticated' },
  { path: '/rest', upstream: 'http://10.9.8.7:3003', access: 'optional' },
]

t.test('a configuration with much in it holds, and what is the operator\'s own takes no part', async (t) => {
  const { config, folder } = configOf(t, {
    issuer: 'http://gateway.test:8443',
    storage: 'sqlite:./must-not-be-made/gatewarden.db',
    accessToken: { algorithm: 'HS256', secret: '7c1f4be8d0a94f6f8a3b5e2d1c0f9e8d7c6b5a49382716f5e4d3c2b1a0f9e8d7', clockTolerance: '90s' },
    refreshToken: { graceWindow: '0s' },
    throttle: { attempts: 3 },
    credentials: [{ type: 'htpasswd', file: './users.htpasswd', roles: ['reader'] }, { type: 'http', url: 'https://accounts.internal/check', findUrl: 'https://accounts.internal/find', secret: 'hunter2hunter2hunter2' }],
    clients: [{ id: 'app' }, { id: 'api', secret: 'hunter2hunter2hunter2' }],
    trustedIssuers: [{ name: 'corp', issuer: 'https://login.example.com', audience: 'app', algorithms: ['RS256', 'ES256'] }],
    trustedProxies: ['127.0.0.0/8'],
    identity: { headers: { 'X-User-Id': 'sub', 'X-Tenant': 'tenant' }, reservedPrefixes: ['X-User-'] },
    limits: { headers: '8kb', body: '64kb' },
    routes: [
      { path: '/', upstream: 'http://10.1.2.3:3000', access: 'optional', forwardAuthorization: true },
      { path: '/api', upstream: ['http://10.1.2.4:3000', 'http://10.1.2.5:3000'], access: 'authenticated', forwardAuthorization: true, preserveHost: true },
      { path: '/admin', upstream: 'https://admin.internal:8443', stripPrefix: true, access: { roles: ['admin', 'root'], scopes: ['write'] } },
      { path: '/tenant', upstream: 'http://10.1.2.6', access: { claims: { tenant: 'acme' } }, websocket: false, methods: ['GET'] },
      { path: '/tenant', upstream: 'http://10.1.2.6', access: 'public', methods: ['POST'] },
    ],
  }, { 'users.htpasswd': 'bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n' })
  const report = await runAttacks(config, { classes: attackClasses.filter(({ name }) => !['forged tokens', 'paths', 'hosts', 'splitting', 'overrides'].includes(name)) })
  t.ok(report.held, told(report))
  t.ok(report.classes.every(({ cases, controls }) => cases > 0 && controls > 0))
  t.match(report.leftOut, [/^trustedIssuers: how their keys are found/, /^other issuers: .* corp is the only one$/])
  t.notOk(existsSync(join(folder, 'must-not-be-made')), 'the storage of the configuration is not touched')
  for (const address of [...report.bound, ...report.dialled]) t.match(address, /^127\.0\.0\.1:\d+$/)
  t.strictSame(report.strangers, [])
  t.notMatch(JSON.stringify(report), '7c1f4be8d0a94f6f', 'their secret is not used, so it cannot be shown')
})

t.test('routes that name their hosts are attacked at them: nothing is refused for want of a route', async (t) => {
  const { config } = configOf(t, { routes: hosted })
  const report = await runAttacks(config, { classes: attackClasses.filter(({ name }) => !['login', 'endpoint users', 'other issuers'].includes(name)) })
  t.ok(report.held, told(report))
  for (const { name, cases, controls, failedControls } of report.classes) {
    t.ok(cases > 0 && controls > 0, name)
    t.strictSame(failedControls, [], name)
  }
})

t.test('keys of a folder are not used either: forged tokens would be theirs', async (t) => {
  const { config } = configOf(t, { accessToken: { algorithm: 'EdDSA' }, keys: { directory: './keys' }, routes })
  const report = await runAttacks(config, only('rules'))
  t.ok(report.held, told(report))
})

/** A fault is put into the gateway that is started, and not into what is expected of it. */
const faults: Record<string, { readonly break: (config: Config) => Config, readonly classes: readonly string[] }> = {
  'every route is open': {
    break: (config) => ({ ...config, routes: config.routes.map((route) => ({ ...route, access: 'public' })) }),
    classes: ['no token', 'rules'],
  },
  'rules are passed over': {
    break: (config) => ({ ...config, routes: config.routes.map((route) => route.access === 'public' ? route : { ...route, access: 'authenticated' }) }),
    classes: ['rules'],
  },
  'methods are passed over': {
    break: (config) => ({ ...config, routes: config.routes.map(({ methods: _, ...route }) => route) }),
    classes: ['methods'],
  },
  'used refresh tokens go on': {
    break: (config) => ({ ...config, refreshToken: { ...config.refreshToken, graceWindow: 86_400_000 } }),
    classes: ['refresh'],
  },
  'guesses cost nothing': {
    break: (config) => ({ ...config, throttle: { ...config.throttle, attempts: 1_000_000, attemptsPerAddress: 1_000_000 } }),
    classes: ['login'],
  },
}

const tables = { 'at the host of the issuer': routes, 'at hosts of their own': hosted }

for (const [where, table] of Object.entries(tables)) {
  for (const [fault, { break: breakIt, classes }] of Object.entries(faults)) {
    t.test(`it is noticed that ${fault}, with routes ${where}`, async (t) => {
      const { config } = configOf(t, { routes: table })
      const report = await runAttacks(config, { ...only(...classes), start: async (own, options) => await startGateway(breakIt(own), options) })
      t.notOk(report.held)
      for (const { name, ok, failures, failedControls, held, cases } of report.classes) {
        t.notOk(ok, name)
        t.strictSame(failedControls, [], name)
        t.ok(failures.length > 0, name)
        t.equal(held + failures.length, cases)
        for (const { attack, why, sent } of failures) t.ok(attack !== '' && why !== '' && sent !== '', name)
      }
    })
  }
}

t.test('what gets through at a host is told with that host', async (t) => {
  const { config } = configOf(t, { routes: hosted })
  const report = await runAttacks(config, { ...only('methods'), start: async (own, options) => await startGateway(faults['methods are passed over']?.break(own) ?? own, options) })
  t.match(report.classes[0]?.failures.find(({ attack }) => attack === 'GET,POST admin.test,[::1]/admin: PUT')?.sent, /^PUT \/admin\/attack-probe HTTP\/1\.1\r\nHost: admin\.test\r\n/)
})

t.test('it is noticed that tokens live on after their time', async (t) => {
  const { config } = configOf(t, { accessToken: { algorithm: 'HS256', secret: '7c1f4be8d0a94f6f8a3b5e2d1c0f9e8d7c6b5a49382716f5e4d3c2b1a0f9e8d7' }, routes: routes.slice(0, 1) })
  const report = await runAttacks(config, { ...only('forged tokens'), start: async (own, options) => await startGateway({ ...own, accessToken: { ...own.accessToken, clockTolerance: 86_400_000 * 60 } }, options) })
  const told = report.classes[0]?.failures.map(({ attack }) => attack) ?? []
  t.ok(told.includes('/auth/verify: expired 86400 s ago'), JSON.stringify(told))
  t.notOk(told.some((attack) => attack.includes('alg "none"')))
})

for (const [where, at] of Object.entries({ 'the host of the issuer': { host: 'localhost:8080' }, 'a host of its own': { host: 'www.test', hosts: ['www.test'] } })) {
  const { host, ...hosts } = at

  t.test(`what the upstream saw of an attack that succeeded is told by its bytes, and so is what was sent, at ${where}`, async (t) => {
    const { config } = configOf(t, { routes: [{ path: '/public', upstream: 'http://10.9.8.7:3000', access: 'public', ...hosts }] })
    const report = await runAttacks(config, { ...only('identity headers'), start: async (own, options) => await startGateway({ ...own, identity: { headers: { 'X-Something-Else': 'sub' }, reservedPrefixes: [] } }, options) })
    const spoofed = report.classes[0]?.failures.find(({ attack }) => /public, nobody: X-User-Id$/.test(attack))
    t.match(spoofed?.sent, new RegExp(`^GET /public/attack-probe HTTP/1\\.1\r\nHost: ${host}\r\nX-User-Id: spoof[0-9a-f]+\r\n\r\n$`))
    t.match(spoofed?.upstreamSaw, [/^GET \/public\/attack-probe HTTP\/1\.1\r\n[\s\S]*\r\nX-User-Id: spoof[0-9a-f]+\r\n/])
    t.ok(report.classes[0]?.failures.some(({ attack }) => attack === '/auth/verify: X_User_Id'), 'nor does it say a word to another proxy')
  })

  t.test(`an open route with stripPrefix before the upstream of a protected one is a hole, and is told, at ${where}`, async (t) => {
    const open = { path: '/app', upstream: 'http://127.0.0.1:3000', access: 'public', stripPrefix: true }
    const guarded = { path: '/admin', upstream: 'http://127.0.0.1:3000', access: 'authenticated' }
    for (const routes of [[{ ...open, ...hosts }, { ...guarded, ...hosts }], [{ ...open, ...hosts }, guarded], [open, { ...guarded, ...hosts }]]) {
      const [paths] = (await runAttacks(configOf(t, { routes }).config, only('paths'))).classes
      t.match(paths?.failures.find(({ attack }) => attack === '/app/admin/attack-probe'), { why: /the upstream saw \/admin\/attack-probe.*stripPrefix/, sent: new RegExp(`\r\nHost: ${host}\r\n`) })
      t.strictSame(paths?.failedControls, [])
    }
  })
}

for (const [where, table] of Object.entries(tables)) {
  t.test(`a gateway that refuses everything shows nothing, with routes ${where}: the controls fail`, async (t) => {
    const { config } = configOf(t, { routes: table })
    const report = await runAttacks(config, {
      ...only('no token', 'overrides'),
      start: async (own, options) => await startGateway({ ...own, routes: own.routes.map((route) => ({ ...route, path: `/elsewhere${route.path}` })) }, options),
    })
    t.notOk(report.held)
    for (const { ok, failedControls } of report.classes) {
      t.notOk(ok)
      t.ok(failedControls.length > 0)
    }
  })
}

t.test('an address elsewhere that the attack knows nothing of keeps it from starting', async (t) => {
  const { config } = configOf(t, { routes })
  await t.rejects(runAttacks({ ...config, telemetry: { url: 'https://collector.example.com' } } as Config), { message: /telemetry\.url .*would lead elsewhere/ })
})

t.test('whatever is dialled off this machine is stopped before its first packet', async (t) => {
  const guard = guardLoopback()
  const failed = await new Promise<Error>((resolve) => { connect(9, '192.0.2.1').on('error', resolve) })
  const named = await new Promise<Error>((resolve) => { connect({ host: 'collector.example.com', port: 443 }).on('error', resolve) })
  guard.close()
  t.match(failed.message, /nothing but loopback/)
  t.match(named.message, /nothing but loopback/)
  t.strictSame(guard.strangers(), ['192.0.2.1:9', 'collector.example.com:443'])
})

t.test('nothing is left behind', (t) => {
  t.strictSame(readdirSync(tmpdir()).filter((name) => name.startsWith(`gatewarden-attack-${process.pid}-`)), [])
  t.end()
})
