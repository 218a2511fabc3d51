/** Users kept in storage: a credential source, and what `gatewarden users` does to it. */
import { randomUUID } from 'node:crypto'
import { sql, type Selectable } from 'kysely'
import { Refusal, StartupFault } from '../errors.ts'
import { endSessionsOf } from '../sessions/session-store.ts'
import { step } from '../steps.ts'
import type { Database, UsersTable } from '../storage/database.ts'
import { prepareQuery } from '../storage/prepared-query.ts'
import type { CredentialSource, Subject } from './credential-source.ts'
import { readHash } from './hash-kinds.ts'
import { lengthFault, type NewPasswordFault } from './new-password.ts'
import { passwordForm } from './password-form.ts'
import type { PasswordHasher } from './password-hash.ts'
import { nameFault, nameKey } from './user-name.ts'

export interface NewUser {
  readonly name: string
  readonly password: string
  readonly roles?: readonly string[]
  readonly scopes?: readonly string[]
  readonly attributes?: Readonly<Record<string, unknown>>
}

export interface UserView extends Subject {
  readonly disabled: boolean
  /** ISO 8601. */
  readonly createdAt: string
}

/** Throws a StartupFault with one clear line for whatever the operator got wrong. */
export interface UserStore extends CredentialSource {
  /** The new id. */
  add (user: NewUser): Promise<string>
  /** By name, a page at a time: there may be a million. */
  list (): AsyncIterable<readonly UserView[]>
  /** Ends the user's sessions, as do disable and remove, in the same transaction: both happen, or neither. */
  setPassword (name: string, password: string): Promise<void>
  disable (name: string): Promise<void>
  enable (name: string): Promise<void>
  remove (name: string): Promise<void>
}

export interface UserStoreOptions {
  readonly db: Database
  readonly hasher: PasswordHasher
  /** What a new password has to be; eight characters, where nothing else is said. */
  readonly newPasswordFault?: NewPasswordFault
  readonly now: () => number
}

type User = Selectable<UsersTable>

/** Users of one page of the list. */
const PAGE = 1_000

/** In `meta`. */
export const slowestHashKey = 'slowest_imported_hash'

