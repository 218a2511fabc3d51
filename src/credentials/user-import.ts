/** Users from elsewhere into storage, their hashes as they are: all of them or none. */
import { randomUUID } from 'node:crypto'
import type { Insertable } from 'kysely'
import { StartupFault } from '../errors.ts'
import { step } from '../steps.ts'
import type { Database, UsersTable } from '../storage/database.ts'
import { readForeignUser, UnreadableUser, type UserFields } from './foreign-user.ts'
import { readHash } from './hash-kinds.ts'
import { nameFault, nameKey } from './user-name.ts'
import { slowestHashKey } from './user-store.ts'

export interface ImportRecord {
  readonly line: number
  readonly values: Readonly<Record<string, unknown>> | null
  readonly fault?: string
}

export interface RefusedRecord {
  readonly line: number
  /** Counted from 1: of a file in one line, what tells them apart. */
  readonly record: number
  readonly name: string | null
  readonly reason: string
}

export interface ImportOptions {
  readonly db: Database
  /** Read twice: checked as a whole before storage is locked for it. */
  readonly records: () => AsyncIterable<ImportRecord>
  /** How the file calls what a user is made of. */
  readonly fields: UserFields & { readonly name: string, readonly passwordHash: string }
  readonly dryRun: boolean
  /** Those that are refused stay out, and the others come in. Else one that is refused keeps all of them out. */
  readonly skipRefused: boolean
  readonly now: () => number
  readonly onProgress: (phase: 'checked' | 'imported', count: number) => void
}

export interface ImportReport {
  readonly imported: number
  /** Would be, or were. */
  readonly accepted: number
  readonly refused: readonly RefusedRecord[]
}

/** Rows of one statement. */
const batchSize = 200

/** Throws a StartupFault, and then nothing was imported. */
export async function importUsers ({ db, records, fields, dryRun, skipRefused, now, onProgress }: ImportOptions): Promise<ImportReport> {
  const time = now()
  const first = readRows(records(), fields, time)
  let accepted = 0
  for await (const rows of first.batches) {
    await first.refuseKnown(db, rows)
    accepted += rows.length
    onProgress('checked', accepted + first.refused.length)
  }
  const { refused, slowest } = first
  refused.sort((one, other) => one.record - other.record)
  accepted = first.accepted()
  if (dryRun || accepted === 0 || (refused.length > 0 && !skipRefused)) return { imported: 0, accepted, refused }

  step('import: all checked')
  const out = new Set(refused.map(({ record }) => record))
  const again = readRows(records(), fields, time, out)
  let imported = 0
  await db.transaction().execute(async (transaction) => {
    for await (const rows of again.batches) {
      const { numInsertedOrUpdatedRows } = await transaction.insertInto('users').values(rows.map(({ row }) => row)).onConflict((conflict) => conflict.doNothing()).executeTakeFirst()
      if (Number(numInsertedOrUpdatedRows) !== rows.length) throw new StartupFault('a user of the file was added meanwhile; nothing was imported, run it again')
      imported += rows.length
      step('import: batch written')
      onProgress('imported', imported)
    }
    if (imported !== accepted || again.refused.length > 0) throw new StartupFault('the file has changed while it was read; nothing was imported, run it again')
    step('import: all written')
    // What an unknown name costs, so that time does not tell these users from none.
    if (slowest() !== null) {
      await transaction.insertInto('meta').values({ key: slowestHashKey, value: slowest() ?? '' }).onConflict((conflict) => conflict.column('key').doUpdateSet({ value: slowest() ?? '' })).execute()
    }
  })
  step('import: committed')
  return { imported, accepted, refused }
}

interface NewRow { readonly line: number, readonly record: number, readonly row: Insertable<UsersTable> }

function readRows (records: AsyncIterable<ImportRecord>, fields: ImportOptions['fields'], time: number, out: ReadonlySet<number> = new Set()) {
  const refused: RefusedRecord[] = []
  const names = new Set<string>()
  const ids = new Set<string>()
  let slowest: { readonly hash: string, readonly cost: number } | null = null
  let taken = 0

  function rowOf ({ line, values, fault }: ImportRecord, record: number): NewRow | null {
    const written = values?.[fields.name]
    const name = typeof written === 'string' ? written : null
    const refuse = (reason: string): null => {
      refused.push({ line, record, name, reason })
      return null
    }
    if (values === null) return refuse(fault ?? 'is no record')
    if (name === null) return refuse(`has no ${fields.name}`)
    const wrong = nameFault(name)
    if (wrong !== null) return refuse(wrong)
    const hash = values[fields.passwordHash]
    if (typeof hash !== 'string' || hash === '') return refuse(`has no ${fields.passwordHash}`)
    const read = readHash(hash)
    if ('fault' in read) return refuse(`its hash ${read.fault}`)
    let user
    try {
      const given = values[fields.id] ?? randomUUID()
      user = readForeignUser({ ...values, [fields.id]: given }, name, { fields, prefix: '', roles: [], secret: [fields.passwordHash, 'password', 'password_hash'] })
    } catch (error) {
      if (!(error instanceof UnreadableUser)) throw error
      return refuse(error.message)
    }
    const key = nameKey(name)
    if (names.has(key)) return refuse('stands in the file before (case and Unicode forms do not tell names apart)')
    if (ids.has(user.id)) return refuse('has the id of one before')
    names.add(key)
    ids.add(user.id)
    if (slowest === null || read.cost > slowest.cost) slowest = { hash, cost: read.cost }
    const { roles, scopes, attributes } = user.subject
    return {
      line,
      record,
      row: {
        id: user.id, name, name_key: key, password_hash: hash, roles: JSON.stringify(roles), scopes: JSON.stringify(scopes), attributes: JSON.stringify(attributes),
        disabled_at: user.disabled ? time : null, created_at: time, updated_at: time,
      },
    }
  }

  async function * batches (): AsyncGenerator<NewRow[]> {
    let batch: NewRow[] = []
    let count = 0
    for await (const record of records) {
      if (out.has(++count)) continue
      const row = rowOf(record, count)
      if (row === null) continue
      batch.push(row)
      if (batch.length === batchSize) {
        taken += batch.length
        yield batch
        batch = []
      }
    }
    taken += batch.length
    if (batch.length > 0) yield batch
  }

  return {
    batches: batches(),
    refused,
    accepted: () => taken,
    slowest: () => slowest?.hash ?? null,
    /** Whose name or id is in storage already. */
    async refuseKnown (db: Database, rows: readonly NewRow[]): Promise<void> {
      const known = await db.selectFrom('users').select(['id', 'name_key'])
        .where((where) => where.or([where('name_key', 'in', rows.map(({ row }) => row.name_key)), where('id', 'in', rows.map(({ row }) => row.id))])).execute()
      for (const { line, record, row } of rows) {
        const same = known.find(({ id, name_key: key }) => key === row.name_key || id === row.id)
        if (same === undefined) continue
        taken--
        refused.push({ line, record, name: row.name, reason: same.name_key === row.name_key ? 'a user of this name is in storage already' : 'the id is that of another user in storage' })
      }
    },
  }
}
