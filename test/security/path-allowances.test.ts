/**
 * GHSA-7x63-xv5r-3p2x, GHSA-p224-6x5r-fjpm again, from the other side: an operator lets `%2F` through for one upstream that needs it
 * (package registries, object stores), and with it comes `/files/..%2fadmin`, which that upstream, or the next proxy, reads as `/admin`.
 * Here an allowance is for one form, on one route; the bytes stay as they are; and what any known reading takes out of the
 * route is refused all the same.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const everything = ['encoded-slash', 'encoded-backslash', 'double-slash', 'semicolon', 'needless-encoding', 'double-encoding']
const open = (path: string, rest: Record<string, unknown> = {}) => ({ path, upstream: upstream.url, access: 'public', ...rest })
const gateway = await startTestGateway(t, {
  routes: [
    open('/'),
    ...everything.map((form) => open(`/${form}`, { allowPath: [form] })),
    open('/all', { allowPath: everything }),
    open('/cut', { allowPath: everything, stripPrefix: true }),
    { path: '/all/admin', upstream: upstream.url, access: { roles: ['admin'] } },
    { path: '/admin', upstream: upstream.url, access: { roles: ['admin'] } },
  ],
})

async function send (target: string) {
  const before = upstream.seen.length
  const { status } = await rawRequest(gateway.port, `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)
  const [seen, ...more] = upstream.seen.slice(before)
  return { status, seen: seen?.url ?? null, more: more.length }
}

const samples: Readonly<Record<string, readonly string[]>> = {
  'encoded-slash': ['@scope%2fname', 'a%2Fb%2Fc', 'a%2f', 'x%2f?y=%2f'],
  'encoded-backslash': ['a%5cb', 'DOMAIN%5Cuser/x'],
  'double-slash': ['a//b', 'proxy/http://example.com//x', 'a//', 'a///b'],
  'semicolon': [';v=1', 'a/;x/b', ';'],
  'needless-encoding': ['%61bc', 'report%2Epdf', 'a%5Fb%2Dc', '%41'],
  'double-encoding': ['100%2525', 'a%2541', 'a%252fb', 'x%255cy'],
}

t.test('what a route allows arrives as the very bytes that were sent; elsewhere it is refused', async (t) => {
  for (const [form, tails] of Object.entries(samples)) {
    for (const tail of tails) {
      for (const route of [form, 'all']) t.strictSame(await send(`/${route}/${tail}`), { status: 200, seen: `/${route}/${tail}`, more: 0 })
      t.strictSame(await send(`/cut/${tail}`), { status: 200, seen: `/${tail}`, more: 0 })
      t.strictSame(await send(`/other/${tail}`), { status: 400, seen: null, more: 0 }, 'a route that allows nothing')
      for (const other of everything) {
        // Of an escaped percent sign the rest is as it was: only its own allowance helps.
        if (other !== form) t.strictSame(await send(`/${other}/${tail}`), { status: 400, seen: null, more: 0 }, `${tail} under ${other}`)
      }
    }
  }
})

t.test('no allowance lets a path out of its route, whoever reads it', async (t) => {
  for (const target of [
    '/encoded-slash/..%2fadmin', '/encoded-slash/..%2Fadmin', '/encoded-slash/x%2f..%2f..%2fadmin', '/encoded-slash/..%2f', '/encoded-slash/a%2f..', '/encoded-slash/.%2fa',
    '/encoded-slash/a%2f..;x%2fadmin', '/encoded-slash/a%2f..%20%2fadmin', '/encoded-slash/..%3b%2fadmin', '/encoded-slash/..%3f%2fadmin',
    '/encoded-backslash/..%5cadmin', '/encoded-backslash/a%5c..%5c..%5cadmin', '/encoded-backslash/a%5c..', '/encoded-backslash/.%5c',
    '/double-slash/..//admin', '/double-slash/a//../admin', '//admin', '//double-slash/x', '/double-slash/..',
    '/semicolon/;/../admin', '/semicolon/..;/admin', '/semicolon/;x/..;y/admin',
    '/needless-encoding/%2e%2e/admin', '/needless-encoding/%2e', '/needless-encoding/.%2e/admin', '/needless-encoding/%2e.;x/admin', '/%6eeedless-encoding/x', '/%61dmin', '/needless-encoding/../%61dmin',
    '/double-encoding/%252e%252e/admin', '/double-encoding/..%252fadmin', '/double-encoding/%252e%252e%252fadmin', '/double-encoding/x%252f..%252f..%252fadmin', '/double-encoding/%25252e%25252e%25252fadmin',
    '/double-encoding/%2500', '/double-encoding/%250d%250ax', '/double-encoding/..%255cadmin', '/double-encoding/%25u002e%25u002e/admin', '/double-encoding/..%25u2215admin', '/double-encoding/%25c0%25ae%25c0%25ae%25c0%25afadmin',
    '/all/..%2fadmin', '/all/%2e%2e%2fadmin', '/all/..%5c%2fadmin', '/all/%252e%252e%252fadmin', '/all/..%252f..%252fadmin', '/all//..//admin', '/all/;/%2e%2e;/admin', '/all%2f..%2fadmin', '/all/%EF%BC%8E%EF%BC%8E%2fadmin',
    '/all//admin', '/all/%61dmin', '/all/;x/admin', '/all/%252561dmin', '/all/%2541DMIN', '/all/%2fadmin', '/all/%5cadmin', '/all/;%2fadmin', '/all/%2e/admin', '/all/%20//admin', '/all/a%dmin/..',
    '/cut//admin', '/cut//evil.example/x', '/cut/%2fevil.example/x', '/cut/%5c%5cevil.example', '/cut/%252fevil.example', '/cut/;/%2e%2e/admin', '/cut/..%2f',
    '/all/%00', '/all/%c0%ae%c0%ae%2fadmin', '/all/%ff', '/all/%', '/all/\\..\\admin', '/all/a#b', '/all/%2',
  ]) t.strictSame(await send(target), { status: 400, seen: null, more: 0 }, target)
})

t.test('what is allowed still needs its own route: a deeper rule is not walked around', async (t) => {
  t.strictSame(await send('/all/admin'), { status: 401, seen: null, more: 0 })
  t.strictSame(await send('/all/admin//x'), { status: 400, seen: null, more: 0 }, 'an allowance is not inherited')
  t.strictSame(await send('/all/admins%2fx'), { status: 200, seen: '/all/admins%2fx', more: 0 })
  t.strictSame(await send('/all/x%2fadmin'), { status: 200, seen: '/all/x%2fadmin', more: 0 })
})

t.test('a path whose readings multiply is refused in no time', async (t) => {
  const tails = ['%25'.repeat(3_000) + '2541', '%2541/;a/%20./%5c//'.repeat(400), '/'.repeat(9_000), '%2525252541'.repeat(800), ';/'.repeat(4_000)]
  for (const tail of tails) {
    const started = process.hrtime.bigint()
    t.match((await send(`/all/${tail}`)).status, /^(?:200|400)$/)
    t.ok(process.hrtime.bigint() - started < 500_000_000n, `${tail.slice(0, 20)}…`)
  }
})
