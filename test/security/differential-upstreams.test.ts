/**
 * Every advisory on paths and header names is a difference: what the gateway decided on, and what the server behind it made of
 * it. So real servers are asked: Node's, nginx from Debian, and Python's WSGI server, which decodes paths and folds names as CGI
 * does. Of random requests, what was forwarded on an open rule is nothing protected to any of them; the path arrives byte for
 * byte; and who the caller is, they hear from the gateway alone.
 */
import t, { type Test } from 'tap'
import fc from 'fast-check'
import { holds, mixtureOf } from '../fuzz/property.ts'
import { allOf } from '../helpers/all-of.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { isInstalled, startNginx, startWsgi } from '../helpers/other-servers.ts'
import { rawRequest, type RawResponse } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

/** What a server made of a request. */
interface Reading {
  readonly raw: string
  readonly normalised: string
  /** Under the name as that server folds it; all values as one text. */
  readonly userId: string | undefined
  readonly tenant: string | undefined
  readonly chose?: string
}

interface Kind {
  readonly name: string
  readonly url: string
  readonly read: (response: RawResponse) => Reading
}

const kinds: Kind[] = []
/** Said at the end: tap takes a file for done that has asserted something and has nothing else to do just then. */
const notRun: string[] = []

const node = await startUpstream()
t.teardown(() => node.close())
kinds.push({
  name: 'node',
  url: node.url,
  read ({ body }) {
    const { url, rawHeaders } = JSON.parse(body) as { url: string, rawHeaders: string[] }
    const folded = (wanted: string) => rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toUpperCase().replace(/[^A-Z0-9]/g, '_') === wanted)
    const [userId, tenant] = [folded('X_USER_ID'), folded('X_TENANT')]
    return {
      raw: url,
      normalised: decodeURIComponent(new URL(url, 'http://a').pathname),
      userId: userId.length === 0 ? undefined : userId.join(),
      tenant: tenant.length === 0 ? undefined : tenant.join(),
    }
  },
})

if (isInstalled('nginx')) {
  const nginx = await startNginx(t.testdir({}), { openPath: '/nginx', protectedPath: '/nginx/admin', headers: ['X-User-Id', 'X-Tenant'] })
  t.teardown(() => nginx.close())
  kinds.push({
    name: 'nginx',
    url: nginx.url,
    read ({ body }) {
      const [chose = '', raw = '', normalised = '', userId = '', tenant = ''] = body.split('\n')
      return { chose, raw, normalised, userId: userId === '' ? undefined : userId, tenant: tenant === '' ? undefined : tenant }
    },
  })
} else {
  notRun.push('NOT RUN against nginx: it is not installed (Debian: nginx-light)')
}

if (isInstalled('python3')) {
  const wsgi = await startWsgi()
  t.teardown(() => wsgi.close())
  kinds.push({
    name: 'wsgi',
    url: wsgi.url,
    read ({ body }) {
      const environment = JSON.parse(body) as Record<string, string | undefined>
      return { raw: environment['RAW_PATH'] ?? '', normalised: environment['PATH_INFO'] ?? '', userId: environment['HTTP_X_USER_ID'], tenant: environment['HTTP_X_TENANT'] }
    },
  })
} else {
  notRun.push('NOT RUN against WSGI: python3 is not installed')
}

const gateway = await startTestGateway(t, {
  routes: kinds.flatMap(({ name, url }) => [
    { path: `/${name}`, upstream: url, access: 'optional', identity: { headers: { 'X-User-Id': 'sub', 'X-Tenant': 'tenant' } } },
    { path: `/${name}/admin`, upstream: url, access: { roles: ['nobody'] } },
  ]),
})
const token = await gateway.token('root')
const [{ id = '' } = {}] = (await allOf(gateway.users.list())).filter((user) => user.name === 'root')

const path = mixtureOf([
  '/', '/', 'admin', '/admin', 'ADMIN', 'Admin', 'x', '..', '.', '%2e', '%2f', '%5c', '\\', '//', ';', ';a=b', '%3b', '%3f', '%23', '%25', '%20', '+', '%61dmin', '%ef%bc%8f', '%EF%BD%81dmin', '%c0%ae', '%E2%80%A5', '%C4%B1', '?', '?/../admin', '~', '%7e', '*', '%e9', '%00',
], { maxLength: 6 }).map((text) => `/${text.replace(/[\r\n ]/g, '')}`)

const spelling = fc.constantFrom('X-User-Id', 'X_User_Id', 'x-user_id', 'X.User.Id', 'x~user~id', 'HTTP_X_USER_ID', 'X--User-Id', 'X-Tenant', 'x_tenant', 'X!Tenant', 'Http-X-Tenant', 'X-Tenant-', 'Content_Length', 'Transfer_Encoding', 'Connection', 'Cookie', 'X-Other')
const lines = fc.array(fc.tuple(spelling, fc.constantFrom('mallory', 'X-User-Id, X-Tenant', 'keep-alive, x-user-id')), { maxLength: 4 })
const request = fc.record({ path, lines, authorized: fc.boolean() })

let forwarded = 0

/** undefined where both read the same, or the gateway refused. */
async function disagreement ({ name, read }: Kind, { path, lines, authorized }: { path: string, lines: [string, string][], authorized: boolean }): Promise<string | undefined> {
  const target = `/${name}${path}`
  const head = [...lines, ...authorized ? [['Authorization', `Bearer ${token}`]] : []].map(([one, value]) => `${one}: ${value}\r\n`).join('')
  const response = await rawRequest(gateway.port, `GET ${target} HTTP/1.1\r\nHost: a\r\n${head}\r\n`)
  if (response.status !== 200) return [400, 401, 403].includes(response.status) ? undefined : `answered ${response.status}`
  forwarded++
  const { raw, normalised, userId, tenant, chose } = read(response)
  if (raw !== target) return `arrived as ${raw}`
  if (chose !== undefined && chose !== 'open') return `nginx chose what is ${chose}`
  // In whatever case, and with whatever dots and slashes are left: what is under the protected path was never forwarded.
  if (new RegExp(`^/+${name}/+admin(?:[/;]|$)`, 'i').test(normalised)) return `read as ${normalised}`
  if (!normalised.toLowerCase().startsWith(`/${name}`)) return `out of its route: ${normalised}`
  if (userId !== (authorized ? id : undefined)) return `the caller is ${String(userId)}`
  return tenant === (authorized ? 'acme' : undefined) ? undefined : `the tenant is ${String(tenant)}`
}

for (const kind of kinds) {
  t.test(`${kind.name} agrees with the gateway`, async (t: Test) => {
    // Else it would be no wonder that nothing passes.
    t.equal(await disagreement(kind, { path: '/x%20y;z?q=1', lines: [], authorized: true }), undefined)
    forwarded = 0
    await holds(t, `${kind.name}: no random request is read in another way`, 200, request, async (one) => await disagreement(kind, one))
    t.ok(forwarded > 20, `${forwarded} were forwarded`)
  })
}

for (const what of notRun) t.pass(what)
