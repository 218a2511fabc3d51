/** Users in an existing table: one query with the user name, read-only, and on demand a better hash written back at a login. */
import { Refusal, StartupFault } from '../errors.ts'
import { DatabaseFault } from '../storage/database-fault.ts'
import type { Row, UserDatabase } from '../storage/user-database.ts'
import { createCircuitBreaker } from './circuit-breaker.ts'
import type { CredentialSource, Subject } from './credential-source.ts'
import { readForeignUser, tagOf, UnreadableUser, type ForeignUser, type UserFields } from './foreign-user.ts'
import { readHash } from './hash-kinds.ts'
import type { PasswordHasher } from './password-hash.ts'

export interface SqlSourceOptions {
  readonly name: string
  readonly prefix: string
  readonly database: UserDatabase
  /** Its one parameter is the user name as typed. */
  readonly query: string
  /** Its one parameter is the id, for refreshes: without it `query` is asked with the name that was typed at the login. */
  readonly findQuery?: string | undefined
  /** Parameters: the new hash, the id, the hash that is replaced. */
  readonly rehash?: string | undefined
  readonly columns: UserFields & { readonly passwordHash: string }
  readonly roles: readonly string[]
  readonly hasher: PasswordHasher
  readonly warn: (message: string) => void
  readonly now: () => number
}

/** Throws a StartupFault for a query that the database refuses, or that lacks a column. A database that is down is waited for by the logins. */
export async function openSqlSource (options: SqlSourceOptions): Promise<CredentialSource> {
  const { database, query, name, columns, warn } = options
  try {
    // No user has this name, so that no row comes back, but the columns do.
    const { columns: given } = await database.query(query, '')
    const missing = [columns.id, columns.passwordHash].find((column) => !given.includes(column))
    if (missing !== undefined) throw new StartupFault(`credentials: the query of ${name} gives no column ${JSON.stringify(missing)}; select it, or name another in \`columns\``)
  } catch (error) {
    if (error instanceof DatabaseFault && error.kind === 'query') throw new StartupFault(`credentials: the database of ${name} refuses the query: ${error.message}`, { cause: error })
    if (!(error instanceof DatabaseFault)) throw error
    if (error.kind === 'unavailable') warn(`credentials: the database of ${name} cannot be asked now (${error.message}); logins that need it are refused with 503 until it can`)
  }
  return createSqlSource(options)
}

