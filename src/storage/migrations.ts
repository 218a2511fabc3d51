/** The schema's history. A new step is added at the end; one that has been released is never changed. */
import { Migrator, sql, type Kysely, type Migration } from 'kysely'
import { StartupFault } from '../errors.ts'
import { step } from '../steps.ts'
import type { SessionsTable } from './database.ts'

export interface MigrateOptions {
  /** PostgreSQL: the schema that holds the tables; made where it is missing. */
  readonly schema: string
  /** The fault that an engine's error stands for, if it is one that can be named. */
  readonly explain: (error: unknown) => StartupFault | null
}

/** Brings the schema up to date; on SQLite safe when several processes start at once, on PostgreSQL within a transaction that has a lock. Throws a StartupFault. */
export async function migrate<Tables> (db: Kysely<Tables>, postgres?: MigrateOptions): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => toldOf(migrationsIn(postgres?.schema ?? null)) },
    ...postgres === undefined ? {} : { migrationTableSchema: postgres.schema, disableTransactions: true },
  })
  const { error } = await migrator.migrateToLatest()
  if (error === undefined) return
  const fault = postgres?.explain(error) ?? null
  if (fault !== null) throw fault
  const message = error instanceof Error ? error.message : ''
  if (message.includes('corrupted migrations')) {
    throw new StartupFault('the storage was written by a newer version of Gatewarden; use that version, or a backup from before it', { cause: error })
  }
  if (message.includes('database is locked')) {
    throw new StartupFault('the storage is locked by another process; wait until that is done, or end it', { cause: error })
  }
  throw new StartupFault('the storage cannot be brought up to date; it must be writable, and not damaged', { cause: error })
}

function toldOf (migrations: Record<string, Migration>): Record<string, Migration> {
  return Object.fromEntries(Object.entries(migrations).map(([name, { up }]) => [name, {
    async up (db) {
      step('migration: one begun')
      await up(db)
      step('migration: one applied')
    },
  }]))
}

