/** PostgreSQL as a storage: a schema of its own, brought up to date by whoever comes first; what others commit is heard by LISTEN. */
import { setTimeout as pause } from 'node:timers/promises'
import { Kysely, PostgresAdapter, PostgresDialect, sql, type DatabaseIntrospector, type PostgresPool, type PostgresPoolClient } from 'kysely'
import { StartupFault } from '../errors.ts'
import { step } from '../steps.ts'
import type { Change, Storage, Tables } from './database.ts'
import { lockAlone } from './locks.ts'
import { migrate, type MigrateOptions } from './migrations.ts'
import { openChannel, type Channel } from './postgres-channel.ts'
import { codeOf, connectClient, openPool, type PostgresClient } from './postgres-connections.ts'
import { connectFault, schemaFault } from './postgres-faults.ts'
import { readPostgresUrl, type PostgresAddress, type PostgresOptions } from './postgres-url.ts'
import { stepped } from './stepped-dialect.ts'

export interface OpenPostgresOptions {
  readonly options: PostgresOptions
  /** Told of what is allowed but unwise. */
  readonly warn: (message: string) => void
}

const OLDEST = 130_000
/** Milliseconds that one step of a migration may take, or another replica's whole migration. */
const MIGRATION = 3_600_000

/** Throws a StartupFault: one line, and what to do. */
export async function openPostgresStorage (url: string, { options, warn }: OpenPostgresOptions): Promise<Storage> {
  const { schema, poolSize, connectTimeout, statementTimeout } = options
  const address = readPostgresUrl(url, 'storage', options)
  const listenAddress = options.listenUrl === undefined ? address : readPostgresUrl(options.listenUrl, 'storageOptions.listenUrl', options)
  const takesSettings = await prepare(address, options, warn)
  const pool = await openPool(address, {
    size: poolSize,
    connectTimeout,
    statementTimeout: takesSettings ? statementTimeout : null,
    // The server's own timeout comes first, and leaves the connection whole.
    answerTimeout: statementTimeout + (takesSettings ? 1_000 : 0),
  })
  const db = databaseOf(pool, schema)

  const listeners = new Set<(change: Change) => void>()
  const tell = (change: Change): void => { for (const listener of listeners) listener(change) }
  let channel: Channel | null = null
  let silent = 0

  return {
    db,
    engine: 'postgres',
    onChange (listener) {
      listeners.add(listener)
      // A command that only writes needs no ear.
      channel ??= openChannel({
        address: listenAddress,
        connectTimeout,
        name: `gatewarden_${schema}`,
        onPayload (payload) {
          const change = changeOf(payload)
          if (change !== null) tell(change)
        },
        onUp () {
          silent = 0
          tell({ kind: 'anything', missed: true })
        },
        onDown () {
          if (++silent === 10) warn('LISTEN hears nothing from PostgreSQL; the table is read each second instead. Where `storage` leads to a pooler, storageOptions.listenUrl must lead past it')
          tell({ kind: 'anything', missed: false })
        },
      })
      return () => { listeners.delete(listener) }
    },
    toldUntil: () => channel?.heardUntil() ?? -Infinity,
    async ping () {
      // A standby answers, but takes no writes.
      await db.transaction().execute(async (transaction) => { await transaction.deleteFrom('meta').where('key', '=', '').execute() })
    },
    async close () {
      listeners.clear()
      await channel?.close()
      await db.destroy()
      // Kysely ends only what it has used.
      await pool.end()
    },
  }
}

/** Waits for a server that comes up, checks it, and brings the schema up to date. Whether it takes settings at the start of a connection. */
async function prepare (address: PostgresAddress, { schema, connectTimeout }: PostgresOptions, warn: (message: string) => void): Promise<boolean> {
  const { client, takesSettings } = await connectPatiently(address, connectTimeout)
  try {
    const { rows: [about] } = await client.query("select current_setting('server_version_num')::int as version, current_setting('server_version') as name, current_setting('synchronous_commit') as commit, current_setting('fsync') as fsync")
    if (Number(about?.['version']) < OLDEST) throw new StartupFault(`PostgreSQL ${String(about?.['name'])} is too old: 13 or newer is needed`)
    // After a crash of the server a session that was ended would live, and a refresh token that was given out would be unknown.
    if (about?.['commit'] === 'off' || about?.['fsync'] === 'off') warn('PostgreSQL confirms what is not on the disk (synchronous_commit or fsync is off): its crash can revive ended sessions and lose logins')
    await migrateAlone(client, schema, (error) => schemaFault(error, schema, address))
    step('migration: all committed')
  } catch (error) {
    throw error instanceof StartupFault ? error : schemaFault(error, schema, address) ?? connectFault(error, address)
  } finally {
    await client.end().catch(() => {})
  }
  return takesSettings
}

