/** A storage URL → one database, opened, brought up to date, watched for what others write, and closed. */
import { Kysely, sql } from 'kysely'
import { StartupFault } from '../errors.ts'
import { step } from '../steps.ts'
import type { Change, Storage, Tables } from './database.ts'
import { migrate } from './migrations.ts'
import type { PostgresOptions } from './postgres-url.ts'
import { openSqliteDatabase } from './sqlite.ts'
import { stepped } from './stepped-dialect.ts'

/** Milliseconds between two looks for what other processes have written. */
const POLL = 200

export interface StorageOptions {
  /** SQLite: milliseconds that a query waits for a lock of another process. */
  readonly patience?: number
  /** What `storageOptions` says; PostgreSQL cannot be opened without. */
  readonly postgres?: PostgresOptions
  /** Told of what is allowed but unwise. */
  readonly warn?: (message: string) => void
}

/** `url`: `sqlite:PATH` or `postgres://…`. Throws a StartupFault: one line, and what to do. */
export async function openStorage (url: string, { patience = 5_000, postgres, warn = () => {} }: StorageOptions = {}): Promise<Storage> {
  if (isPostgresUrl(url) && postgres !== undefined) {
    // Who keeps to SQLite neither waits for the driver nor has it in memory.
    const { openPostgresStorage } = await import('./postgres.ts')
    return await openPostgresStorage(url, { options: postgres, warn })
  }
  if (!url.startsWith('sqlite:')) throw new StartupFault('`storage` must begin with sqlite: or postgres://')
  const path = url.slice('sqlite:'.length)
  // To SQLite these are no files, or not the one that is named: sessions and keys would be gone with the process.
  if (path === '' || path.startsWith(':memory:') || path.startsWith('file:')) {
    throw new StartupFault('`storage` must name a file, as in sqlite:./data/gatewarden.db')
  }
  const { dialect, dataVersion } = await openSqliteDatabase(path, { patience })
  const db = new Kysely<Tables>({ dialect: stepped(dialect) })
  try {
    await migrate(db)
    step('migration: all committed')
  } catch (error) {
    await db.destroy()
    throw error
  }

  const listeners = new Set<(change: Change) => void>()
  let seen = await dataVersion()
  let toldUntil = performance.now()
  let looking = false
  async function look (): Promise<void> {
    if (looking) return
    looking = true
    const lookedAt = performance.now()
    try {
      const version = await dataVersion()
      toldUntil = lookedAt
      if (version === seen) return
      seen = version
    } catch {
      // Cannot be read just now: the next look finds what has changed since.
      return
    } finally {
      looking = false
    }
    for (const listener of listeners) listener({ kind: 'anything', missed: false })
  }
  const poll = setInterval(() => { void look() }, POLL)
  poll.unref()

  return {
    db,
    engine: 'sqlite',
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    toldUntil: () => toldUntil,
    async ping () {
      // A write that changes nothing, and goes to the disk all the same, as one of no rows would not: what is full or read-only is noticed.
      await db.transaction().execute(async (transaction) => { await sql`pragma user_version = 0`.execute(transaction) })
    },
    async close () {
      clearInterval(poll)
      listeners.clear()
      await db.destroy()
    },
  }
}

export function isPostgresUrl (url: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(url)
}
