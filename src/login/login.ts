/** A name and a password → a session and its tokens, or 401; who knows the user, and how fast one may guess, is decided by the services. */
import type { FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { ChainVerdict } from '../credentials/credential-chain.ts'
import type { Subject } from '../credentials/credential-source.ts'
import type { TokenResponse } from '../sessions/session-service.ts'
import { Refusal } from '../errors.ts'
import { step } from '../steps.ts'
import { jsonObject, textMember, bodyLimit } from './body.ts'
import { callerFacts, ownClientId, type LoginServices } from './login-services.ts'

export interface Login {
  readonly username: string
  readonly password: string
  readonly clientId: string
}

/** UTF-16 units. */
export const longestUsername = 256
/** UTF-8 bytes. bcrypt heeds 72, argon2id all of them; a limit keeps a request from buying more hashing than another. */
const longestPassword = 1024
const longestUserAgent = 256

/** `POST /auth/login`, JSON `{username, password}`. */
export function login (services: LoginServices): RouteHandlerMethod {
  return async function login (request) {
    const body = jsonObject(request.body)
    const username = textMember(body, 'username', longestUsername)
    const password = textMember(body, 'password', bodyLimit)
    return await logIn(services, { username, password, clientId: ownClientId }, request)
  }
}

/** Also the password grant of `/oauth/token`. Refusals: GW_CREDENTIALS_INVALID, GW_TOO_MANY_ATTEMPTS, GW_UNAVAILABLE. */
export async function logIn (services: LoginServices, { username, password, clientId }: Login, request: FastifyRequest): Promise<TokenResponse> {
  const { credentials, throttle, sessions, audit, accountTag } = services
  // Before it is counted: an attempt that is turned away unchecked would be written down, and struck out again.
  credentials.assertRoom()
  const caller = callerFacts(request)
  const attempt = { account: username, address: caller.address ?? '' }
  const facts = { ...caller, client_id: clientId, account: accountTag(username) }

  try {
    const { verdict, begun } = await throttle.guard(attempt, async () => {
      const verdict = canBeRight(username, password)
        ? await credentials.check({ username, password })
        : { subject: null, reason: 'credentials that nobody can have' }
      return verdict.subject === null
        ? { isRight: false, answer: async () => refuse(verdict.reason) }
        : { isRight: true, answer: async () => ({ verdict, begun: await begin(verdict) }) }
    })
    const { session_id: sessionId, ...tokens } = begun
    audit({ ...facts, event: 'login', subject: verdict.subject.id, session_id: sessionId, source: verdict.source })
    step('login: to be answered')
    return onlyTokens(tokens)
  } catch (thrown) {
    if (thrown instanceof Refusal && thrown.code === 'GW_TOO_MANY_ATTEMPTS') audit({ ...facts, event: 'throttled', reason: thrown.details.reason ?? 'too many attempts' })
    throw thrown
  }

  function refuse (reason: string): never {
    audit({ ...facts, event: 'login_failed', reason })
    throw new Refusal('GW_CREDENTIALS_INVALID', { reason })
  }

  async function begin ({ subject, handle }: Extract<ChainVerdict, { subject: Subject }>): ReturnType<LoginServices['sessions']['begin']> {
    const userAgent = request.headers['user-agent']?.slice(0, longestUserAgent) ?? null
    return await sessions.begin({ subject, source: handle, clientId, userAgent, address: caller.address })
  }
}

/** The token response has these four members, whatever a service may know besides. */
export function onlyTokens (tokens: TokenResponse): TokenResponse {
  return {
    access_token: tokens.access_token,
    token_type: tokens.token_type,
    expires_in: tokens.expires_in,
    refresh_token: tokens.refresh_token,
  }
}

/**
 * Refused before any hashing: to bcrypt a NUL ends the password, and an HMAC's zero padding makes `x` and `x\0` one key.
 * The answer is that of a wrong password, and so is the count of the throttle.
 */
function canBeRight (username: string, password: string): boolean {
  return username !== '' && !username.includes('\0') &&
    password !== '' && !password.includes('\0') && Buffer.byteLength(password) <= longestPassword
}