/**
 * Kysely's migrator locks the server's session, and locks and unlocks outside of its transaction: a pooler that hands out connections
 * by transaction lets it lock one of them and unlock another, and whoever starts next waits for an hour. Here all of it is one
 * transaction, the lock first.
 */
async function migrateAlone (client: PostgresClient, schema: string, explain: MigrateOptions['explain']): Promise<void> {
  await databaseOf(client.pool, schema).transaction().execute(async (transaction) => {
    await sql`set local statement_timeout = ${sql.lit(MIGRATION)}`.execute(transaction)
    await lockAlone(transaction, 'migration')
    // After the first fault each statement is answered by 25P02, that the transaction is lost.
    let first: unknown = null
    const query: PostgresClient['query'] = async (text, parameters) => await client.query(text, parameters).catch((error: unknown) => {
      first ??= error
      throw error
    })
    // The migrator takes no transaction for a database: it gets another one, which has the same connection.
    const pool = { ...client.pool, connect: async () => ({ query, release () {} }) as unknown as PostgresPoolClient }
    await migrate(databaseOf(pool, schema), { schema, explain: (error) => explain(first ?? error) })
  })
}

const passing = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EAI_AGAIN', '57P03'])

/** Whatever starts them all starts them in no order: what comes up within the timeout is waited for. */
async function connectPatiently (address: PostgresAddress, connectTimeout: number): Promise<{ readonly client: PostgresClient, readonly takesSettings: boolean }> {
  const until = performance.now() + connectTimeout
  let takesSettings = true
  for (;;) {
    try {
      return { client: await connectClient(address, { statementTimeout: takesSettings ? MIGRATION : null, connectTimeout }), takesSettings }
    } catch (error) {
      if (takesSettings && error instanceof Error && error.message.includes('unsupported startup parameter')) takesSettings = false
      else if (!passing.has(codeOf(error)) || performance.now() + 100 > until) throw connectFault(error, address)
      else await pause(100)
    }
  }
}

function databaseOf (pool: PostgresPool, schema: string): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: stepped(new LeanDialect({ pool }, schema)) }).withSchema(schema)
}

/** Who migrates has a lock already: see `migrateAlone`. */
class UnlockedAdapter extends PostgresAdapter {
  override async acquireMigrationLock (): Promise<void> {}
  override async releaseMigrationLock (): Promise<void> {}
}

/** Kysely's own introspector reads every column of every schema, which in a large database takes longer than all else at a start. */
class LeanDialect extends PostgresDialect {
  readonly #schema: string

  constructor (config: ConstructorParameters<typeof PostgresDialect>[0], schema: string) {
    super(config)
    this.#schema = schema
  }

  override createAdapter (): PostgresAdapter {
    return new UnlockedAdapter()
  }

  override createIntrospector (db: Kysely<never>): DatabaseIntrospector {
    const schema = this.#schema
    const getTables = async () => {
      const { rows } = await sql<{ name: string }>`select tablename as name from pg_catalog.pg_tables where schemaname = ${schema}`.execute(db)
      return rows.map(({ name }) => ({ name, schema, isView: false, columns: [] }))
    }
    return {
      async getSchemas () {
        const { rows } = await sql<{ name: string }>`select nspname as name from pg_catalog.pg_namespace where nspname = ${schema}`.execute(db)
        return rows
      },
      getTables,
      async getMetadata () { return { tables: await getTables() } },
    }
  }
}

/** What the triggers of 0003 send. */
function changeOf (payload: string): Change | null {
  if (payload === 'keys') return { kind: 'keys' }
  const [, until, id] = /^ended (\d{1,15}) (.+)$/s.exec(payload) ?? []
  return id === undefined ? null : { kind: 'ended', sessions: [{ id, access_until: Number(until) }] }
}
