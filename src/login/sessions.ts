/** The caller's own live sessions, listed and ended one by one; whose a session is, the session service checks. */
import type { FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { Identity } from '../tokens/identity.ts'
import { askPatiently, Refusal } from '../errors.ts'
import { callerFacts, type LoginServices } from './login-services.ts'

/** `GET /auth/sessions`. */
export function listSessions (services: LoginServices): RouteHandlerMethod {
  return async function listSessions (request) {
    const { subject, sessionId } = await whoever(services, request)
    const live = await services.sessions.listLive(subject)
    return { sessions: live.map((session) => ({ ...session, current: session.id === sessionId })) }
  }
}

/** `DELETE /auth/sessions/:id`. Another's session is as unknown as one that never was. */
export function deleteSession (services: LoginServices): RouteHandlerMethod {
  return async function deleteSession (request, reply) {
    const { subject } = await whoever(services, request)
    // A cast: the path that it is registered at has this parameter.
    const { id: sessionId } = request.params as { id: string }
    if (!await services.sessions.endById(sessionId, 'deleted', subject)) throw new Refusal('GW_SESSION_NOT_FOUND')
    services.audit({ ...callerFacts(request), event: 'session_deleted', subject, session_id: sessionId })
    return await reply.code(204).send()
  }
}

/** Somebody who is logged in here: another issuer's subject has no sessions, whatever it is called. */
async function whoever ({ bearerToken, verify }: LoginServices, request: Pick<FastifyRequest, 'raw'>): Promise<Identity> {
  const token = bearerToken(request)
  if (token === null) throw new Refusal('GW_TOKEN_MISSING')
  const identity = await askPatiently(verify, token)
  if (identity.sessionId === null) throw new Refusal('GW_ACCESS_DENIED', { reason: 'a token of another issuer has no session here' })
  return identity
}
