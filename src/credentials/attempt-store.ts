/** The rows of failed logins and of known origins, and what each verb promises under concurrency. Times are milliseconds since the epoch. */
import { sql } from 'kysely'
import type { Database } from '../storage/database.ts'
import { lockAlone, statementUnder } from '../storage/locks.ts'
import { prepareQuery, type PreparedQuery } from '../storage/prepared-query.ts'

/** What an attempt is counted by, how many failures that takes before it delays, and how many milliseconds it delays at most. */
export interface Counter {
  readonly key: string
  readonly free: number
  readonly longest: number
}

export interface AttemptStore {
  /**
   * Counts a failure by each of them, unless one of them has a delay that runs: then by none, and false. One atomic step: of two
   * replicas that count at once, the one that is too many knows of the other.
   */
  count (counters: readonly Counter[], time: number): Promise<boolean>
  /** Until when each delays; of a key that nothing is known of: 0. */
  blockedUntil (counters: readonly Counter[]): Promise<readonly number[]>
  /** One failure of each, and the delay that came with it. */
  takeBack (counters: readonly Counter[]): Promise<void>
  forget (counter: string): Promise<void>
  /** null for an origin that nobody has logged in from since then. */
  lastSuccess (origin: string, since: number): Promise<number | null>
  remember (origin: string, time: number): Promise<void>
  /** Both delete up to `limit` rows; how many. */
  deleteAttempts (before: number, limit: number): Promise<number>
  deleteOrigins (before: number, limit: number): Promise<number>
}

/** `delay`: after the first failure that is too many; twice the one before for each further one. `window`: after which a count begins anew. */
export function createAttemptStore (db: Database, { delay, window }: { readonly delay: number, readonly window: number }): AttemptStore {
  // What each login asks. By how many counters: those of somebody who is known, and those of a stranger.
  const counting = new Map([1, 3].map((size) => [size, prepareCount(db, size)]))
  const takingBack = new Map([1, 3].map((size) => [size, prepareTakeBack(db, size)]))
  const knownOrigin = prepareQuery<{ origin: string, since: number }, { last_success_at: number }>(db, (value) => db.selectFrom('known_origins')
    .select('last_success_at').where('key', '=', value('origin')).where('last_success_at', '>', value('since')))
  const forgetting = prepareQuery<{ key: string }, unknown>(db, (value) => db.deleteFrom('login_attempts').where('key', '=', value('key')))
  const remembering = prepareQuery<{ origin: string, time: number }, unknown>(db, (value) => db.insertInto('known_origins')
    .values({ key: value('origin'), last_success_at: value('time') })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ last_success_at: value('time') })))

  async function alone<Result> (counters: readonly Counter[], statement: (within: Database) => Promise<Result>): Promise<Result> {
    return await statementUnder(db, async (transaction) => { await lockAlone(transaction, ...counters.map(({ key }) => key)) }, statement)
  }

  return {
    async count (counters, time) {
      const values: Values = { time, delay, window }
      for (const [index, { key, free, longest }] of counters.entries()) {
        values[`key${index}`] = key
        // Without a delay none is too many.
        values[`free${index}`] = delay === 0 || longest === 0 ? Number.MAX_SAFE_INTEGER : free
        values[`longest${index}`] = longest
        values[`doublings${index}`] = delay === 0 || longest <= delay ? 0 : Math.ceil(Math.log2(longest / delay))
      }
      const { numAffectedRows } = await alone(counters, async (within) => await prepared(counting, counters)(values, within))
      return numAffectedRows === BigInt(counters.length)
    },

    async blockedUntil (counters) {
      const rows = await db.selectFrom('login_attempts').select(['key', 'blocked_until']).where('key', 'in', counters.map(({ key }) => key)).execute()
      return counters.map(({ key }) => rows.find((row) => row.key === key)?.blocked_until ?? 0)
    },

    async takeBack (counters) {
      const values = Object.fromEntries(counters.map(({ key }, index) => [`key${index}`, key]))
      await alone(counters, async (within) => await prepared(takingBack, counters)(values, within))
    },

    async forget (key) {
      await forgetting({ key })
    },

    async lastSuccess (origin, since) {
      const { rows: [known] } = await knownOrigin({ origin, since })
      return known?.last_success_at ?? null
    },

    async remember (origin, time) {
      await remembering({ origin, time })
    },

    async deleteAttempts (before, limit) {
      const { numDeletedRows } = await db.deleteFrom('login_attempts').where('last_failure_at', '<', before)
        .where('key', 'in', db.selectFrom('login_attempts').select('key').where('last_failure_at', '<', before).orderBy('last_failure_at').limit(limit))
        .executeTakeFirst()
      return Number(numDeletedRows)
    },

    async deleteOrigins (before, limit) {
      const { numDeletedRows } = await db.deleteFrom('known_origins').where('last_success_at', '<', before)
        .where('key', 'in', db.selectFrom('known_origins').select('key').where('last_success_at', '<', before).orderBy('last_success_at').limit(limit))
        .executeTakeFirst()
      return Number(numDeletedRows)
    },
  }
}

