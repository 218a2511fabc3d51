/** What the endpoints are made of: the services behind them, and what they tell of each auth event. */
import type { FastifyRequest } from 'fastify'
import type { CredentialChain } from '../credentials/credential-chain.ts'
import type { Throttle } from '../credentials/throttle.ts'
import type { SessionService } from '../sessions/session-service.ts'
import type { Verify } from '../tokens/identity.ts'

export interface LoginServices {
  readonly sessions: SessionService
  readonly credentials: Pick<CredentialChain, 'assertRoom' | 'check'>
  readonly throttle: Pick<Throttle, 'guard'>
  readonly verify: Verify
  /** The token of `Authorization: Bearer …`; null without one. Throws a Refusal where it cannot be read in just one way. */
  readonly bearerToken: (request: Pick<FastifyRequest, 'raw'>) => string | null
  readonly audit: (event: LoginEvent) => void
  /** What the log calls an account by: see account-tag.ts. */
  readonly accountTag: (username: string) => string
}

/** Something that happened to somebody's login, as the log tells it. Never with a secret, nor with a name as it was typed. */
export type LoginEvent = CallerFacts & {
  readonly event: 'login' | 'login_failed' | 'throttled' | 'refresh' | 'refresh_failed' | 'logout' | 'session_deleted' | 'revoked'
  readonly subject?: string
  readonly session_id?: string
  readonly client_id?: string | null
  /** The credential source that vouched for the subject. */
  readonly source?: string
  readonly account?: string
  /** Of a refresh: `repeated` got the successor that an earlier, equal request had got. */
  readonly outcome?: 'rotated' | 'repeated'
  readonly reason?: string
}

export type CallerFacts = {
  readonly request_id: string
  readonly address: string | null
}

/** `client_id` of tokens that no client asked for. */
export const ownClientId = 'gatewarden'

export function callerFacts (request: FastifyRequest): CallerFacts {
  return { request_id: request.id, address: request.ip ?? null }
}
