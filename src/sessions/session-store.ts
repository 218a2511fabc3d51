/** The sessions' rows, and what each verb promises under concurrency. Times are milliseconds since the epoch. */
import { sql, type Selectable, type Transaction } from 'kysely'
import { step } from '../steps.ts'
import type { Database, SessionsTable, Tables } from '../storage/database.ts'
import { lockAlone, lockTogether, statementUnder } from '../storage/locks.ts'
import { prepareQuery } from '../storage/prepared-query.ts'

export type Session = Selectable<SessionsTable>

export interface Rotation {
  readonly id: string
  /** The token that is used: the rotation happens only if it is in force. */
  readonly generation: number
  readonly tokenHash: string
  readonly successorHash: string
  readonly recentRotations: string
  /** Until when the access token that goes with the successor may live. */
  readonly accessUntil: number
  readonly time: number
}

export interface SessionStore {
  insert (session: Session): Promise<void>
  find (id: string): Promise<Session | null>
  /** One atomic step: of any number of calls with the same token exactly one is answered true. */
  rotate (rotation: Rotation): Promise<boolean>
  /** True if this call ended it; of two, one did. With `subject`, only if it is that subject's. */
  end (id: string, reason: string, time: number, subject?: string): Promise<Session | null>
  live (subject: string, time: number): Promise<Session[]>
  /** Deletes up to `limit` rows that nobody can need any more, from where the last batch ended; how many. Fewer: from there on there are none. */
  deleteDead (time: number, endedBefore: number, limit: number): Promise<number>
}

export function createSessionStore (db: Database): SessionStore {
  // What each login and each refresh asks.
  const byId = prepareQuery<{ id: string }, Session>(db, (value) => db.selectFrom('sessions').selectAll().where('id', '=', value('id')))
  const insertion = prepareQuery<Session, unknown>(db, (value) => db.insertInto('sessions').values({
    id: value('id'),
    subject: value('subject'),
    source: value('source'),
    client_id: value('client_id'),
    user_agent: value('user_agent'),
    address: value('address'),
    created_at: value('created_at'),
    last_used_at: value('last_used_at'),
    expires_at: value('expires_at'),
    generation: value('generation'),
    token_hash: value('token_hash'),
    recent_rotations: value('recent_rotations'),
    ended_at: value('ended_at'),
    end_reason: value('end_reason'),
    access_until: value('access_until'),
    credential_tag: value('credential_tag'),
  }))
  const rotation = prepareQuery<Rotation & { next: number }, unknown>(db, (value) => db.updateTable('sessions')
    .set({
      generation: value('next'),
      token_hash: value('successorHash'),
      recent_rotations: value('recentRotations'),
      last_used_at: value('time'),
      // Never less than before: an older access token may live longer than this one.
      access_until: sql<number>`case when access_until < ${value('accessUntil')} then ${value('accessUntil')} else access_until end`,
    })
    .where('id', '=', value('id'))
    .where('generation', '=', value('generation'))
    .where('token_hash', '=', value('tokenHash'))
    .where('ended_at', 'is', null)
    .where('expires_at', '>', value('time')))

  /**
   * Where the batch before has ended: PostgreSQL keeps what is deleted in the index until a vacuum, and for as long as a backup is
   * taken, and from the beginning each batch would read it all.
   */
  let reached = { expires_at: 0, ended_at: 0 }

  return {
    async insert (session) {
      // Who ends the subject's sessions just now has not seen this one: it is written when they are done, and whoever looks
      // at the subject after that sees what they did.
      await statementUnder(db, async (transaction) => { await lockTogether(transaction, subjectLock(session.subject)) },
        async (within) => await insertion(session, within))
    },

    async find (id) {
      const { rows } = await byId({ id })
      return rows[0] ?? null
    },

    async rotate (asked) {
      const { numAffectedRows } = await rotation({ ...asked, next: asked.generation + 1 })
      return numAffectedRows === 1n
    },

    async end (id, reason, time, subject) {
      let update = db.updateTable('sessions').set({ ended_at: time, end_reason: reason }).where('id', '=', id).where('ended_at', 'is', null)
      if (subject !== undefined) update = update.where('subject', '=', subject)
      return await update.returningAll().executeTakeFirst() ?? null
    },

    async live (subject, time) {
      return await db.selectFrom('sessions').selectAll()
        .where('subject', '=', subject)
        .where('ended_at', 'is', null)
        .where('expires_at', '>', time)
        .orderBy('created_at')
        .execute()
    },

    async deleteDead (time, endedBefore, limit) {
      const next = { ...reached }
      const deleted = await db.transaction().execute(async (transaction) => {
        // Replicas that clean at once would each find the same rows, and wait for each other's in any order.
        await lockAlone(transaction, 'cleaning of sessions')
        // One after the other, each along its index: for both at once PostgreSQL may read the whole table, over and over as it empties.
        const expired = await deleteAlong('expires_at', Math.min(time, endedBefore), limit)
        return expired === limit ? expired : expired + await deleteAlong('ended_at', endedBefore, limit - expired)

        async function deleteAlong (column: keyof typeof next, before: number, most: number): Promise<number> {
          const dead = transaction.selectFrom('sessions').select('id')
            .where(column, '>=', next[column])
            .where(column, '<', before)
            .where('access_until', '<', time)
            .orderBy(column)
            .limit(most)
          const rows = await transaction.deleteFrom('sessions').where('id', 'in', dead).returning(column).execute()
          for (const row of rows) next[column] = Math.max(next[column], row[column] ?? 0)
          return rows.length
        }
      })
      // When all is deleted the next batch looks from the beginning: a clock that is behind may have ended one there meanwhile.
      reached = deleted < limit ? { expires_at: 0, ended_at: 0 } : next
      return deleted
    },
  }
}

/** Ends all live sessions of a subject within a transaction of the caller's, so that both happen or neither. */
export async function endSessionsOf (transaction: Transaction<Tables>, subject: string, reason: string, time: number): Promise<string[]> {
  await lockAlone(transaction, subjectLock(subject))
  const rows = await transaction.updateTable('sessions').set({ ended_at: time, end_reason: reason })
    .where('subject', '=', subject)
    .where('ended_at', 'is', null)
    .returning('id')
    .execute()
  step('sessions of a user: ended')
  return rows.map(({ id }) => id)
}

function subjectLock (subject: string): string {
  return `sessions of ${subject}`
}
