/** A refresh token or a bearer token → its session is over, everywhere; telling others of it is the session service's. */
import type { FastifyRequest, RouteHandlerMethod } from 'fastify'
import { askPatiently, Refusal } from '../errors.ts'
import { bodyLimit, jsonObject, textMember } from './body.ts'
import { callerFacts, type LoginServices } from './login-services.ts'

/**
 * `POST /auth/logout`. A refresh token that is unknown, or whose session has ended, is a logout that has been: 204.
 * An access token that proves nothing is refused instead: 204 would say that a session is over which may go on.
 */
export function logout (services: LoginServices): RouteHandlerMethod {
  return async function logout (request, reply) {
    const body = request.body === undefined ? {} : jsonObject(request.body)
    if (Object.hasOwn(body, 'refresh_token')) await endByRefreshToken(services, textMember(body, 'refresh_token', bodyLimit), request)
    else await endByAccessToken(services, request)
    return await reply.code(204).send()
  }
}

async function endByRefreshToken ({ sessions, audit }: LoginServices, refreshToken: string, request: FastifyRequest): Promise<void> {
  const ended = await sessions.endByRefreshToken(refreshToken, 'logout')
  if (ended !== null) audit({ ...callerFacts(request), event: 'logout', subject: ended.subject, session_id: ended.sessionId })
}

async function endByAccessToken ({ sessions, verify, bearerToken, audit }: LoginServices, request: FastifyRequest): Promise<void> {
  const token = bearerToken(request)
  if (token === null) throw new Refusal('GW_BODY_INVALID', { reason: 'neither a refresh token nor a bearer token' })
  try {
    const { sessionId, subject } = await askPatiently(verify, token)
    // Its login is elsewhere, and goes on there.
    if (sessionId === null) throw new Refusal('GW_ACCESS_DENIED', { reason: 'a token of another issuer has no session here' })
    if (await sessions.endById(sessionId, 'logout', subject)) {
      audit({ ...callerFacts(request), event: 'logout', subject, session_id: sessionId })
    }
  } catch (thrown) {
    if (!(thrown instanceof Refusal && thrown.code === 'GW_SESSION_ENDED')) throw thrown
  }
}
