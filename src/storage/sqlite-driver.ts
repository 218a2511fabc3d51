/** The only file that knows a SQLite driver: node:sqlite where Node has it, its stand-in of the same API on Node 20. */
import { createRequire } from 'node:module'
import { StartupFault } from '../errors.ts'

export type SqliteValue = string | number | bigint | null | Uint8Array

/** By position, or all of them by their names. */
export type SqliteParameters = readonly SqliteValue[] | readonly [Readonly<Record<string, SqliteValue>>]

export interface SqliteStatement {
  all (...parameters: SqliteParameters): Record<string, unknown>[]
  iterate (...parameters: SqliteParameters): Iterable<Record<string, unknown>>
  run (...parameters: SqliteParameters): { readonly changes: number | bigint, readonly lastInsertRowid: number | bigint }
  columns (): readonly { readonly name: string | null }[]
  setReadBigInts (enabled: boolean): void
}

export interface SqliteConnection {
  exec (sql: string): void
  prepare (sql: string): SqliteStatement
  close (): void
}

export interface SqliteOptions {
  /** A file that is not there is then not made either. */
  readonly readOnly?: boolean
}

interface SqliteModule {
  readonly DatabaseSync: new (path: string, options?: SqliteOptions) => SqliteConnection
}

/** Throws what the driver throws: errors with `errcode`, SQLite's own number. */
export function openSqlite (path: string, options: SqliteOptions = {}): SqliteConnection {
  const { DatabaseSync } = loadDriver()
  return new DatabaseSync(path, options)
}

function loadDriver (): SqliteModule {
  const load = createRequire(import.meta.url)
  // Asked for by number: on early Node 22 the module is there, but behind a flag, and before 22.16 and 23.11 it cannot tell a
  // statement that gives rows from one that gives none.
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const builtIn = major > 23 || (major === 23 && minor >= 11) || (major === 22 && minor >= 16)
  const name = builtIn ? 'node:sqlite' : '@photostructure/sqlite'
  try {
    return load(name) as SqliteModule
  } catch (error) {
    throw new StartupFault(`there is no SQLite here: ${name} does not load on Node ${process.versions.node}; use Node 22.16 or newer, or install with the optional dependencies`, { cause: error })
  }
}
