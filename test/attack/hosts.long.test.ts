/** Routes that name their hosts: a gateway that reads another host out of a request than the one that was sent is found out. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { runAttacks } from '../../src/attack/run.ts'
import type { Config } from '../../src/config/schema.ts'
import { startGateway } from '../../src/server.ts'
import { configOf, only, told } from './attack-rig.ts'

t.setTimeout(180_000)

const { classes } = only('hosts')
const upstream = 'http://10.9.8.7:3000'
const routes = [
  { path: '/', hosts: ['admin.test', 'www.admin.test'], upstream, access: { roles: ['admin'], claims: { tenant: 'acme' } } },
  { path: '/open', hosts: ['Api.test', '[::1]'], upstream: 'http://10.9.8.7:3001', access: 'public' },
  { path: '/open', hosts: ['admin.test'], upstream: 'http://10.9.8.7:3004', access: 'authenticated', methods: ['POST'] },
  { path: '/rest', upstream: 'http://10.9.8.7:3002', access: 'optional' },
  { path: '/rest/own', upstream: 'http://10.9.8.7:3002', access: 'authenticated' },
]

t.test('this gateway holds, also before a proxy that it believes in other things, and with a route without hosts for the rest', async (t) => {
  const tables = [{ routes, trustedProxies: ['127.0.0.0/8'] }, { routes: [...routes, { path: '/', upstream: 'http://10.9.8.7:3003', access: 'public' }] }]
  for (const table of tables) {
    const report = await runAttacks(configOf(t, table).config, { classes })
    const [result] = report.classes
    t.ok(report.held, told(report))
    t.equal(result?.controls, 5, 'one for each host of each route')
    t.ok((result?.cases ?? 0) > 500)
  }
})

t.test('where no route names a host there is nothing to show', async (t) => {
  const report = await runAttacks(configOf(t, { routes: routes.slice(3) }).config, { classes })
  t.match(report, { held: true, classes: [{ cases: 0, controls: 0 }] })
})

t.test('a weaker rule at another host before the same upstream is a hole, and is told, but for an upstream that is told of the host', async (t) => {
  const table = (preserveHost: boolean, weaker: Record<string, unknown>) => configOf(t, {
    routes: [
      { path: '/admin', hosts: ['admin.test'], upstream, access: { roles: ['admin'] }, preserveHost },
      { path: '/', upstream, preserveHost, ...weaker },
    ],
  }).config
  for (const access of ['public', 'optional', 'authenticated']) {
    const [result] = (await runAttacks(table(false, { access }), { classes })).classes
    t.match(result?.failures[0], { attack: /^admin\.test\/admin: /, why: 'the upstream saw at another host what admin.test/admin protects, by a weaker rule' }, access)
    t.strictSame(result?.failures.filter(({ sent }) => /^Host: admin\.test\r$/m.test(sent)), [], access)
  }
  for (const config of [table(true, { access: 'public', hosts: ['www.test'] }), table(false, { access: { roles: ['admin'] } })]) {
    const report = await runAttacks(config, { classes })
    t.ok(report.held, told(report))
  }
})

function broken (breakIt: (routes: Config['routes']) => Config['routes']): typeof startGateway {
  return async (own, options) => await startGateway({ ...own, routes: breakIt(own.routes) }, options)
}

/** A gateway that reads heads as `read` does. */
function reading (read: (head: string) => string): typeof startGateway {
  return async (own, options) => {
    const gateway = await startGateway(own, options)
    const sockets = new Set<Socket>()
    const front = createServer({ allowHalfOpen: true }, (client) => {
      const behind = connect({ port: gateway.publicAddress.port, host: '127.0.0.1', allowHalfOpen: true })
      let head: string | null = ''
      for (const [socket, other] of [[client, behind], [behind, client]] as const) {
        sockets.add(socket)
        socket.on('error', () => { other.destroy() }).once('close', () => { sockets.delete(socket) })
      }
      behind.pipe(client)
      client.on('end', () => { behind.end() }).on('data', (bytes: Buffer) => {
        const text = bytes.toString('latin1')
        if (head === null) behind.write(text, 'latin1')
        else {
          head += text
          const end = head.indexOf('\r\n\r\n')
          if (end < 0) return
          behind.write(read(head.slice(0, end)) + head.slice(end), 'latin1')
          head = null
        }
      })
    })
    await once(front.listen(0, '127.0.0.1'), 'listening')
    return {
      ...gateway,
      publicAddress: { ...gateway.publicAddress, port: (front.address() as AddressInfo).port },
      async drain () {
        for (const socket of sockets) socket.destroy()
        front.close()
        await gateway.drain()
      },
    }
  }
}

const hostLine = /^Host:[ \t]*(.*)$/im
const named = ['admin.test', 'www.admin.test', 'Api.test', '[::1]', 'localhost:8080', 'attack.invalid']