/** `schema`: PostgreSQL's; null for SQLite. */
const migrationsIn = (schema: string | null): Record<string, Migration> => ({
  '0001-first-schema': {
    async up (db: Kysely<unknown>) {
      await db.schema.createTable('users')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('name_key', 'text', (column) => column.notNull().unique())
        .addColumn('password_hash', 'text', (column) => column.notNull())
        .addColumn('roles', 'text', (column) => column.notNull())
        .addColumn('scopes', 'text', (column) => column.notNull())
        .addColumn('attributes', 'text', (column) => column.notNull())
        .addColumn('disabled_at', 'bigint')
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('updated_at', 'bigint', (column) => column.notNull())
        .execute()
      await db.schema.createTable('sessions')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('subject', 'text', (column) => column.notNull())
        .addColumn('source', 'text', (column) => column.notNull())
        .addColumn('client_id', 'text', (column) => column.notNull())
        .addColumn('user_agent', 'text')
        .addColumn('address', 'text')
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('last_used_at', 'bigint', (column) => column.notNull())
        .addColumn('expires_at', 'bigint', (column) => column.notNull())
        .addColumn('generation', 'bigint', (column) => column.notNull())
        .addColumn('token_hash', 'text', (column) => column.notNull())
        .addColumn('recent_rotations', 'text', (column) => column.notNull())
        .addColumn('ended_at', 'bigint')
        .addColumn('end_reason', 'text')
        .execute()
      await db.schema.createIndex('sessions_by_subject').on('sessions').column('subject').execute()
      await db.schema.createIndex('sessions_by_expiry').on('sessions').column('expires_at').execute()
      // Few sessions are ended at any time, and these are looked for at each change of the storage.
      await db.schema.createIndex('sessions_by_end').on('sessions').column('ended_at').where(sql.ref('ended_at'), 'is not', null).execute()
      await db.schema.createTable('keys')
        .addColumn('kid', 'text', (column) => column.primaryKey())
        .addColumn('algorithm', 'text', (column) => column.notNull())
        .addColumn('public_jwk', 'text', (column) => column.notNull())
        .addColumn('private_key', 'text', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('activates_at', 'bigint', (column) => column.notNull())
        .addColumn('expires_at', 'bigint')
        .execute()
      await db.schema.createTable('login_attempts')
        .addColumn('key', 'text', (column) => column.primaryKey())
        .addColumn('failures', 'bigint', (column) => column.notNull())
        .addColumn('last_failure_at', 'bigint', (column) => column.notNull())
        .addColumn('blocked_until', 'bigint', (column) => column.notNull())
        .execute()
      await db.schema.createIndex('login_attempts_by_time').on('login_attempts').column('last_failure_at').execute()
      await db.schema.createTable('known_origins')
        .addColumn('key', 'text', (column) => column.primaryKey())
        .addColumn('last_success_at', 'bigint', (column) => column.notNull())
        .execute()
      await db.schema.createIndex('known_origins_by_time').on('known_origins').column('last_success_at').execute()
      await db.schema.createTable('meta')
        .addColumn('key', 'text', (column) => column.primaryKey())
        .addColumn('value', 'text', (column) => column.notNull())
        .execute()
    },
  },

  '0002-what-a-session-outlives': {
    async up (db: Kysely<unknown>) {
      await db.schema.alterTable('sessions').addColumn('access_until', 'bigint', (column) => column.notNull().defaultTo(0)).execute()
      await db.schema.alterTable('sessions').addColumn('credential_tag', 'text').execute()
      // How long these have access tokens, nobody has noted: no longer than they live.
      await (db as Kysely<{ sessions: SessionsTable }>).updateTable('sessions').set(({ ref }) => ({ access_until: ref('expires_at') })).execute()
    },
  },

  '0003-word-of-changes': {
    async up (db: Kysely<unknown>) {
      // SQLite tells by itself that somebody has written (PRAGMA data_version).
      if (schema === null) return
      // By trigger, so that no way of ending a session is forgotten, an operator's own UPDATE included.
      const ended = sql.id(schema, 'tell_of_ended_session')
      await sql`create function ${ended}() returns trigger language plpgsql as $$ begin perform pg_notify('gatewarden_' || tg_table_schema, 'ended ' || new.access_until || ' ' || new.id); return null; end $$`.execute(db)
      await sql`create trigger tell_of_end after update of ended_at on ${sql.id(schema, 'sessions')} for each row when (old.ended_at is null and new.ended_at is not null) execute function ${ended}()`.execute(db)
      const keys = sql.id(schema, 'tell_of_changed_keys')
      await sql`create function ${keys}() returns trigger language plpgsql as $$ begin perform pg_notify('gatewarden_' || tg_table_schema, 'keys'); return null; end $$`.execute(db)
      await sql`create trigger tell_of_change after insert or update or delete on ${sql.id(schema, 'keys')} for each statement execute function ${keys}()`.execute(db)
    },
  },

  '0004-ended-sessions-by-token': {
    async up (db: Kysely<unknown>) {
      // A start looks for those whose access tokens may still live, among all that have ended and are not deleted yet.
      await db.schema.createIndex('sessions_by_ended_access').on('sessions').column('access_until').where(sql.ref('ended_at'), 'is not', null).execute()
    },
  },

  '0005-until-when-what-has-ended-counts': {
    async up (db: Kysely<unknown>) {
      // PostgreSQL writes a row anew in each of its indexes where a column of any of them changes, and a refresh changes access_until.
      await db.schema.dropIndex('sessions_by_ended_access').execute()
      await db.schema.alterTable('sessions').addColumn('revoked_until', 'bigint').execute()
      await (db as Kysely<{ sessions: SessionsTable & { revoked_until: number | null } }>).updateTable('sessions')
        .set(({ ref }) => ({ revoked_until: ref('access_until') })).where('ended_at', 'is not', null).execute()
      await db.schema.createIndex('sessions_by_revocation').on('sessions').column('revoked_until').where(sql.ref('revoked_until'), 'is not', null).execute()
      // By trigger, as in 0003: no way of ending a session is forgotten.
      if (schema === null) {
        await sql`create trigger note_revocation after update of ended_at on sessions for each row when old.ended_at is null and new.ended_at is not null begin update sessions set revoked_until = new.access_until where id = new.id; end`.execute(db)
        return
      }
      const noted = sql.id(schema, 'note_revocation')
      await sql`create function ${noted}() returns trigger language plpgsql as $$ begin new.revoked_until := new.access_until; return new; end $$`.execute(db)
      await sql`create trigger note_revocation before update of ended_at on ${sql.id(schema, 'sessions')} for each row when (old.ended_at is null and new.ended_at is not null) execute function ${noted}()`.execute(db)
    },
  },
})
