/**
 * What keeps two transactions from missing each other. SQLite has one writer at a time, and needs none of it; PostgreSQL lets them
 * run side by side, each on what was committed when its statement began.
 */
import { createHash } from 'node:crypto'
import { PostgresAdapter, sql, type Kysely, type Transaction } from 'kysely'

/** Waits until nobody else holds any of the names; held until the transaction ends. */
export async function lockAlone<Tables> (transaction: Transaction<Tables>, ...names: readonly string[]): Promise<void> {
  if (!isPostgres(transaction)) return
  // In one order everywhere: of two that want the same two names, none waits for the other.
  for (const name of [...names].sort()) await sql`select pg_advisory_xact_lock(${numberOf(name)}::bigint)`.execute(transaction)
}

/** Waits while somebody holds the name alone; any number hold it together. */
export async function lockTogether<Tables> (transaction: Transaction<Tables>, name: string): Promise<void> {
  if (!isPostgres(transaction)) return
  await sql`select pg_advisory_xact_lock_shared(${numberOf(name)}::bigint)`.execute(transaction)
}

/**
 * One statement under locks. SQLite needs none of them, and no transaction: that would take three turns of its thread instead of
 * one, and keep everybody else waiting meanwhile.
 */
export async function statementUnder<Tables, Result> (
  db: Kysely<Tables>,
  lock: (transaction: Transaction<Tables>) => Promise<void>,
  statement: (within: Kysely<Tables>) => Promise<Result>
): Promise<Result> {
  if (!isPostgres(db)) return await statement(db)
  return await db.transaction().execute(async (transaction) => {
    await lock(transaction)
    return await statement(transaction)
  })
}

export function isPostgres<Tables> (db: Kysely<Tables>): boolean {
  return db.getExecutor().adapter instanceof PostgresAdapter
}

/** 64 bits of a hash: names that meet by chance wait for each other once, and are none the worse. */
function numberOf (name: string): string {
  return createHash('sha256').update(`gatewarden ${name}`).digest().readBigInt64BE(0).toString()
}