/** Whoever asks as they should is served by each of them. */
const holes: Record<string, { readonly start: typeof startGateway, readonly through: RegExp }> = {
  'hosts are compared letter for letter, and the others fall through': {
    start: reading((head) => head.replace(hostLine, (line, host: string) => named.includes(host) || head.match(/^Host:/gim)?.length !== 1 ? line : 'Host: attack.invalid')),
    through: /: at |: Host: |: a target of |: its path at |: white space /,
  },
  'hosts are passed over': {
    start: broken((all) => [...all.filter(({ path }) => path !== '/open').map(({ hosts: _, ...route }) => route), ...all.filter(({ path }) => path === '/open')]),
    through: /: its path at |: a handshake at |: HTTP\/1\.0 without|: (?:X|Forwarded|Host_|HTTP_HOST|Origin|Referer)/,
  },
  'a route is reached at the host of another too': {
    start: broken((all) => all.map((route) => route.path === '/' ? { ...route, hosts: [...route.hosts ?? [], 'api.test'] } : route)),
    through: /: its path at Api\.test$|: a handshake at Api\.test$/,
  },
  'one spelling of a host has no rule': {
    start: broken((all) => all.map((route) => route.access === 'authenticated' ? { ...route, access: 'public' } : route)),
    through: /^POST admin\.test\/open: at |\/rest\/own: its path at /,
  },
  'whoever asks about a request is taken for a proxy': {
    start: async (own, options) => await startGateway({ ...own, trustedProxies: ['127.0.0.0/8'] }, options),
    through: /: asked about at /,
  },
  'only one spelling of an address is known': {
    start: reading((head) => head.replace(hostLine, (line, host: string) => host.startsWith('[0') ? 'Host: attack.invalid' : line)),
    through: /: at \[0:0:0:0:0:0:0:1\]/,
  },
  'X-Forwarded-Host is believed': {
    start: reading((head) => head.replace(hostLine, (line) => /^X-Forwarded-Host:.*$/im.exec(head)?.[0].replace(/^X-Forwarded-/i, '') ?? line)),
    through: /: X-Forwarded-Host: /,
  },
  'Forwarded is believed': {
    start: reading((head) => head.replace(hostLine, (line) => `Host: ${/^Forwarded:.*host="?([^";\r\n]*)/im.exec(head)?.[1] ?? line.slice(6)}`)),
    through: /: Forwarded: /,
  },
  'the first of two hosts counts': {
    start: reading((head) => head.split('\r\n').filter((line, index, lines) => !/^host:/i.test(line) || lines.findIndex((one) => /^host:/i.test(one)) === index).join('\r\n')),
    through: /: (?:another|its own) Host/,
  },
  'the authority of the target counts, whatever Host says': {
    start: reading((head) => {
      const authority = /^\S+ http:\/\/([^/ ]+)/.exec(head)?.[1]
      return authority === undefined ? head : head.replace(hostLine, `Host: ${authority}`)
    }),
    through: /: a target of /,
  },
  'what stands before an @ is cut off': {
    start: reading((head) => head.replace(hostLine, (_, host: string) => `Host: ${host.replace(/^.*@/, '')}`)),
    through: /: Host: ".*@/,
  },
  'a list of hosts is its first': {
    start: reading((head) => head.replace(hostLine, (_, host: string) => `Host: ${host.replace(/,.*$/, '')}`)),
    through: /: Host: ".*, /,
  },
  'hosts below a host are taken for it': {
    start: reading((head) => head.replace(hostLine, (line, host: string) => named.some((one) => one.toLowerCase() === host.toLowerCase()) ? line : `Host: ${host.replace(/^\w[\w.]*\.(?=\w+\.test$)/, '')}`)),
    through: /: its path at x\.|: a handshake at x\./,
  },
}

for (const [hole, { start, through }] of Object.entries(holes)) {
  t.test(`it is noticed that ${hole}, and nothing else is called broken`, async (t) => {
    const [result] = (await runAttacks(configOf(t, { routes }).config, { classes, start })).classes
    const attacks = result?.failures.map(({ attack }) => attack) ?? []
    t.equal(result?.ok, false)
    t.strictSame(result?.failedControls, [])
    t.strictSame(attacks.filter((attack) => !through.test(attack)), [])
    t.ok(attacks.length > 0)
  })
}

t.test('it is noticed that a proxy is told of the rules of another host than it asks about', async (t) => {
  const start = reading((head) => head.startsWith('GET /auth/verify ') ? head.replace(/^X-Forwarded-Host: .*$/m, 'X-Forwarded-Host: api.test') : head)
  const [result] = (await runAttacks(configOf(t, { routes, trustedProxies: ['127.0.0.0/8'] }).config, { classes, start })).classes
  const attacks = result?.failures.map(({ attack }) => attack) ?? []
  t.ok(attacks.includes('POST admin.test/open: asked about at admin.test'))
  t.ok(attacks.includes('admin.test,www.admin.test/: asked about at www.admin.test, without what it asks for'))
  t.strictSame(attacks.filter((attack) => !/: asked about at /.test(attack)), [])
})

t.test('a gateway that does not know a host of a route shows nothing there', async (t) => {
  const [result] = (await runAttacks(configOf(t, { routes }).config, { classes, start: broken((all) => all.map((route) => route.path === '/' ? { ...route, hosts: ['admin.test'] } : route)) })).classes
  t.equal(result?.ok, false)
  t.match(result?.failedControls, [{ attack: 'admin.test,www.admin.test/: at www.admin.test', why: 'it was answered 404' }])
})
