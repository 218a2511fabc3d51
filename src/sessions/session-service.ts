/** Begins, refreshes and ends logins. Who somebody is, was decided before; what a row promises is session-store.ts's. */
import { createHmac } from 'node:crypto'
import { Refusal } from '../errors.ts'
import type { Subject } from '../credentials/credential-source.ts'
import { step } from '../steps.ts'
import type { Database } from '../storage/database.ts'
import { inSmallBatches } from '../storage/small-batches.ts'
import type { MintAccessToken } from '../tokens/access-token.ts'
import { createRefreshTokens, hashOf, type RefreshToken } from './refresh-token.ts'
import type { Revocations } from './revocations.ts'
import { createSessionStore, type Session } from './session-store.ts'

export interface TokenResponse {
  access_token: string
  token_type: 'Bearer'
  /** Seconds. */
  expires_in: number
  refresh_token: string
}

export interface SessionView {
  id: string
  client_id: string
  /** ISO 8601, as the other times. */
  created_at: string
  last_used_at: string
  expires_at: string
  user_agent: string | null
  address: string | null
}

export type EndReason = 'logout' | 'revoked' | 'reuse' | 'password_changed' | 'user_disabled' | 'user_removed' | 'deleted'

export type AuthEvent = {
  readonly event: 'reuse' | 'session_ended'
  readonly session_id: string
  readonly subject: string
  readonly reason: string
}

export interface Login {
  readonly subject: Subject
  readonly source: string
  readonly clientId: string
  readonly userAgent: string | null
  readonly address: string | null
}

export interface SessionService {
  /** `session_id` is for the log. */
  begin (login: Login): Promise<TokenResponse & { session_id: string }>
  /** Throws GW_REFRESH_TOKEN_INVALID; `repeated` where an equal request has rotated before. */
  refresh (refreshToken: string, client: { readonly clientId: string | null, readonly mayUse: (sessionClientId: string) => boolean }): Promise<Refreshed>
  /** null if the token names no live session. A superseded token ends its session too: who logs out means the login. */
  endByRefreshToken (refreshToken: string, reason: EndReason): Promise<{ readonly sessionId: string, readonly subject: string } | null>
  /** With `subject`, only if the session is that subject's. */
  endById (sessionId: string, reason: EndReason, subject?: string): Promise<boolean>
  listLive (subject: string): Promise<SessionView[]>
  /** For introspection: never rotates, and only the token in force is live. `expiresAt` in milliseconds since the epoch. */
  inspect (refreshToken: string): Promise<{ readonly sessionId: string, readonly subject: string, readonly clientId: string, readonly expiresAt: number } | null>
  /** Deletes what nobody can need any more, in small batches until `stopping` is aborted; how many rows. */
  deleteExpired (stopping?: AbortSignal): Promise<number>
}

export interface Refreshed {
  readonly tokens: TokenResponse
  readonly sessionId: string
  readonly subject: string
  readonly outcome: 'rotated' | 'repeated'
}

export interface SessionServiceOptions {
  readonly db: Database
  readonly refreshTokenKey: Buffer
  readonly mint: MintAccessToken
  /** Asked at each refresh: null for a user who is gone or disabled. */
  readonly findSubject: (source: string, subjectId: string) => Promise<Subject | null>
  /** The user attributes that go into access tokens. */
  readonly attributeClaims: readonly string[]
  /** Milliseconds, as the other times. */
  readonly graceWindow: number
  readonly lifetime: number
  readonly accessTokenLifetime: number
  readonly now: () => number
  /** By which rows are deleted for good; as `now` where nothing is said. */
  readonly settledNow?: () => number
  readonly revocations: Revocations
  readonly audit: (event: AuthEvent) => void
}

/** Rotations that are remembered at most: more within one window are not a race. */
const MOST_RECENT = 16

