/** SQLite as a Kysely dialect: one connection, one query or transaction at a time, every commit on the disk. */
import { chmodSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  CompiledQuery, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler,
  type DatabaseConnection, type Dialect, type Driver, type QueryResult,
} from 'kysely'
import { StartupFault } from '../errors.ts'
import { openSqlite, type SqliteConnection, type SqliteStatement, type SqliteValue } from './sqlite-driver.ts'

export interface SqliteDatabase {
  readonly dialect: Dialect
  /** Another text, and something has been written: by this connection, or committed by another one. */
  dataVersion (): string
}

/**
 * Makes the folder (0700) and the file (0600) where they are missing. Throws a StartupFault.
 * `patience`: milliseconds that a query waits for another process to let go of the file.
 */
export function openSqliteDatabase (path: string, { patience }: { readonly patience: number }): SqliteDatabase {
  const connection = connect(path)
  const ofOthers = connection.prepare('PRAGMA data_version')
  const own = connection.prepare('SELECT total_changes() AS changes')
  return {
    dialect: {
      createAdapter: () => new TransactionalSqliteAdapter(),
      createDriver: () => createDriver(connection, patience),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
    dataVersion: () => `${String(ofOthers.all()[0]?.['data_version'])} ${String(own.all()[0]?.['changes'])}`,
  }
}

/** Kysely migrates SQLite without a transaction: a crash would leave half a schema, and of two first starts one would fail. */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl (): boolean { return true }
}

function connect (path: string): SqliteConnection {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new StartupFault(`the folder of the storage cannot be made: ${dirname(path)} (${codeOf(error)}); choose another path in \`storage\`, or allow this one to be written`, { cause: error })
  }
  const umask = process.umask(0o077)
  let connection: SqliteConnection | null = null
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
      throw new StartupFault(`the storage is a folder: ${path}; \`storage\` names a file, such as sqlite:${path}/gatewarden.db`)
    }
    connection = openSqlite(path)
    connection.exec('PRAGMA busy_timeout = 5000')
    connection.exec('PRAGMA journal_mode = WAL')
    // In WAL mode NORMAL would lose the last commits in a power failure, and with them refresh tokens already given out.
    connection.exec('PRAGMA synchronous = FULL')
    connection.exec('PRAGMA foreign_keys = ON')
    // From here on the driver waits: SQLite's own waiting stops the whole process, and with it requests that need no storage.
    connection.exec('PRAGMA busy_timeout = 5')
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      if (statSync(file, { throwIfNoEntry: false }) !== undefined) chmodSync(file, 0o600)
    }
    return connection
  } catch (error) {
    connection?.close()
    throw error instanceof StartupFault ? error : openFault(path, error)
  } finally {
    process.umask(umask)
  }
}

const SQLITE_BUSY = 5
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

function openFault (path: string, error: unknown): StartupFault {
  const number = numberOf(error)
  if (number === SQLITE_CORRUPT || number === SQLITE_NOTADB) {
    return new StartupFault(`the storage is damaged, or not a SQLite database: ${path}; restore it from a backup, or move it away to begin anew`, { cause: error })
  }
  if (number === SQLITE_BUSY) {
    return new StartupFault(`the storage is locked by another process: ${path}; wait until that is done, or end it`, { cause: error })
  }
  return new StartupFault(`the storage cannot be opened: ${path}; it and its folder must be writable for this user`, { cause: error })
}

/** SQLite's number for what went wrong, without the details in its upper bits; 0 for what is not SQLite's. */
function numberOf (error: unknown): number {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
}

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

/** One connection, so that what a transaction has begun no other query gets in between of. */
function createDriver (sqlite: SqliteConnection, patience: number): Driver {
  const statements = new Map<string, SqliteStatement>()
  function execute<Row> ({ sql, parameters }: CompiledQuery): QueryResult<Row> {
    let statement = statements.get(sql)
    if (statement === undefined) {
      statement = sqlite.prepare(sql)
      if (statements.size < 256) statements.set(sql, statement)
    }
    const values = parameters as readonly SqliteValue[]
    if (statement.columns().length > 0) {
      // Rows have no prototype; a copy makes them plain objects.
      return { rows: statement.all(...values).map((row) => ({ ...row })) as Row[] }
    }
    const { changes, lastInsertRowid } = statement.run(...values)
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) }
  }

  const connection: DatabaseConnection = {
    async executeQuery<Row> (query: CompiledQuery): Promise<QueryResult<Row>> {
      const until = performance.now() + patience
      for (;;) {
        try {
          return execute<Row>(query)
        } catch (error) {
          // Nothing has been done then, and can be tried again.
          if (numberOf(error) !== SQLITE_BUSY || performance.now() >= until) throw error
        }
        await pause(10)
      }
    },
    async * streamQuery () {
      throw new Error('SQLite queries are not streamed')
    },
  }
  const raw = async (sql: string) => { await connection.executeQuery(CompiledQuery.raw(sql)) }
  let last: Promise<void> = Promise.resolve()
  let release: () => void = () => {}

  return {
    async init () {},
    async acquireConnection () {
      const before = last
      let done: () => void = () => {}
      last = new Promise((resolve) => { done = resolve })
      await before
      release = done
      return connection
    },
    async releaseConnection () { release() },
    // IMMEDIATE: a transaction that reads first and writes then would else fail where another process has written in between.
    async beginTransaction () { await raw('BEGIN IMMEDIATE') },
    async commitTransaction () { await raw('COMMIT') },
    async rollbackTransaction () {
      try {
        await raw('ROLLBACK')
      } catch (error) {
        // After a full disk or an I/O error SQLite has rolled back by itself; a fault here would hide the one that counts.
        if (!(error instanceof Error && error.message.includes('no transaction is active'))) throw error
      }
    },
    async destroy () {
      // What was asked for before is still answered.
      await last
      statements.clear()
      // Node 20's stand-in keeps the file open until its statements are collected, and would leave all that is new in the log:
      // whoever copies the one file after a clean stop would copy an old state.
      try {
        sqlite.exec('PRAGMA busy_timeout = 200')
        sqlite.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      } catch {
        // A disk that is full or gone: the log keeps what it has.
      }
      sqlite.close()
    },
  }
}
