/**
 * CVE-2025-64484 (oauth2-proxy) and its kind: a client sends `X_User_Id: admin`, the gateway sees a name it does not know and
 * passes it on beside its own X-User-Id, and an upstream behind CGI, WSGI or PHP folds both to HTTP_X_USER_ID. Or the identity
 * header is only overwritten where a token was shown, and a public route passes the client's copy. Here every spelling of
 * every identity name of any route, and all under the reserved prefixes, is gone on every route, whoever calls.
 */
import t, { type Test } from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const spellings = [
  'X-User-Id', 'x-user-id', 'X-USER-ID', 'x_user_id', 'X_User-Id', 'x-user_id', 'x.user.id', 'x~user~id', 'X--User--Id', 'x-user-id-', "x'user'id",
  'HTTP_X_USER_ID', 'http-x-user-id', 'X-User-Roles', 'x_user_roles', 'X-User-Email', 'X_USER_ANYTHING', 'X-Tenant', 'x_tenant', 'X.Tenant', 'X-Tenant-', 'X_Tenant_', '-X-Tenant', '_X_TENANT',
  'X-Gatewarden-Identity', 'X_Gatewarden_X', 'Remote-User', 'X-Remote-User', 'REMOTE_USER',
]

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  routes: [
    { path: '/public', upstream: upstream.url, access: 'public' },
    { path: '/optional', upstream: upstream.url, access: 'optional' },
    { path: '/api', upstream: upstream.url, access: 'authenticated', identity: { headers: { 'X-User-Id': 'sub', 'X-Tenant': 'tenant' } } },
  ],
})

/** What a server that folds names as CGI does would tell its application. */
function folded (rawHeaders: readonly string[]): Map<string, string[]> {
  const variables = new Map<string, string[]>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toUpperCase().replace(/[^A-Z0-9]/g, '_')
    variables.set(name, [...variables.get(name) ?? [], rawHeaders[index + 1] ?? ''])
  }
  return variables
}

async function nothingOfMallory (t: Test, path: string, extra: string) {
  for (const spelling of spellings) {
    const response = await rawRequest(gateway.port, `POST ${path} HTTP/1.1\r\nHost: a\r\n${spelling}: mallory\r\n${extra}${spelling}: mallory\r\nContent-Length: 0\r\n\r\n`)
    t.equal(response.status, 200, spelling)
    const seen = upstream.seen.at(-1)
    t.notOk(seen?.rawHeaders.includes('mallory'), `${spelling} on ${path}`)
  }
}

t.test('on a public route nothing of it arrives', async (t) => { await nothingOfMallory(t, '/public', '') })
t.test('on an optional route without a token nothing of it arrives', async (t) => { await nothingOfMallory(t, '/optional', '') })
t.test('on a protected route the upstream sees the true identity, and it alone', async (t) => {
  const token = await gateway.token('root')
  await nothingOfMallory(t, '/api', `Authorization: Bearer ${token}\r\n`)
  const variables = folded(upstream.seen.at(-1)?.rawHeaders ?? [])
  t.equal(variables.get('X_USER_ID')?.length, 1)
  t.strictSame(variables.get('X_TENANT'), ['acme'])
})
t.test('a user without the attribute cannot supply it', async (t) => {
  const token = await gateway.token('alice')
  await nothingOfMallory(t, '/api', `Authorization: Bearer ${token}\r\n`)
  t.notOk(folded(upstream.seen.at(-1)?.rawHeaders ?? []).has('X_TENANT'))
})
t.test('a token that is bad on an optional route is refused, not passed over', async (t) => {
  const before = upstream.seen.length
  const response = await rawRequest(gateway.port, 'GET /optional HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x.y.z\r\nX-User-Id: mallory\r\n\r\n')
  t.equal(response.status, 401)
  t.equal(upstream.seen.length, before)
})
t.test('trailers of a request carry nothing through', async (t) => {
  await rawRequest(gateway.port, 'POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n2\r\nhi\r\n0\r\nX-User-Id: mallory\r\nX_User_Roles: admin\r\n\r\n')
  const seen = upstream.seen.at(-1)
  t.equal(seen?.body, 'hi')
  t.notOk(seen?.trailers.includes('mallory'))
  t.notOk(seen?.rawHeaders.includes('mallory'))
})
t.test('header values that could split are refused before anything else', async (t) => {
  const before = upstream.seen.length
  for (const line of ['X-A: b\rX-User-Id: mallory', 'X-A: b\nX-User-Id: mallory', 'X-A: b\x00c', 'X-A: b\r\n X-User-Id: mallory', 'X-User-Id : mallory', 'X User-Id: mallory', ': mallory', 'X-User-Id\x00: mallory']) {
    const response = await rawRequest(gateway.port, `GET /public HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`)
    t.equal(response.status, 400, JSON.stringify(line))
  }
  t.equal(upstream.seen.length, before)
})
t.test('of all bytes in a value, a control character is refused, and any other one arrives as it is', async (t) => {
  for (let byte = 0; byte < 256; byte++) {
    const value = `a${String.fromCharCode(byte)}b`
    const before = upstream.seen.length
    const response = await rawRequest(gateway.port, `GET /public HTTP/1.1\r\nHost: a\r\nX-A: ${value}\r\nX-B: c\r\n\r\n`)
    const isControl = (byte < 0x20 && byte !== 0x09) || byte === 0x7f
    t.equal(response.status, isControl ? 400 : 200, `byte ${byte}`)
    t.equal(upstream.seen.length - before, isControl ? 0 : 1)
    if (isControl) continue
    const seen = upstream.seen.at(-1)?.rawHeaders ?? []
    t.strictSame(seen.slice(seen.indexOf('X-A'), seen.indexOf('X-A') + 4), ['X-A', value, 'X-B', 'c'])
  }
})
t.test('what would change path, method or caller for the upstream does not arrive', async (t) => {
  const names = ['X-Original-URL', 'X-Rewrite-URL', 'x_original_url', 'X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'Forwarded', 'X-Real-IP', 'True-Client-IP', 'X-Forwarded-User', 'X-Forwarded-Port', 'X_Forwarded_For', 'Proxy']
  for (const name of names) {
    await rawRequest(gateway.port, `GET /public HTTP/1.1\r\nHost: a\r\n${name}: mallory\r\n\r\n`)
    t.notOk(upstream.seen.at(-1)?.rawHeaders.includes('mallory'), name)
  }
})