export function createSessionService (options: SessionServiceOptions): SessionService {
  const { mint, attributeClaims, graceWindow, lifetime, accessTokenLifetime, now, settledNow = now, revocations, audit } = options
  const store = createSessionStore(options.db)
  const tokens = createRefreshTokens(options.refreshTokenKey)
  const credentialKey = createHmac('sha256', options.refreshTokenKey).update('credential').digest()

  /** Keyed, and of this session: who reads the storage can neither guess at a password by it nor tell that two users have the same. */
  function credentialTagOf (sessionId: string, { credentialTag }: Subject): string | null {
    return credentialTag === undefined ? null : createHmac('sha256', credentialKey).update(`${sessionId} ${credentialTag}`).digest('base64url')
  }

  /** A repeated answer, with an access token of its own, may come a whole window after the rotation. */
  const accessUntil = (time: number): number => time + graceWindow + accessTokenLifetime

  function respond (session: Pick<Session, 'id' | 'client_id'>, subject: Subject, refreshToken: RefreshToken): TokenResponse {
    const { token, expiresInSeconds } = mint({
      subject: subject.id,
      sessionId: session.id,
      clientId: session.client_id,
      roles: subject.roles,
      scopes: subject.scopes,
      claims: chosen(subject.attributes, attributeClaims),
    })
    return { access_token: token, token_type: 'Bearer', expires_in: expiresInSeconds, refresh_token: refreshToken.text }
  }

  async function end (id: string, reason: EndReason, subject?: string): Promise<Session | null> {
    const session = await store.end(id, reason, now(), subject)
    step('session: ended')
    if (session !== null) {
      revocations.end(id, session.access_until)
      audit({ event: 'session_ended', session_id: id, subject: session.subject, reason })
    }
    return session
  }

  /** The token in force, if `shown` was used inside the window that still ran when it was shown; null for reuse. */
  function inForce (shown: RefreshToken, session: Session, shownAt: number): RefreshToken | null {
    const usedAt = recentRotations(session).find(([generation]) => generation === shown.generation)?.[1]
    // A clock that was set back makes the use lie ahead: then no time has passed.
    if (usedAt === undefined || Math.max(0, shownAt - usedAt) > graceWindow) return null
    let token = shown
    while (token.generation < session.generation) token = tokens.successor(token)
    return hashOf(token) === session.token_hash ? token : null
  }

  /** `shownAt`: what has waited for a slow storage since is not late by that. */
  async function refresh (shown: RefreshToken, client: Parameters<SessionService['refresh']>[1], shownAt: number): Promise<Refreshed> {
    const session = await store.find(shown.sessionId)
    step('refresh: session found')
    if (session === null) throw invalid('no such session')
    if (session.ended_at !== null) throw invalid('the session has ended')
    if (session.expires_at <= now()) throw invalid('the session has expired')
    if (!client.mayUse(session.client_id)) throw invalid('issued to another client')
    // Neither can be without our key, or a storage that was set back to an older state: nobody's session ends for it.
    if (shown.generation > session.generation) throw invalid('ahead of its session')

    if (shown.generation < session.generation) {
      const token = inForce(shown, session, shownAt)
      if (token === null) return await caught(session)
      step('refresh: found rotated before')
      return { tokens: respond(session, await stillThere(session), token), sessionId: session.id, subject: session.subject, outcome: 'repeated' }
    }

    const tokenHash = hashOf(shown)
    if (tokenHash !== session.token_hash) throw invalid('not the one in force')
    const subject = await stillThere(session)
    step('refresh: user found')
    const successor = tokens.successor(shown)
    // Before the rotation: where there is no key to sign with, the token stays unused.
    const response = respond(session, subject, successor)
    const time = now()
    const rotated = await store.rotate({
      id: session.id,
      generation: shown.generation,
      tokenHash,
      successorHash: hashOf(successor),
      recentRotations: withRotation(recentRotations(session), shown.generation, time, graceWindow),
      accessUntil: accessUntil(time),
      time,
    })
    step('refresh: rotated')
    // Somebody was faster, with the same token or with a logout: what the row says now decides.
    if (!rotated) return await refresh(shown, client, shownAt)
    return { tokens: response, sessionId: session.id, subject: session.subject, outcome: 'rotated' }
  }

  async function caught (session: Session): Promise<never> {
    const ended = await store.end(session.id, 'reuse', now())
    step('session: ended')
    if (ended !== null) {
      revocations.end(session.id, ended.access_until)
      audit({ event: 'reuse', session_id: session.id, subject: session.subject, reason: 'a used refresh token was shown after its grace window' })
    }
    throw invalid('reuse: the session was ended')
  }

  async function stillThere (session: Session): Promise<Subject> {
    const subject = await options.findSubject(session.source, session.subject)
    if (subject === null) {
      await end(session.id, 'user_disabled')
      throw invalid('the user is gone or disabled')
    }
    if (session.credential_tag !== null && session.credential_tag !== credentialTagOf(session.id, subject)) {
      await end(session.id, 'password_changed')
      throw invalid('the password was changed')
    }
    return subject
  }

  return {
    begin: available(async (login) => {
      const token = tokens.first()
      const time = now()
      const session: Session = {
        id: token.sessionId,
        subject: login.subject.id,
        source: login.source,
        client_id: login.clientId,
        user_agent: login.userAgent?.slice(0, 256) ?? null,
        address: login.address,
        created_at: time,
        last_used_at: time,
        expires_at: time + lifetime,
        generation: 0,
        token_hash: hashOf(token),
        recent_rotations: '[]',
        ended_at: null,
        end_reason: null,
        access_until: accessUntil(time),
        credential_tag: credentialTagOf(token.sessionId, login.subject),
      }
      await store.insert(session)
      step('login: session written')
      // Disabled, or given another password, between the check of the old one and this row: who did it found no session to end.
      const found = await options.findSubject(login.source, login.subject.id)
      step('login: user looked at again')
      if (found === null || found.revision !== login.subject.revision || found.credentialTag !== login.subject.credentialTag) {
        await end(session.id, found === null ? 'user_disabled' : 'password_changed')
        throw new Refusal('GW_CREDENTIALS_INVALID', { reason: 'disabled or changed during the login' })
      }
      return { ...respond(session, login.subject, token), session_id: session.id }
    }),

    refresh: available(async (text, client) => {
      const shown = tokens.read(text)
      if (shown === null) throw invalid('not made here')
      return await refresh(shown, client, now())
    }),

    endByRefreshToken: available(async (text, reason) => {
      const shown = tokens.read(text)
      const session = shown === null ? null : await end(shown.sessionId, reason)
      return session === null ? null : { sessionId: session.id, subject: session.subject }
    }),

    endById: available(async (sessionId, reason, subject) => await end(sessionId, reason, subject) !== null),

    listLive: available(async (subject) => (await store.live(subject, now())).map(view)),

    inspect: available(async (text) => {
      const shown = tokens.read(text)
      const session = shown === null ? null : await store.find(shown.sessionId)
      if (shown === null || session === null || session.ended_at !== null || session.expires_at <= now()) return null
      if (hashOf(shown) !== session.token_hash) return null
      return { sessionId: session.id, subject: session.subject, clientId: session.client_id, expiresAt: session.expires_at }
    }),

    async deleteExpired (stopping) {
      return await inSmallBatches(async (limit) => {
        const time = settledNow()
        return await store.deleteDead(time, time - accessTokenLifetime - graceWindow, limit)
      }, stopping)
    },
  }
}

