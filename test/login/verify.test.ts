import t, { type Test } from 'tap'
import Fastify, { LogController, type FastifyInstance } from 'fastify'
import { Refusal } from '../../src/errors.ts'
import { bearerToken } from '../../src/gateway/authenticate.ts'
import { endpoint } from '../../src/login/endpoint.ts'
import type { LoginServices } from '../../src/login/login-services.ts'
import { verify, type ForwardAuth, type ForwardedRoute } from '../../src/login/verify.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { compileAccess } from '../../src/routes/access.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { audience, issuer, keyRingOf, makeKey, someTime, validToken } from '../helpers/tokens.ts'
import { createLogSink } from '../ops/log-sink.ts'

const key = await makeKey('ES256')
const verifyToken = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 0, now: () => someTime })
const token = (claims = {}) => validToken(key.signing, someTime, claims)
const bearer = (claims = {}) => ({ authorization: `Bearer ${token(claims)}` })

const access = {
  '/public': compileAccess('public'),
  '/optional': compileAccess('optional'),
  '/api': compileAccess('authenticated'),
  '/admin': compileAccess({ roles: ['admin'] }),
  '/orders': compileAccess({ scopes: ['orders:read'] }),
}

const routes = new Map<string, ForwardedRoute>(Object.entries(access).map(([path, rule]) => [
  path, { ...rule, identityHeaders: ({ subject }) => [['X-Route-User', subject]] },
]))

function forwardAuth (trusted: boolean): ForwardAuth {
  return {
    trustsProxy: (address) => trusted && address === '127.0.0.1',
    identityHeaders: ({ subject, roles }) => [['X-User-Id', subject], ['X-User-Roles', roles.join(',')]],
    isIdentityHeader: (name) => /^x.(?:user|route)/i.test(name),
    matchRoute (method, uri) {
      if (uri.includes('..')) throw new Refusal('GW_PATH_AMBIGUOUS')
      const route = routes.get(uri.split('?')[0] ?? '')
      if (route === undefined) return null
      return method === 'PATCH' ? 'denied' : route
    },
  }
}

async function start (t: Test, { trusted = true } = {}) {
  const app = Fastify({ loggerInstance: createLogSink().logger, logController: new LogController({ disableRequestLogging: true }) }) as unknown as FastifyInstance
  await app.register(errorHandler, { refuse: createRefuse({ realm: issuer }) })
  // Of the services, this endpoint uses these two.
  const services = { verify: verifyToken, bearerToken } as unknown as LoginServices
  await app.register(async (scope) => { endpoint(scope, '/auth/verify', { GET: verify(services, forwardAuth(trusted)) }, () => () => {}) })
  t.teardown(() => app.close())
  return (headers: Record<string, string | string[]> = {}, query = '') => app.inject({ url: `/auth/verify${query}`, headers })
}

const forwarded = (uri: string, method = 'GET') => ({ 'x-forwarded-method': method, 'x-forwarded-uri': uri })

t.test('GET /auth/verify answers 200 with the identity headers for a good token', async (t) => {
  const ask = await start(t)
  const answer = await ask(bearer())
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['x-user-id'], 'user-1')
  t.equal(answer.headers['x-user-roles'], 'reader')
  t.equal(answer.body, '')
})

t.test('GET /auth/verify answers 401 without a token, and for a bad one', async (t) => {
  const ask = await start(t)
  const none = await ask()
  t.equal(none.statusCode, 401)
  t.equal(none.json().code, 'GW_TOKEN_MISSING')
  t.equal(none.headers['www-authenticate'], `Bearer realm="${issuer}"`)
  const bad = await ask({ authorization: `Bearer ${token()}x` })
  t.equal(bad.statusCode, 401)
  t.match(bad.headers['www-authenticate'], 'error="invalid_token"')
  t.notOk('x-user-id' in bad.headers)
  t.equal((await ask({ authorization: 'Basic YTpi' })).json().code, 'GW_TOKEN_MISSING')
  t.equal((await ask(bearer({ iat: someTime / 1000 - 900, exp: someTime / 1000 - 600 }))).json().code, 'GW_TOKEN_EXPIRED')
})

t.test('behind a trusted proxy the rule of the route applies, and its identity headers', async (t) => {
  const ask = await start(t)
  const answer = await ask({ ...bearer(), ...forwarded('/api?x=1') })
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['x-route-user'], 'user-1')
  t.notOk('x-user-id' in answer.headers)
  t.equal((await ask(forwarded('/api'))).statusCode, 401)
})

