/** What anybody may know of this server: its public keys (RFC 7517) and where its endpoints are (RFC 8414). */
import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { KeyRing } from '../tokens/key-ring.ts'

/** `GET /.well-known/jwks.json`. The next key stands in it before it signs, so a copy of five minutes' age will do. */
export function jwks (keyRing: Pick<KeyRing, 'publicKeys'>): RouteHandlerMethod {
  return async function jwks (request, reply) {
    return await publish(JSON.stringify({ keys: keyRing.publicKeys() }), 'application/jwk-set+json', request, reply)
  }
}

/** `GET /.well-known/oauth-authorization-server`. */
export function metadata (issuer: string): RouteHandlerMethod {
  const body = JSON.stringify(authorizationServer(issuer))
  return async function metadata (request, reply) {
    return await publish(body, 'application/json; charset=utf-8', request, reply)
  }
}

/** RFC 8414 §3.1: where a client looks for the metadata of an issuer with a path is between its host and its path. */
export function metadataPaths (issuer: string): readonly string[] {
  const path = new URL(issuer).pathname.replace(/(?<!\/)\/+$/, '')
  const wellKnown = '/.well-known/oauth-authorization-server'
  // A proxy before this server may have cut the path off: then it is found at the plain place.
  return path === '' ? [wellKnown] : [wellKnown, wellKnown + path]
}

function authorizationServer (issuer: string): Readonly<Record<string, unknown>> {
  const base = issuer.replace(/(?<!\/)\/+$/, '')
  const authentication = ['client_secret_basic', 'client_secret_post']
  return {
    issuer,
    token_endpoint: `${base}/oauth/token`,
    token_endpoint_auth_methods_supported: [...authentication, 'none'],
    jwks_uri: `${base}/.well-known/jwks.json`,
    // RFC 8414 §2 requires the member; there is no authorization endpoint, so no response type either.
    response_types_supported: [],
    grant_types_supported: ['password', 'refresh_token'],
    revocation_endpoint: `${base}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: [...authentication, 'none'],
    introspection_endpoint: `${base}/oauth/introspect`,
    introspection_endpoint_auth_methods_supported: authentication,
  }
}

async function publish (body: string, type: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  reply.removeHeader('pragma')
  // Public by nature: a page on another origin may read it too.
  reply.headers({ 'cache-control': 'public, max-age=300', etag, 'access-control-allow-origin': '*' })
  if (matches(request.headers['if-none-match'], etag)) return await reply.code(304).send()
  // As bytes, for to text Fastify adds a charset, which application/jwk-set+json does not have.
  return await reply.type(type).send(Buffer.from(body))
}

/** RFC 9110 §13.1.2. */
function matches (ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  return ifNoneMatch.trim() === '*' || ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === etag)
}
