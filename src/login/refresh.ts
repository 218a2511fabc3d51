/** A refresh token → its successor and a fresh access token, or 401; rotation and reuse are the session service's. */
import type { FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { TokenResponse } from '../sessions/session-service.ts'
import { Refusal } from '../errors.ts'
import { step } from '../steps.ts'
import { bodyLimit, jsonObject, textMember } from './body.ts'
import { onlyTokens } from './login.ts'
import { callerFacts, ownClientId, type LoginServices } from './login-services.ts'

/** `POST /auth/refresh`, JSON `{refresh_token}`. */
export function refresh (services: LoginServices): RouteHandlerMethod {
  return async function refresh (request) {
    const refreshToken = textMember(jsonObject(request.body), 'refresh_token', bodyLimit)
    return await renew(services, { refreshToken, clientId: null }, request)
  }
}

/** Also the refresh grant of `/oauth/token`. Refusal: GW_REFRESH_TOKEN_INVALID. */
export async function renew (
  { sessions, audit }: LoginServices,
  { refreshToken, clientId }: { readonly refreshToken: string, readonly clientId: string | null },
  request: FastifyRequest
): Promise<TokenResponse> {
  const facts = { ...callerFacts(request), client_id: clientId }
  // RFC 6749 §6: a refresh token is bound to the client it was issued to. One that no client asked for is bound to none.
  const mayUse = (sessionClientId: string) => sessionClientId === ownClientId || sessionClientId === clientId
  try {
    const { tokens, sessionId, subject, outcome } = await sessions.refresh(refreshToken, { clientId, mayUse })
    audit({ ...facts, event: 'refresh', outcome, subject, session_id: sessionId })
    step('refresh: to be answered')
    return onlyTokens(tokens)
  } catch (thrown) {
    if (thrown instanceof Refusal && thrown.code === 'GW_REFRESH_TOKEN_INVALID') audit({ ...facts, event: 'refresh_failed', reason: thrown.details.reason ?? 'unknown' })
    throw thrown
  }
}