export function createUserStore ({ db, hasher, newPasswordFault = async (password) => lengthFault(password, 8), now }: UserStoreOptions): UserStore {
  // What each login asks, and each refresh.
  const byKey = prepareQuery<{ key: string }, User>(db, (value) => db.selectFrom('users').selectAll().where('name_key', '=', value('key')))
  const byId = prepareQuery<{ id: string }, User>(db, (value) => db.selectFrom('users').selectAll().where('id', '=', value('id')))

  async function byName (name: string): Promise<User | undefined> {
    const { rows: [user] } = await byKey({ key: nameKey(name) })
    return user
  }

  async function existing (name: string): Promise<User> {
    const user = await byName(name)
    if (user === undefined) throw new StartupFault(`there is no user named ${JSON.stringify(name)}; \`gatewarden users list\` shows who there is`)
    return user
  }

  /** `updated_at` only grows, and by every change: it is the revision that a login under way is held against. */
  async function update (within: Database, id: string, changes: Partial<Pick<User, 'password_hash' | 'disabled_at'>>): Promise<void> {
    const later = sql<number>`case when updated_at < ${now()} then ${now()} else updated_at + 1 end`
    const { numUpdatedRows } = await within.updateTable('users').set({ ...changes, updated_at: later }).where('id', '=', id).executeTakeFirst()
    if (numUpdatedRows === 0n) throw new StartupFault('the user was removed meanwhile')
    step('user: changed')
  }

  /** Compare and swap on the old hash: a password that was changed meanwhile stays as it was changed. */
  async function rehash (user: User, password: string): Promise<void> {
    const password_hash = await hasher.hash(password)
    await db.updateTable('users').set({ password_hash }).where('id', '=', user.id).where('password_hash', '=', user.password_hash).execute()
  }

  /** The costliest hash that was imported, if any was: what an unknown name costs as well. */
  async function slowest (): Promise<string | undefined> {
    if (now() - readAt < 60_000) return imported
    const row = await db.selectFrom('meta').select('value').where('key', '=', slowestHashKey).executeTakeFirst().catch(unavailable)
    readAt = now()
    return (imported = row?.value)
  }
  let imported: string | undefined
  let readAt = -Infinity

  /** Whatever is wrong with a password is said before any hashing. */
  async function hashNew (password: string, name: string): Promise<string> {
    const fault = await newPasswordFault(password, name)
    if (fault !== null) throw new StartupFault(`a password ${fault}`)
    return await hasher.hash(passwordForm(password))
  }

  return {
    name: 'store',
    assertRoom: hasher.assertRoom,

    async check ({ username, password }) {
      const typed = passwordForm(password)
      const user = await byName(username).catch(unavailable)
      const like = await slowest()
      if (user === undefined) {
        await hasher.decoy(typed, like)
        if (typed !== password) await hasher.decoy(password, like)
        return { outcome: 'unknown' }
      }
      const verified = await hasher.verify(typed, user.password_hash)
      const { outdated } = verified
      // An imported hash was made of what was typed there, in whatever form.
      const matches = verified.matches || (typed !== password && (await hasher.verify(password, user.password_hash)).matches)
      if (!matches || user.disabled_at !== null) {
        // A cheaper hash than that of an unknown user would tell that this one is known.
        if (like === undefined ? outdated : costOf(user.password_hash) < costOf(like)) await hasher.decoy(typed, like)
        return { outcome: 'refused', reason: matches ? 'disabled' : 'the password does not match' }
      }
      // The login is right whether or not this works; the next one tries again.
      if (outdated) await rehash(user, typed).catch(() => {})
      return { outcome: 'accepted', subject: subjectOf(user) }
    },

    decoy: async (password) => { await hasher.decoy(passwordForm(password), await slowest()) },

    async find (subjectId) {
      const { rows: [user] } = await byId({ id: subjectId })
      return user === undefined || user.disabled_at !== null ? null : subjectOf(user)
    },

    async close () {},

    async add ({ name, password, roles = [], scopes = [], attributes = {} }) {
      const fault = nameFault(name)
      if (fault !== null) throw new StartupFault(fault)
      assertListItems(roles, 'role')
      assertListItems(scopes, 'scope')
      const password_hash = await hashNew(password, name)
      const id = randomUUID()
      const time = now()
      const { numInsertedOrUpdatedRows } = await db.insertInto('users').values({
        id,
        name,
        name_key: nameKey(name),
        password_hash,
        roles: JSON.stringify(roles),
        scopes: JSON.stringify(scopes),
        attributes: JSON.stringify(attributes),
        disabled_at: null,
        created_at: time,
        updated_at: time,
      }).onConflict((conflict) => conflict.column('name_key').doNothing()).executeTakeFirst()
      if (numInsertedOrUpdatedRows === 0n) throw new StartupFault(`there is a user named ${JSON.stringify(name)} already (case and Unicode forms do not tell names apart)`)
      return id
    },

    async * list () {
      let last = ''
      for (;;) {
        const users = await db.selectFrom('users').selectAll().where('name_key', '>', last).orderBy('name_key').limit(PAGE).execute()
        const end = users.at(-1)
        if (end === undefined) return
        last = end.name_key
        yield users.map((user) => {
          const { revision, ...subject } = subjectOf(user)
          return { ...subject, disabled: user.disabled_at !== null, createdAt: new Date(user.created_at).toISOString() }
        })
      }
    },

    async setPassword (name, password) {
      const { id, name: own } = await existing(name)
      const password_hash = await hashNew(password, own)
      await db.transaction().execute(async (transaction) => {
        await update(transaction, id, { password_hash })
        await endSessionsOf(transaction, id, 'password_changed', now())
      })
    },

    async disable (name) {
      const { id } = await existing(name)
      await db.transaction().execute(async (transaction) => {
        await update(transaction, id, { disabled_at: now() })
        await endSessionsOf(transaction, id, 'user_disabled', now())
      })
    },

    async enable (name) {
      const { id } = await existing(name)
      await update(db, id, { disabled_at: null })
    },

    async remove (name) {
      const { id } = await existing(name)
      await db.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('users').where('id', '=', id).execute()
        await endSessionsOf(transaction, id, 'user_removed', now())
      })
    },
  }
}

function costOf (hash: string): number {
  const read = readHash(hash)
  return 'fault' in read ? 0 : read.cost
}

function subjectOf (user: User): Subject {
  return {
    id: user.id,
    name: user.name,
    roles: JSON.parse(user.roles) as string[],
    scopes: JSON.parse(user.scopes) as string[],
    attributes: JSON.parse(user.attributes) as Record<string, unknown>,
    revision: user.updated_at,
  }
}

/** Lists travel joined: roles by commas in a header, scopes by spaces in a claim. */
function assertListItems (items: readonly string[], what: string): void {
  for (const item of items) {
    if (!/^[^\s,"\\\p{C}]{1,128}$/u.test(item)) throw new StartupFault(`${JSON.stringify(item)} is no ${what}: 1 to 128 characters, without white space, commas, quotes and backslashes`)
  }
}

function unavailable (cause: unknown): never {
  throw new Refusal('GW_UNAVAILABLE', { reason: 'storage', cause, retryAfterSeconds: 2 })
}
