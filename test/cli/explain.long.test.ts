import t from 'tap'
import { cli, configFolder, password, startCli } from './running-cli.ts'

const upstream = 'http://127.0.0.1:3000'
const routes = [
  { path: '/', upstream, access: 'public' },
  { path: '/api', upstream, access: 'authenticated' },
  { path: '/admin', upstream: 'http://127.0.0.1:3001', access: { roles: ['admin'] }, stripPrefix: true, methods: ['GET'] },
]

interface Explanation {
  readonly request: string
  readonly route: string | null
  readonly rule: string | null
  readonly caller: string | null
  readonly decision: string | { readonly status: number, readonly code: string, readonly error: string, readonly reason: string }
  readonly upstream: { readonly origin: string, readonly request: readonly string[] } | null
}

t.test('explain prints route, rule, decision, and the upstream request it would send', async (t) => {
  const folder = configFolder(t, { routes })
  const explain = async (...args: readonly string[]) => JSON.parse((await cli(folder, ['explain', ...args, '--json'])).stdout) as Explanation

  t.match(await explain('GET', '/public?x=1', '-H', 'X-User-Id: mallory', '-H', 'x_user_roles: admin', '-H', 'Accept: text/plain'), {
    route: /^\/ \(\.\/config\.yaml:\d+:\d+\)$/,
    rule: 'public',
    decision: 'forwarded',
    upstream: { origin: upstream, request: ['GET /public?x=1 HTTP/1.1', 'Host: 127.0.0.1:3000', 'Accept: text/plain'] },
  })
  t.match(await explain('get', '/admin/x'), { request: 'GET /admin/x', rule: '{"roles":["admin"]}', decision: { status: 401, code: 'GW_TOKEN_MISSING' }, upstream: null })
  t.match(await explain('POST', '/admin/x'), { route: null, decision: { status: 405, code: 'GW_METHOD_NOT_ALLOWED' } })
  t.match(await explain('GET', '/api/../admin'), { route: /^\/api \(/, decision: { status: 400, code: 'GW_PATH_AMBIGUOUS' } })
  t.match(await explain('GET', '/api', '--token', 'nonsense'), { decision: { status: 401, code: 'GW_TOKEN_INVALID' } })
  t.match(await explain('POST', '/auth/login'), { route: null, decision: 'answered by the gateway itself' })
  // RFC 8414 §3.1: with the issuer's path behind it.
  t.match(await explain('GET', '/.well-known/oauth-authorization-server/tenant'), { route: /^\/ /, decision: 'forwarded' })
  const ofTenant = configFolder(t, { routes, issuer: 'https://login.example.com/tenant' })
  t.match(JSON.parse((await cli(ofTenant, ['explain', 'GET', '/.well-known/oauth-authorization-server/tenant', '--json'])).stdout), { route: null, decision: 'answered by the gateway itself' })
})

t.test('with the token of a caller it says whether the rule lets that one through, and as whom', async (t) => {
  const folder = configFolder(t, { routes })
  const running = await startCli(t, folder)
  t.equal((await cli(folder, ['users', 'add', 'alice', '--password-stdin', '--role', 'editor'], password)).code, 0)
  const answer = await fetch(`${running.url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'alice', password }) })
  const { access_token: token } = await answer.json() as { access_token: string }

  const passed = await cli(folder, ['explain', 'GET', '/api/x', '--token', '-'], token)
  t.equal(passed.code, 0, passed.stderr)
  t.match(passed.stdout, /^decision {2}forwarded$/m)
  t.match(passed.stdout, /^ +X-User-Id: [0-9a-f-]{36}$/m)
  t.match(passed.stdout, /^ +X-User-Roles: editor$/m)
  t.notMatch(passed.stdout, token, 'the token is not repeated')

  const refused = await cli(folder, ['explain', 'GET', '/admin/x', '--token', token])
  t.match(refused.stdout, /^decision {2}403 GW_ACCESS_DENIED \(insufficient_scope\): needs .*admin.*editor/m)

  await fetch(`${running.url}/auth/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  const ended = await cli(folder, ['explain', 'GET', '/api/x', '--token', token])
  t.match(ended.stdout, /^decision {2}401 GW_SESSION_ENDED/m, 'a session that has ended is known here too')
})