type Values = Record<string, string | number>

function prepared (queries: ReadonlyMap<number, PreparedQuery<Values, unknown>>, { length }: readonly Counter[]): PreparedQuery<Values, unknown> {
  const query = queries.get(length)
  if (query === undefined) throw new Error(`nothing is counted by ${length} counters`)
  return query
}

/**
 * One statement, where a look and then an entry would be a transaction of three turns, in which nobody else writes to SQLite.
 * Whoever comes while a delay runs is not counted: waiting would else never end for somebody whose client tries again too early.
 * `blocked_until` is 0 and not the time where there is nothing to wait for: by the clock of another replica, the time may be ahead.
 */
function prepareCount (db: Database, size: number): PreparedQuery<Values, unknown> {
  return prepareQuery<Values, unknown>(db, (value) => {
    // PostgreSQL is not told the type of what stands in a list of its own.
    const number = (name: string) => sql<number>`cast(${value(name)} as bigint)`
    const indexes = Array.from({ length: size }, (_, index) => index)
    const listed = sql.join(indexes.map((index) => sql`
      select cast(${value(`key${index}`)} as text) as key, ${number(`free${index}`)} as free,
        ${number(`longest${index}`)} as longest, ${number(`doublings${index}`)} as doublings`), sql` union all `)
    return db
      .with('counted', (within) => within.selectFrom(sql<Listed>`(${listed})`.as('counter')).leftJoin('login_attempts as known', 'known.key', 'counter.key')
        .selectAll('counter')
        .select([
          'known.blocked_until as running_until',
          sql<number>`case when known.key is null or ${number('time')} - known.last_failure_at > ${number('window')} then 1 else known.failures + 1 end`.as('failures'),
        ]))
      .insertInto('login_attempts').columns(['key', 'failures', 'last_failure_at', 'blocked_until'])
      .expression((within) => within.selectFrom('counted')
        .select(['key', 'failures', number('time').as('last_failure_at'), sql<number>`case
          when failures < free then 0
          when failures - free >= doublings then ${number('time')} + longest
          else ${number('time')} + (${number('delay')} << cast(failures - free as integer))
        end`.as('blocked_until')])
        // A delay that runs does not where by now there are none.
        .where(({ not, exists, selectFrom }) => not(exists(selectFrom('counted').select('key').where('running_until', '>', number('time')).where('longest', '>', 0)))))
      .onConflict((conflict) => conflict.column('key').doUpdateSet(({ ref }) => ({
        failures: ref('excluded.failures'),
        last_failure_at: ref('excluded.last_failure_at'),
        blocked_until: ref('excluded.blocked_until'),
      })))
  })
}

interface Listed extends Counter {
  readonly doublings: number
}

function prepareTakeBack (db: Database, size: number): PreparedQuery<Values, unknown> {
  return prepareQuery<Values, unknown>(db, (value) => db.updateTable('login_attempts')
    .set({ failures: sql`failures - 1`, blocked_until: 0 })
    .where('key', 'in', Array.from({ length: size }, (_, index) => value(`key${index}`) as string))
    .where('failures', '>', 0))
}
