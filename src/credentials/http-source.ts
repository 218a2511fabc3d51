/** Users behind an existing endpoint: it checks the password, and says who that is. */
import { setTimeout as pause } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import type { EndpointAnswer, UserEndpoint } from '../remote/user-endpoint.ts'
import { createBulkhead } from './bulkhead.ts'
import { createCircuitBreaker } from './circuit-breaker.ts'
import type { CredentialSource, Subject } from './credential-source.ts'
import { readForeignUser, UnreadableUser, type ForeignUser, type UserFields } from './foreign-user.ts'

export interface HttpSourceOptions {
  readonly name: string
  readonly prefix: string
  readonly endpoint: UserEndpoint
  /** Asked with `{username, password}` at a login. */
  readonly url: string
  /** Asked with `{id}` at a refresh. Without it a user stays as they were at the login. */
  readonly findUrl?: string | undefined
  readonly fields: UserFields
  readonly roles: readonly string[]
  readonly connections: number
  /** Milliseconds. */
  readonly timeout: number
  readonly warn: (message: string) => void
  readonly now: () => number
}

class EndpointDown extends Error {}

export function createHttpSource ({ name, prefix, endpoint, url, findUrl, fields, roles, connections, timeout, warn, now }: HttpSourceOptions): CredentialSource {
  const breaker = createCircuitBreaker({ name, isDown: (error) => error instanceof EndpointDown, warn, now })
  const bulkhead = createBulkhead({ what: `credentials: ${name}`, concurrency: connections, queue: 16 * connections, queueTimeout: timeout })
  /** Milliseconds: what a question took of late. */
  let usual = 20

  async function ask (to: string, question: Readonly<Record<string, string>>): Promise<EndpointAnswer> {
    return await bulkhead.run(async () => await breaker.run(async () => {
      const began = performance.now()
      try {
        const answer = await endpoint.ask(to, question)
        usual += (performance.now() - began - usual) / 8
        return answer
      } catch (error) {
        throw new EndpointDown(error instanceof Error ? error.message : String(error), { cause: error })
      }
    })).catch((error: unknown) => { throw error instanceof EndpointDown ? unavailable(error.message, error.cause) : error })
  }

  function unavailable (why: string, cause?: unknown): Refusal {
    const seconds = cause instanceof Error && 'retryAfterSeconds' in cause ? cause.retryAfterSeconds : undefined
    return new Refusal('GW_UNAVAILABLE', { reason: `credentials: ${name}: ${why}`, cause, retryAfterSeconds: typeof seconds === 'number' ? seconds : 2 })
  }

  /** An answer that cannot be read says nothing about the caller: 503, and the log says why. */
  function userOf (given: Readonly<Record<string, unknown>>, typed: string): ForeignUser {
    try {
      return readForeignUser(given, typed, { fields, prefix, roles, secret: ['password', 'password_hash', 'passwordHash'] })
    } catch (error) {
      throw error instanceof UnreadableUser ? unavailable(error.message) : error
    }
  }

  return {
    name,
    assertRoom: bulkhead.assertRoom,
    async check ({ username, password }) {
      const answer = await ask(url, { username, password })
      if (answer.outcome === 'unknown') return { outcome: 'unknown' }
      if (answer.outcome === 'refused') return { outcome: 'refused', reason: `${name} answers 403` }
      const { subject, disabled } = userOf(answer.user, username)
      if (disabled) return { outcome: 'refused', reason: 'disabled' }
      return { outcome: 'accepted', subject, foundBy: findUrl === undefined ? JSON.stringify(subject) : username }
    },

    // A question for nobody would be a failed login in somebody's books: it is only waited for as long as one takes.
    async decoy () { await pause(usual) },

    async find (subjectId, foundBy = '') {
      if (findUrl === undefined) return remembered(subjectId, foundBy)
      if (!subjectId.startsWith(prefix)) return null
      const id = subjectId.slice(prefix.length)
      const answer = await ask(findUrl, { id })
      if (answer.outcome !== 'user') return null
      const user = userOf(answer.user, foundBy)
      // An endpoint that speaks of somebody else is broken, and must not make one user of another.
      if (user.id !== id) throw unavailable('findUrl answers with another id than it was asked for')
      return user.disabled ? null : user.subject
    },

    async close () { await endpoint.close() },
  }
}

/** Of a source that cannot be asked again: what it said at the login. Kept with the session by us, and by nobody else. */
function remembered (subjectId: string, foundBy: string): Subject | null {
  try {
    const subject = JSON.parse(foundBy) as Subject
    return subject.id === subjectId ? subject : null
  } catch {
    // Of a time when the source had another form.
    return null
  }
}
