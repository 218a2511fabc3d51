/** The scope of the token endpoints: their paths, what bodies they take, and the headers of all that they answer. */
import type { FastifyPluginAsync } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { KeyRing } from '../tokens/key-ring.ts'
import { createAccountTag } from './account-tag.ts'
import { takeForms, takeJson } from './body.ts'
import { createClientAuthentication } from './client-authentication.ts'
import { endpoint, type Observe } from './endpoint.ts'
import type { LoginServices } from './login-services.ts'
import { login } from './login.ts'
import { logout } from './logout.ts'
import { introspect, revoke, token } from './oauth.ts'
import { refresh } from './refresh.ts'
import { deleteSession, listSessions } from './sessions.ts'
import { verify, type ForwardAuth } from './verify.ts'
import { jwks, metadata, metadataPaths } from './well-known.ts'

export interface LoginApiOptions extends Omit<LoginServices, 'accountTag'> {
  readonly config: Pick<Config, 'issuer' | 'clients'>
  readonly keyRing: Pick<KeyRing, 'publicKeys'>
  readonly forwardAuth: ForwardAuth
  /** 32 bytes, the same after a restart: the log calls accounts by an HMAC under it. */
  readonly accountKey: Buffer
  /** Called once for each path, at boot. */
  readonly observe?: Observe
  /** Milliseconds that a body may take. */
  readonly bodyTimeout?: number
}

/** Needs the error handler around it, and every method that the server is to know added before it. */
export const loginApi: FastifyPluginAsync<LoginApiOptions> = async (app, options) => {
  const { config, keyRing, forwardAuth, accountKey, observe = () => () => {}, bodyTimeout = 30_000 } = options
  const services: LoginServices = { ...options, accountTag: createAccountTag(accountKey) }
  const authenticateClient = createClientAuthentication(config.clients)

  app.addHook('onRequest', function ownHeaders (request, reply, done) {
    reply.headers({
      // RFC 6749 §5.1; Pragma for caches of HTTP/1.0.
      'cache-control': 'no-store',
      'pragma': 'no-cache',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
      'x-request-id': request.id,
    })
    done()
  })

  app.addHook('preParsing', function awaitBody (request, reply, payload, next) {
    // The listener leaves it to whoever reads the body to ask for it (RFC 9110 §10.1.1), and to lose patience.
    if (request.headers.expect !== undefined && request.raw.httpVersionMinor === 1) reply.raw.writeContinue()
    const late = setTimeout(() => { reply.header('connection', 'close').send(new Refusal('GW_REQUEST_TIMEOUT', { reason: 'the body did not arrive' })) }, bodyTimeout)
    payload.once('end', () => { clearTimeout(late) })
    // However it ends: a body that nobody reads, as that of a GET, never does.
    reply.raw.once('close', () => { clearTimeout(late) })
    next(null, payload)
  })

  await app.register(async (scope) => {
    takeJson(scope)
    endpoint(scope, '/auth/login', { POST: login(services) }, observe)
    endpoint(scope, '/auth/refresh', { POST: refresh(services) }, observe)
    endpoint(scope, '/auth/logout', { POST: logout(services) }, observe)
    endpoint(scope, '/auth/sessions', { GET: listSessions(services) }, observe)
    endpoint(scope, '/auth/sessions/:id', { DELETE: deleteSession(services) }, observe)
    endpoint(scope, '/auth/verify', { GET: verify(services, forwardAuth) }, observe)
    endpoint(scope, '/.well-known/jwks.json', { GET: jwks(keyRing) }, observe)
    for (const path of metadataPaths(config.issuer)) endpoint(scope, path, { GET: metadata(config.issuer) }, observe)
  })

  await app.register(async (scope) => {
    takeForms(scope)
    endpoint(scope, '/oauth/token', { POST: token(services, authenticateClient) }, observe)
    endpoint(scope, '/oauth/revoke', { POST: revoke(services, authenticateClient) }, observe)
    endpoint(scope, '/oauth/introspect', { POST: introspect(services, authenticateClient, config.issuer) }, observe)
  })
}