function createSqlSource ({ name, prefix, database, query, findQuery, rehash, columns, roles, hasher, warn, now }: SqlSourceOptions): CredentialSource {
  const breaker = createCircuitBreaker({ name, isDown: (error) => error instanceof DatabaseFault && error.kind === 'unavailable', warn, now })
  const { passwordHash, ...fields } = columns
  /** The hash that took longest so far: what a decoy is like. */
  let slowest: string | undefined

  async function lookUp (text: string, parameter: string): Promise<Row | 'several' | null> {
    // PostgreSQL has no NUL, and no table has such a name.
    if (parameter.includes('\0')) return null
    try {
      const { rows: [row, another] } = await breaker.run(async () => await database.query(text, parameter))
      return another === undefined ? row ?? null : 'several'
    } catch (error) {
      // `abc` where the column holds numbers: there is no such user.
      if (error instanceof DatabaseFault && error.kind === 'input') return null
      throw unavailable(error)
    }
  }

  function unavailable (error: unknown): Refusal {
    if (error instanceof Refusal) return error
    return new Refusal('GW_UNAVAILABLE', { reason: `credentials: the database of ${name} does not answer`, cause: error, retryAfterSeconds: 2 })
  }

  /** Without a column of its own for it, another hash means another password. */
  function userOf (row: Row, typed: string): ForeignUser & { readonly hash: string | null } {
    const user = readForeignUser(row, typed, { fields, prefix, roles, secret: [passwordHash] })
    const hash = typeof row[passwordHash] === 'string' && row[passwordHash] !== '' ? row[passwordHash] : null
    return { ...user, hash, subject: { ...user.subject, credentialTag: user.subject.credentialTag ?? tagOf(hash ?? '') } }
  }

  /** As long as the slowest hash of this table takes, whatever was done before. */
  async function refused (password: string, reason: string, done = 0): Promise<{ outcome: 'refused', reason: string }> {
    if (done < cost(slowest)) await hasher.decoy(password, slowest)
    return { outcome: 'refused', reason }
  }

  /** The login is right whether or not this works. The subject as it is then: a rehash of ours is no change of the password. */
  async function rehashed (user: ForeignUser, hash: string, password: string, username: string): Promise<Subject | null> {
    if (rehash === undefined) return user.subject
    try {
      const better = await hasher.hash(password)
      const changed = await database.update(rehash, [better, user.id, hash])
      if (changed > 1) warn(`credentials: the rehash statement of ${name} changed ${changed} rows for one user; it must name the user by $2 and the old hash by $3`)
      const row = await lookUp(query, username)
      if (row === null || row === 'several') return null
      const after = userOf(row, username)
      // Somebody else changed it in between: the password that was shown must be right for that one too.
      if (after.id !== user.id || after.hash === null || after.disabled) return null
      return after.hash === hash || after.hash === better || (await hasher.verify(password, after.hash)).matches ? after.subject : null
    } catch (error) {
      warn(`credentials: ${name} could not take a new hash: ${error instanceof Error ? error.message : String(error)}`)
      return user.subject
    }
  }

  return {
    name,
    assertRoom: hasher.assertRoom,
    async check ({ username, password }) {
      const row = await lookUp(query, username)
      if (row === null) {
        await hasher.decoy(password, slowest)
        return { outcome: 'unknown' }
      }
      if (row === 'several') return await refused(password, `the query of ${name} gives more than one row for this name`)
      let user
      try {
        user = userOf(row, username)
      } catch (error) {
        if (error instanceof UnreadableUser) return await refused(password, `${name}: ${error.message}`)
        throw error
      }
      const { hash } = user
      if (hash === null) return await refused(password, 'has no password')
      const read = readHash(hash)
      if ('fault' in read) return await refused(password, `the password hash ${read.fault}`)
      if (read.cost > cost(slowest)) slowest = hash
      // As typed: the table was filled by another system, and that hashes the bytes that it is given.
      const { matches, outdated } = await hasher.verify(password, hash)
      if (!matches || user.disabled) return await refused(password, matches ? 'disabled' : 'the password does not match', read.cost)
      const subject = outdated ? await rehashed(user, hash, password, username) : user.subject
      return subject === null ? { outcome: 'refused', reason: 'changed during the login' } : { outcome: 'accepted', subject, foundBy: username }
    },

    async decoy (password) {
      // Asked in vain, as for a name that it does not know; whether it answers changes nothing here.
      await lookUp(query, '').catch(() => {})
      await hasher.decoy(password, slowest)
    },

    async find (subjectId, foundBy = '') {
      if (!subjectId.startsWith(prefix)) return null
      const id = subjectId.slice(prefix.length)
      const row = findQuery === undefined ? await lookUp(query, foundBy) : await lookUp(findQuery, id)
      if (row === null) return null
      try {
        if (row === 'several') throw new UnreadableUser('the query gives more than one row')
        const user = userOf(row, foundBy)
        // The name may have been given to somebody else since.
        return user.id !== id || user.disabled ? null : user.subject
      } catch (error) {
        if (!(error instanceof UnreadableUser)) throw error
        throw new Refusal('GW_UNAVAILABLE', { reason: `credentials: ${name}: ${error.message}`, retryAfterSeconds: 30 })
      }
    },

    async close () { await database.close() },
  }
}

function cost (hash: string | undefined): number {
  const read = hash === undefined ? null : readHash(hash)
  return read === null || 'fault' in read ? 0 : read.cost
}
