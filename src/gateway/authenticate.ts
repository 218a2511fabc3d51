/** 2  who is calling?   the bearer token of the request → request.identity, or 401. */
import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { askPatiently, Refusal } from '../errors.ts'
import type { Identity, Verify } from '../tokens/identity.ts'
import { isHeader } from './header-names.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Filled by authenticate(); null on public routes, and without a token where it is optional. */
    identity: Identity | null
  }
}

export function authenticate (verify: Verify): onRequestHookHandler {
  return function authenticate (request, _reply, done) {
    const token = request.route?.access.token
    if (token === 'none') {
      done()
      return
    }
    const bearer = bearerToken(request)
    if (bearer !== null) {
      const identity = askPatiently(verify, bearer)
      if (identity instanceof Promise) {
        awaitIdentity(identity, request, done)
        return
      }
      request.identity = identity
    } else if (token !== 'optional') {
      throw new Refusal('GW_TOKEN_MISSING')
    }
    done()
  }
}

/** The keys of another issuer are being fetched: this one request waits for them, and no other. */
function awaitIdentity (identity: Promise<Identity>, request: FastifyRequest, done: (error?: Error) => void): void {
  identity.then((known) => {
    request.identity = known
    // Who went away meanwhile gets nothing done.
    done(request.raw.socket.destroyed ? new Refusal('GW_REQUEST_INVALID', { reason: 'the client went away' }) : undefined)
  }, done)
}

/**
 * The token of `Authorization: Bearer …` (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1); null without one,
 * or with credentials of another scheme. Tokens in the query or in a form are not looked for (RFC 6750 §5.3).
 */
export function bearerToken (request: Pick<FastifyRequest, 'raw'>): string | null {
  const credentials = request.raw.headers.authorization
  if (credentials === undefined) return null
  if (!credentials.startsWith('Bearer ') && credentials.slice(0, 7).toLowerCase() !== 'bearer ') {
    if (credentials.toLowerCase().trim() === 'bearer') throw new Refusal('GW_TOKEN_INVALID', { reason: 'empty bearer credentials' })
    assertSingle(request.raw.rawHeaders)
    return null
  }
  assertSingle(request.raw.rawHeaders)
  let start = 7
  while (credentials.charCodeAt(start) === 0x20) start++
  return credentials.slice(start)
}

/** Node keeps the first of several Authorization headers without a word; an upstream may have kept the last. */
function assertSingle (raw: readonly string[]): void {
  let seen = 0
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? ''
    if (isHeader(name, 'authorization', 'Authorization') && ++seen > 1) {
      throw new Refusal('GW_TOKEN_INVALID', { reason: 'several Authorization headers' })
    }
  }
}