t.test('a public route is 200 without identity, with a token or without or with a bad one', async (t) => {
  const ask = await start(t)
  for (const headers of [{}, bearer(), { authorization: 'Bearer bad' }]) {
    const answer = await ask({ ...headers, ...forwarded('/public') })
    t.equal(answer.statusCode, 200)
    t.notOk('x-route-user' in answer.headers)
  }
})

t.test('an optional route: a valid token is used, none is fine, a bad one is refused', async (t) => {
  const ask = await start(t)
  t.equal((await ask({ ...bearer(), ...forwarded('/optional') })).headers['x-route-user'], 'user-1')
  const none = await ask(forwarded('/optional'))
  t.equal(none.statusCode, 200)
  t.notOk('x-route-user' in none.headers)
  t.equal((await ask({ authorization: 'Bearer bad', ...forwarded('/optional') })).statusCode, 401)
})

t.test('a rule that does not hold is 403 insufficient_scope', async (t) => {
  const ask = await start(t)
  const roles = await ask({ ...bearer(), ...forwarded('/admin') })
  t.equal(roles.statusCode, 403)
  t.match(roles.json(), { error: 'insufficient_scope', code: 'GW_ACCESS_DENIED' })
  t.notOk('x-route-user' in roles.headers)
  const scopes = await ask({ ...bearer(), ...forwarded('/orders') })
  t.match(scopes.headers['www-authenticate'], 'error="insufficient_scope"')
  t.match(scopes.headers['www-authenticate'], 'scope="orders:read"')
  t.equal((await ask({ ...bearer({ roles: ['admin'] }), ...forwarded('/admin') })).statusCode, 200)
})

t.test('a method that the path does not take is 403', async (t) => {
  const ask = await start(t)
  t.equal((await ask({ ...bearer(), ...forwarded('/api', 'PATCH') })).statusCode, 403)
})

t.test('a path that leads to no route needs a token all the same', async (t) => {
  const ask = await start(t)
  t.equal((await ask(forwarded('/elsewhere'))).statusCode, 401)
  t.equal((await ask({ ...bearer(), ...forwarded('/elsewhere') })).headers['x-user-id'], 'user-1')
})

t.test('a path that can be read in two ways is refused', async (t) => {
  const ask = await start(t)
  t.equal((await ask({ ...bearer(), ...forwarded('/public/../admin') })).statusCode, 400)
})

t.test('a peer that is no trusted proxy is not believed about the request: it needs a token for any path', async (t) => {
  const ask = await start(t, { trusted: false })
  t.equal((await ask(forwarded('/public'))).statusCode, 401)
  t.equal((await ask({ ...bearer(), ...forwarded('/admin') })).headers['x-user-id'], 'user-1')
})

t.test('a method without a URI, a URI without a method, and either twice are refused', async (t) => {
  const ask = await start(t)
  const wrong = [{ 'x-forwarded-uri': '/public' }, { 'x-forwarded-method': 'GET' }, { 'x-forwarded-method': ['GET', 'GET'], 'x-forwarded-uri': '/public' }, { 'x-forwarded-method': 'GET', 'x-forwarded-uri': ['/public', '/admin'] }]
  for (const headers of wrong) {
    const answer = await ask({ ...bearer(), ...headers })
    t.equal(answer.statusCode, 400)
    t.equal(answer.json().code, 'GW_HEADER_INVALID')
  }
})

t.test('?roles= and ?scopes= are demands on top: any value of a kind does, every kind must hold', async (t) => {
  const ask = await start(t)
  t.equal((await ask(bearer(), '?roles=admin,reader')).statusCode, 200)
  t.equal((await ask(bearer(), '?roles=admin')).statusCode, 403)
  t.equal((await ask(bearer(), '?roles=reader&scopes=orders:read')).statusCode, 403)
  t.equal((await ask(bearer({ scope: 'a orders:read' }), '?roles=reader&scopes=orders:read')).statusCode, 200)
  t.match((await ask(bearer(), '?scopes=b,c')).headers['www-authenticate'], 'scope="b c"')
  t.equal((await ask({ ...bearer(), ...forwarded('/api') }, '?roles=admin')).statusCode, 403)
})

t.test('a demand makes a public route need a token', async (t) => {
  const ask = await start(t)
  t.equal((await ask(forwarded('/public'), '?roles=reader')).statusCode, 401)
  t.equal((await ask({ ...bearer(), ...forwarded('/public') }, '?roles=reader')).statusCode, 200)
})

t.test('a demand that is mistyped, empty or given twice is refused, not passed over', async (t) => {
  const ask = await start(t)
  for (const query of ['?role=admin', '?roles=', '?roles=,', '?roles=reader&roles=admin', '?roles=reader&x=1', '?Roles=admin']) {
    t.equal((await ask(bearer(), query)).statusCode, 400, query)
  }
})
