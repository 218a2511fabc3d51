/** Somebody else's database, of which one table holds users: asked with the operator's query, read-only unless it says update. */
import type { Pool, PoolClient, QueryResult } from 'pg'
import { createHelperProcesses } from '../helper-process.ts'
import { DatabaseFault } from './database-fault.ts'
import { openPostgresPool } from './postgres-driver.ts'
import { readPostgresUrl, type PostgresOptions } from './postgres-url.ts'
import type { SqliteTask, SqliteTaskResult } from './sqlite-process.ts'

export type Row = Readonly<Record<string, unknown>>

export interface UserDatabase {
  /** At most two rows: more than one is one too many. Throws a DatabaseFault. */
  query (text: string, parameter: string): Promise<{ readonly columns: readonly string[], readonly rows: readonly Row[] }>
  /** How many rows it changed. Throws a DatabaseFault. */
  update (text: string, parameters: readonly string[]): Promise<number>
  close (): Promise<void>
}

export interface UserDatabaseOptions {
  /** `postgres://…` or `sqlite:PATH`. */
  readonly url: string
  /** Milliseconds: of a connection, and of a query. */
  readonly timeout: number
  readonly connections: number
  readonly writable: boolean
  readonly tls: PostgresOptions['tls']
}

/** Connects when it is first asked: a database that is down at the start may come up. Throws a StartupFault for a URL that cannot be read. */
export async function openUserDatabase (options: UserDatabaseOptions): Promise<UserDatabase> {
  return options.url.startsWith('sqlite:') ? openSqlite(options) : openPostgres(options)
}

async function openPostgres ({ url, timeout, connections, tls }: UserDatabaseOptions): Promise<UserDatabase> {
  const { host, port, user, password, database, ssl } = readPostgresUrl(url, 'url', { tls })
  const pool = await openPostgresPool({
    host,
    port,
    user,
    database,
    ssl,
    // An empty one keeps the driver from looking into PGPASSWORD and ~/.pgpass: what is configured is all there is.
    password: password ?? '',
    application_name: 'gatewarden',
    keepAlive: true,
    max: connections,
    connectionTimeoutMillis: timeout,
    // The server's own timeout answers first; this one is for a server that does not answer at all.
    query_timeout: timeout + 500,
    idleTimeoutMillis: 30_000,
    allowExitOnIdle: true,
  })
  return {
    async query (text, parameter) {
      const { fields, rows } = await inTransaction(pool, 'read only', timeout, async (client) => await client.query({ text, values: [parameter] }) as QueryResult<Row>)
      return { columns: fields.map(({ name }) => name), rows: rows.slice(0, 2) }
    },
    async update (text, parameters) {
      return await inTransaction(pool, 'read write', timeout, async (client) => (await client.query({ text, values: [...parameters] })).rowCount ?? 0)
    },
    async close () { await pool.end() },
  }
}

/** `set` alone would stay with a connection that PgBouncer hands to others; what a transaction begins with holds in it alone. */
async function inTransaction<Result> (pool: Pool, mode: string, timeout: number, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect().catch((error: unknown) => { throw new DatabaseFault('unavailable', error) })
  let broken: Error | undefined
  try {
    await client.query(`begin ${mode}; set local statement_timeout = ${timeout}`)
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch((failed: unknown) => { broken = failed instanceof Error ? failed : new Error(String(failed)) })
    throw faultOf(error)
  } finally {
    client.release(broken)
  }
}

/** By the class of the SQLSTATE (PostgreSQL, appendix A). */
function faultOf (error: unknown): DatabaseFault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (/^22...$/.test(code)) return new DatabaseFault('input', error)
  return new DatabaseFault(/^(?:42|0A|25|2F|38|39)...$|^08P01$/.test(code) ? 'query' : 'unavailable', error)
}

function openSqlite ({ url, timeout, connections, writable }: UserDatabaseOptions): UserDatabase {
  const path = url.slice('sqlite:'.length)
  // SQLite answers at once or stops the process that asked: the requests would wait with it, and no timer could end it.
  const helpers = createHelperProcesses<SqliteTask, SqliteTaskResult>({
    module: 'storage/sqlite-process', parameters: [path, writable ? 'writable' : 'read-only', String(timeout)], timeout,
  })
  let busy = 0
  const run = async (task: SqliteTask) => {
    if (busy >= connections * 16) throw new DatabaseFault('unavailable', 'too many queries at once')
    busy++
    try {
      return await helpers.run(task)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? Number(error.code) & 0xff : 0
      // Node 20's stand-in leaves the number out where a statement runs.
      const isReadOnly = code === SQLITE_READONLY || (error instanceof Error && error.message.includes('readonly database'))
      throw new DatabaseFault(code === SQLITE_ERROR || isReadOnly ? 'query' : 'unavailable', error)
    } finally {
      busy--
    }
  }
  return {
    async query (text, parameter) {
      const { columns, rows } = await run({ text, parameters: [parameter], update: false })
      return { columns, rows }
    },
    async update (text, parameters) {
      return (await run({ text, parameters, update: true })).changes
    },
    async close () { helpers.close() },
  }
}

const SQLITE_ERROR = 1
const SQLITE_READONLY = 8
