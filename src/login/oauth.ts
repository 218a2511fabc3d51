/** Token, revocation and introspection endpoint: the services of /auth/* under RFC 6749, 7009 and 7662. */
import type { RouteHandlerMethod } from 'fastify'
import type { TokenResponse } from '../sessions/session-service.ts'
import type { Identity } from '../tokens/identity.ts'
import { Refusal } from '../errors.ts'
import { bodyLimit, formOf, formParameter, type Form } from './body.ts'
import type { AuthenticateClient } from './client-authentication.ts'
import { logIn, longestUsername } from './login.ts'
import { callerFacts, ownClientId, type LoginServices } from './login-services.ts'
import { readStrictJson } from '../tokens/strict-json.ts'
import { renew } from './refresh.ts'

/** `POST /oauth/token`. */
export function token (services: LoginServices, authenticateClient: AuthenticateClient): RouteHandlerMethod {
  return async function token (request) {
    const form = formOf(request.body)
    const grantType = formParameter(form, 'grant_type', bodyLimit)
    const client = authenticateClient(request, form)
    if (grantType === 'password') {
      const username = formParameter(form, 'username', longestUsername)
      const password = formParameter(form, 'password', bodyLimit)
      const login = { username, password, clientId: client?.id ?? ownClientId }
      return withScope(services, form, await logIn(services, login, request).catch(asInvalidGrant))
    }
    if (grantType === 'refresh_token') {
      const refreshToken = formParameter(form, 'refresh_token', bodyLimit)
      return withScope(services, form, await renew(services, { refreshToken, clientId: client?.id ?? null }, request).catch(asInvalidGrant))
    }
    throw new Refusal('GW_GRANT_UNSUPPORTED')
  }
}

/** `POST /oauth/revoke`. Holding the token is enough; a client that names itself must still prove it (RFC 7009 §2.1). */
export function revoke (services: LoginServices, authenticateClient: AuthenticateClient): RouteHandlerMethod {
  return async function revoke (request, reply) {
    const form = formOf(request.body)
    const client = authenticateClient(request, form)
    const ended = await endSessionOf(services, formParameter(form, 'token', bodyLimit))
    if (ended !== null) services.audit({ ...callerFacts(request), event: 'revoked', client_id: client?.id ?? null, subject: ended.subject, session_id: ended.sessionId })
    // RFC 7009 §2.2: 200 for a token that was never valid, too.
    return await reply.code(200).send()
  }
}

/** `POST /oauth/introspect`: for confidential clients alone (RFC 7662 §2.1), so that tokens cannot be fished for. */
export function introspect (services: LoginServices, authenticateClient: AuthenticateClient, issuer: string): RouteHandlerMethod {
  return async function introspect (request) {
    const form = formOf(request.body)
    const client = authenticateClient(request, form)
    if (client?.confidential !== true) throw new Refusal('GW_CLIENT_INVALID', { reason: 'introspection is for confidential clients' })
    const token = formParameter(form, 'token', bodyLimit)
    const identity = proven(services, token)
    // Another issuer's token is for that issuer to vouch for.
    if (identity !== null) return identity.sessionId === null ? { active: false } : accessTokenView(token, identity)
    const session = await services.sessions.inspect(token)
    if (session === null) return { active: false }
    const { sessionId, subject, clientId, expiresAt } = session
    return { active: true, client_id: clientId, sub: subject, iss: issuer, exp: Math.floor(expiresAt / 1000), sid: sessionId }
  }
}

/** RFC 6749 §5.2: here a wrong password and a dead refresh token are one error, with status 400. */
function asInvalidGrant (thrown: unknown): never {
  if (thrown instanceof Refusal && (thrown.code === 'GW_CREDENTIALS_INVALID' || thrown.code === 'GW_REFRESH_TOKEN_INVALID')) {
    throw new Refusal('GW_GRANT_INVALID', thrown.details)
  }
  throw thrown
}

/** RFC 6749 §3.3: the scope asked for may be ignored, as here it is; then §5.1 has the answer say what was granted. */
function withScope ({ verify }: LoginServices, form: Form, tokens: TokenResponse): TokenResponse & { scope?: string } {
  const asked = form.get('scope')
  if (asked === undefined) return tokens
  const scope = verify(tokens.access_token).scopes.join(' ')
  return scope === asked ? tokens : { ...tokens, scope }
}

/** `token_type_hint` is not needed to tell the two kinds apart (RFC 7009 §2.1 leaves that to the server). */
async function endSessionOf (services: LoginServices, token: string): Promise<{ sessionId: string, subject: string } | null> {
  const identity = proven(services, token)
  if (identity === null) return await services.sessions.endByRefreshToken(token, 'revoked')
  const { sessionId, subject } = identity
  // RFC 7009 §2.2.1: another issuer's token has no session here.
  if (sessionId === null) throw new Refusal('GW_TOKEN_TYPE_UNSUPPORTED')
  return await services.sessions.endById(sessionId, 'revoked', subject) ? { sessionId, subject } : null
}

/** null for what is no access token, and for one that has expired or whose session has ended. */
function proven ({ verify }: LoginServices, token: string): Identity | null {
  try {
    return verify(token)
  } catch (thrown) {
    if (thrown instanceof Refusal) return null
    throw thrown
  }
}

/** RFC 7662 §2.2. What the token says itself, which is proven: an identity has kept what headers and rules ask for. */
function accessTokenView (token: string, { scopes }: Identity): Readonly<Record<string, unknown>> {
  const claims = payloadOf(token)
  const shown = ['client_id', 'username', 'exp', 'iat', 'nbf', 'sub', 'aud', 'iss', 'jti', 'sid', 'roles']
  return {
    active: true,
    token_type: 'Bearer',
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    ...Object.fromEntries(shown.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]])),
  }
}

function payloadOf (token: string): Readonly<Record<string, unknown>> {
  const [, payload = ''] = token.split('.')
  const read = readStrictJson(Buffer.from(payload, 'base64url'))
  if ('fault' in read) throw new Error('a token that was verified cannot be read')
  return read.value as Readonly<Record<string, unknown>>
}
