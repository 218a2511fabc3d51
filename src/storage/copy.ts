/** All that one storage holds → an empty other one, of whichever engine: as one, or not at all. */
import type { Transaction } from 'kysely'
import { StartupFault } from '../errors.ts'
import { step } from '../steps.ts'
import type { Storage, Tables } from './database.ts'

/** Each table, by the column that its rows are walked along. */
const keyColumns = { users: 'id', sessions: 'id', keys: 'kid', login_attempts: 'key', known_origins: 'key', meta: 'key' } as const satisfies Record<keyof Tables, string>

const BATCH = 1_000

export type Counts = Readonly<Record<keyof Tables, number>>

/** How many rows of each table. Nobody else writes to an SQLite source meanwhile. Throws a StartupFault. */
export async function copyStorage (source: Storage, target: Storage): Promise<Counts> {
  const names = Object.keys(keyColumns) as (keyof Tables)[]
  const copied = await source.db.transaction().execute(async (from) => await target.db.transaction().execute(async (to) => {
    const counts = {} as Record<keyof Tables, number>
    for (const name of names) {
      const [row] = await to.selectFrom(name).selectAll().limit(1).execute()
      if (row !== undefined) throw new StartupFault(`the storage to copy to is not empty: it has rows in ${name}; choose another database, or another storageOptions.schema`)
    }
    for (const name of names) {
      counts[name] = await copyTable(from, to, name)
      step('copy: table written')
    }
    return counts
  }))
  step('copy: committed')
  return copied
}

async function copyTable (from: Transaction<Tables>, to: Transaction<Tables>, name: keyof Tables): Promise<number> {
  const key = keyColumns[name] as never
  let count = 0
  let last: string | null = null
  for (;;) {
    let query = from.selectFrom(name).selectAll().orderBy(key).limit(BATCH)
    if (last !== null) query = query.where(key, '>', last as never)
    const rows: Record<string, unknown>[] = await query.execute()
    if (rows.length === 0) return count
    await to.insertInto(name).values(rows as never).execute()
    count += rows.length
    last = String(rows.at(-1)?.[key])
  }
}