function invalid (reason: string): Refusal {
  return new Refusal('GW_REFRESH_TOKEN_INVALID', { reason })
}

/** Storage that fails is no fault of the caller's: 503, and the driver's words stay in the log. */
function available<Arguments extends unknown[], Result> (work: (...given: Arguments) => Promise<Result>): (...given: Arguments) => Promise<Result> {
  return async (...given) => {
    try {
      return await work(...given)
    } catch (error) {
      if (error instanceof Refusal) throw error
      throw new Refusal('GW_UNAVAILABLE', { reason: 'storage', cause: error, retryAfterSeconds: 2 })
    }
  }
}

function recentRotations (session: Session): [generation: number, usedAt: number][] {
  return JSON.parse(session.recent_rotations) as [number, number][]
}

function withRotation (rotations: [number, number][], generation: number, time: number, graceWindow: number): string {
  const recent = rotations.filter(([, usedAt]) => Math.max(0, time - usedAt) <= graceWindow)
  return JSON.stringify([...recent, [generation, time]].slice(-MOST_RECENT))
}

function chosen (attributes: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(attributes, name)).map((name) => [name, attributes[name]]))
}

function view (session: Session): SessionView {
  return {
    id: session.id,
    client_id: session.client_id,
    created_at: new Date(session.created_at).toISOString(),
    last_used_at: new Date(session.last_used_at).toISOString(),
    expires_at: new Date(session.expires_at).toISOString(),
    user_agent: session.user_agent,
    address: session.address,
  }
}
