/** Forward-auth: another proxy asks whether to let a request through, and as whom; the rules are those of the routes. */
import type { FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { Identity } from '../tokens/identity.ts'
import { askPatiently, Refusal } from '../errors.ts'
import { headerValues } from './header-values.ts'
import type { LoginServices } from './login-services.ts'

export interface ForwardAuth {
  /** Whether the peer's word about the request it asks for is taken. */
  readonly trustsProxy: (address: string | undefined) => boolean
  /**
   * The route that a request would take. `uri` is the target as the other proxy got it, query included, and `host` its Host.
   * `denied`: a path that is served, but not by this method. Throws a Refusal for a path that can be read in two ways.
   */
  readonly matchRoute: (method: string, uri: string, host: string) => ForwardedRoute | 'denied' | null
  /** The headers that tell an upstream who is calling, where no route says otherwise. */
  readonly identityHeaders: IdentityHeaders
  /** Whether a header of this name, in any spelling, could tell an upstream who is calling. */
  readonly isIdentityHeader: (name: string) => boolean
}

export interface ForwardedRoute {
  readonly token: 'none' | 'optional' | 'required'
  readonly allows: (identity: Identity) => boolean
  /** The scopes that would do, for the challenge of a 403. */
  readonly scope: string | null
  readonly identityHeaders: IdentityHeaders
}

export type IdentityHeaders = (identity: Identity) => Iterable<readonly [name: string, value: string]>

/**
 * `GET /auth/verify`: 200 with the identity headers, 401 or 403. A trusted proxy that sends X-Forwarded-Method and
 * X-Forwarded-Uri (Traefik and Caddy do) gets the rule of the route they lead to, at the host that X-Forwarded-Host says. Without them, from anybody else, or
 * where they lead nowhere, a token is needed. `?roles=a,b` and `?scopes=` in the URL that the proxy asks are demands of its
 * operator, on top: any value of a kind will do. 403 too where the client names a caller by itself.
 */
export function verify (services: LoginServices, forwardAuth: ForwardAuth): RouteHandlerMethod {
  return async function verify (request, reply) {
    const demands = readDemands(request.query)
    const route = forwardedRoute(forwardAuth, request)
    const identity = await identify(services, request, demands === null ? route?.token ?? 'required' : 'required')
    if (identity !== null) {
      if (route !== null && !route.allows(identity)) throw denied('the rule of the route', route.scope)
      if (demands !== null) assertDemands(identity, demands)
      for (const [name, value] of (route ?? forwardAuth).identityHeaders(identity)) reply.header(name, value)
    }
    assertNoneStays(request, forwardAuth, (name) => reply.hasHeader(name))
    return await reply.code(200).send()
  }
}

async function identify ({ bearerToken, verify }: LoginServices, request: FastifyRequest, token: ForwardedRoute['token']): Promise<Identity | null> {
  if (token === 'none') return null
  const bearer = bearerToken(request)
  if (bearer !== null) return await askPatiently(verify, bearer)
  if (token === 'optional') return null
  throw new Refusal('GW_TOKEN_MISSING')
}

function forwardedRoute ({ trustsProxy, matchRoute }: ForwardAuth, { raw }: FastifyRequest): ForwardedRoute | null {
  if (!trustsProxy(raw.socket.remoteAddress)) return null
  const methods = headerValues(raw, 'x-forwarded-method')
  const uris = headerValues(raw, 'x-forwarded-uri')
  if (methods.length === 0 && uris.length === 0) return null
  const [method] = methods
  const [uri] = uris
  // One without the other, or one twice: a proxy that adds to what its client sent, instead of replacing it.
  if (method === undefined || uri === undefined || methods.length + uris.length > 2) {
    throw new Refusal('GW_HEADER_INVALID', { reason: 'X-Forwarded-Method and X-Forwarded-Uri, once each' })
  }
  const [host = raw.headers.host ?? '', ...others] = headerValues(raw, 'x-forwarded-host')
  if (others.length > 0 || host.includes(',')) throw new Refusal('GW_HEADER_INVALID', { reason: 'X-Forwarded-Host, once' })
  const route = matchRoute(method, uri, host)
  if (route === 'denied') throw denied('the method, on this path', null)
  return route
}

/**
 * The other proxy copies what the answer says onto its client's request. What that names a caller with in another spelling, or where
 * the answer names nobody, would stay (Caddy: GHSA-7r4p-vjf4-gxv4, GHSA-f59h-q822-g45g), and it is the other proxy that forwards.
 */
function assertNoneStays ({ raw: { rawHeaders } }: FastifyRequest, { isIdentityHeader }: ForwardAuth, isAnswered: (name: string) => boolean): void {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (isIdentityHeader(name) && !isAnswered(name)) throw denied('an identity header of the client, which the answer does not replace', null)
  }
}

interface Demands { readonly roles: readonly string[] | null, readonly scopes: readonly string[] | null }

function readDemands (query: unknown): Demands | null {
  const entries = Object.entries(query ?? {})
  if (entries.length === 0) return null
  const demands: { roles: string[] | null, scopes: string[] | null } = { roles: null, scopes: null }
  for (const [name, value] of entries) {
    // A mistyped demand that is passed over lets everybody in.
    if (name !== 'roles' && name !== 'scopes') throw new Refusal('GW_REQUEST_INVALID', { reason: 'a query parameter other than roles and scopes' })
    const values = typeof value === 'string' ? value.split(',').map((one) => one.trim()).filter((one) => one !== '') : []
    if (values.length === 0) throw new Refusal('GW_REQUEST_INVALID', { reason: `${name} is empty, or given twice` })
    demands[name] = values
  }
  return demands
}

function assertDemands (identity: Identity, { roles, scopes }: Demands): void {
  if (roles !== null && !roles.some((role) => identity.roles.includes(role))) throw denied('the roles asked for', null)
  if (scopes !== null && !scopes.some((scope) => identity.scopes.includes(scope))) throw denied('the scopes asked for', scopes.join(' '))
}

function denied (reason: string, scope: string | null): Refusal {
  return new Refusal('GW_ACCESS_DENIED', { reason, ...(scope === null ? {} : { scope }) })
}
