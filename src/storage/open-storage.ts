/** A storage URL → one database, opened, brought up to date, watched for what others write, and closed. */
import { Kysely, sql } from 'kysely'
import { StartupFault } from '../errors.ts'
import type { Storage, Tables } from './database.ts'
import { migrate } from './migrations.ts'
import { openSqliteDatabase } from './sqlite.ts'

/** Milliseconds between two looks for what other processes have written. */
const POLL = 200

export interface StorageOptions {
  /** Milliseconds that a query waits for a lock of another process. */
  readonly patience?: number
}

/** `url`: `sqlite:PATH`. Throws a StartupFault: one line, and what to do. */
export async function openStorage (url: string, { patience = 5_000 }: StorageOptions = {}): Promise<Storage> {
  if (!url.startsWith('sqlite:')) throw new StartupFault('`storage` must begin with sqlite:')
  const path = url.slice('sqlite:'.length)
  // To SQLite these are no files, or not the one that is named: sessions and keys would be gone with the process.
  if (path === '' || path.startsWith(':memory:') || path.startsWith('file:')) {
    throw new StartupFault('`storage` must name a file, as in sqlite:./data/gatewarden.db')
  }
  const { dialect, dataVersion } = openSqliteDatabase(path, { patience })
  const db = new Kysely<Tables>({ dialect })
  try {
    await migrate(db)
  } catch (error) {
    await db.destroy()
    throw error
  }

  const listeners = new Set<() => void>()
  let seen = dataVersion()
  const poll = setInterval(() => {
    try {
      const version = dataVersion()
      if (version === seen) return
      seen = version
    } catch {
      // Cannot be read just now: the next look finds what has changed since.
      return
    }
    for (const listener of listeners) listener()
  }, POLL)
  poll.unref()

  return {
    db,
    engine: 'sqlite',
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    async ping () {
      // A write that changes nothing: a full disk or a read-only file system is noticed too.
      await db.transaction().execute(async (transaction) => {
        await sql`delete from meta where key = ''`.execute(transaction)
      })
    },
    async close () {
      clearInterval(poll)
      listeners.clear()
      await db.destroy()
    },
  }
}
