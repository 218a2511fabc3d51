/**
 * Many callers, one SQLite connection: what comes together is committed together. A commit waits for the disk, and the disk takes
 * as long for a hundred rows as for one. Nobody is answered before what they wrote, or may have read, is on the disk.
 */
import type { SqliteConnection, SqliteStatement, SqliteValue } from './sqlite-driver.ts'

/** `unit`: the transaction that the task belongs to; null for a statement by itself. */
export type Task =
  | { readonly id: number, readonly what: 'query', readonly unit: number | null, readonly sql: string, readonly parameters: readonly SqliteValue[] }
  | { readonly id: number, readonly what: 'begin' | 'commit' | 'rollback', readonly unit: number }
  | { readonly id: number, readonly what: 'version' }

export type Answer =
  | { readonly id: number, readonly rows: readonly Record<string, unknown>[], readonly changes?: number | bigint, readonly insertId?: number | bigint }
  /** `errcode`: SQLite's own number; 0 for what is not SQLite's. */
  | { readonly id: number, readonly error: string, readonly errcode: number }

export interface GroupCommit {
  /** Does what can be done now; the rest when its turn comes. */
  run (tasks: readonly Task[]): void
}

export interface GroupCommitOptions {
  readonly answer: (answers: readonly Answer[]) => void
  /** Throws where nothing may be written any more. */
  readonly beforeCommit: () => void
  /** Milliseconds that a task waits for another process to let go of the file. */
  readonly patience: number
  /** Milliseconds, and what is called back after as many. */
  readonly now: () => number
  readonly later: (milliseconds: number, work: () => void) => void
}

const SQLITE_BUSY = 5
/** After these SQLite may have rolled back the whole transaction by itself: NOMEM, INTERRUPT, IOERR, FULL. */
const FATAL = [SQLITE_BUSY, 7, 9, 10, 13]
/** Milliseconds between two looks whether the file is free. */
const RETRY = 10

export function createGroupCommit (sqlite: SqliteConnection, { answer, beforeCommit, patience, now, later }: GroupCommitOptions): GroupCommit {
  const execute = createExecutor(sqlite)
  const version = createVersion(sqlite)
  /** In the order in which they came. */
  const waiting: { readonly task: Task, readonly until: number }[] = []
  let answers: Answer[] = []
  /** Of the group that is open: given when it is on the disk. null while none is open. */
  let held: Answer[] | null = null
  /** Whose transaction is open. Everybody else waits for its end. */
  let owner: number | null = null
  /** Another process has the file: who only reads goes on. */
  let busy = false

  function next (): typeof waiting[number] | undefined {
    // A statement may have come together with the beginning of its transaction, and stays behind that.
    const index = waiting.findIndex(({ task }) => owner !== null ? unitOf(task) === owner : !busy || (unitOf(task) === null && !needsLock(task)))
    return index === -1 ? undefined : waiting.splice(index, 1)[0]
  }

  function perform (entry: typeof waiting[number]): void {
    const { task } = entry
    const isAlone = unitOf(task) === null
    if (!isAlone && task.what !== 'begin' && owner === null) {
      // Its transaction could not begin: there is nothing to be taken back, and nothing that it may do.
      answers.push(task.what === 'rollback' ? { id: task.id, rows: [] } : failed(task.id, new Error('the transaction has not begun')))
      return
    }
    if (owner === null && needsLock(task)) {
      // A transaction of several turns keeps nobody waiting for their commit.
      if (task.what === 'begin') settle()
      if (held === null && !lock(entry)) return
      if (task.what === 'begin') {
        owner = task.unit
        answers.push({ id: task.id, rows: [] })
        return
      }
      held ??= []
    }
    try {
      const result: Answer = { id: task.id, ...done(task) }
      // Who reads what the group has written waits with it.
      if (isAlone && held !== null) held.push(result)
      else answers.push(result)
    } catch (error) {
      answers.push(failed(task.id, error))
      if (isAlone && held !== null && FATAL.includes(numberOf(error))) abandon(error)
    }
  }

  function done (task: Task): Omit<Extract<Answer, { rows: unknown }>, 'id'> {
    if (task.what === 'version') return { rows: [{ version: version() }] }
    if (task.what === 'query') return execute(task.sql, task.parameters)
    // Whatever comes of it, the others go on.
    owner = null
    if (task.what === 'commit') commit()
    else rollback()
    return { rows: [] }
  }

  /** IMMEDIATE: what reads first and writes then would else fail where another process has written in between. */
  function lock (entry: typeof waiting[number]): boolean {
    try {
      sqlite.exec('BEGIN IMMEDIATE')
      return true
    } catch (error) {
      if (numberOf(error) !== SQLITE_BUSY || now() >= entry.until) {
        answers.push(failed(entry.task.id, error))
        return false
      }
      // Nothing has been done then, and can be tried again.
      waiting.unshift(entry)
      busy = true
      later(RETRY, () => {
        busy = false
        run([])
      })
      return false
    }
  }

  function commit (): void {
    try {
      beforeCommit()
      sqlite.exec('COMMIT')
    } catch (error) {
      rollback()
      throw error
    }
  }

  function rollback (): void {
    try {
      sqlite.exec('ROLLBACK')
    } catch (error) {
      // After a full disk or an I/O error SQLite has rolled back by itself; a fault here would hide the one that counts.
      if (!(error instanceof Error && error.message.includes('no transaction is active'))) throw error
    }
  }

  /** Puts the group on the disk, and answers it. */
  function settle (): void {
    if (held === null) return
    try {
      commit()
      answers.push(...held)
    } catch (error) {
      answers.push(...held.map(({ id }) => failed(id, error)))
    }
    held = null
  }

  function abandon (error: unknown): void {
    answers.push(...(held ?? []).map(({ id }) => failed(id, error)))
    held = null
    try {
      rollback()
    } catch {
      // The next one who wants to write hears of it.
    }
  }

  function run (tasks: readonly Task[]): void {
    const until = now() + patience
    for (const task of tasks) waiting.push({ task, until })
    for (let entry = next(); entry !== undefined; entry = next()) perform(entry)
    settle()
    if (answers.length === 0) return
    const given = answers
    answers = []
    answer(given)
  }

  return { run }
}

function unitOf (task: Task): number | null {
  return 'unit' in task ? task.unit : null
}

function needsLock (task: Task): boolean {
  return task.what === 'begin' || (task.what === 'query' && !READS.test(task.sql))
}

const READS = /^\s*(?:select|pragma)\b/i

function createExecutor (sqlite: SqliteConnection) {
  const statements = new Map<string, { readonly statement: SqliteStatement, readonly givesRows: boolean }>()

  function prepare (sql: string): { readonly statement: SqliteStatement, readonly givesRows: boolean } {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const statement = sqlite.prepare(sql)
    const prepared = { statement, givesRows: statement.columns().length > 0 }
    if (statements.size < 256) statements.set(sql, prepared)
    return prepared
  }

  return function execute (sql: string, parameters: readonly SqliteValue[]): Omit<Extract<Answer, { rows: unknown }>, 'id'> {
    const { statement, givesRows } = prepare(sql)
    if (givesRows) return { rows: statement.all(...parameters) }
    const { changes, lastInsertRowid } = statement.run(...parameters)
    return { rows: [], changes, insertId: lastInsertRowid }
  }
}

/** Another text, and something has been written: by this connection, or committed by another one. */
function createVersion (sqlite: SqliteConnection): () => string {
  const ofOthers = sqlite.prepare('PRAGMA data_version')
  const own = sqlite.prepare('SELECT total_changes() AS changes')
  return () => `${String(ofOthers.all()[0]?.['data_version'])} ${String(own.all()[0]?.['changes'])}`
}

/** SQLite's number for what went wrong, without the details in its upper bits; 0 for what is not SQLite's. */
export function numberOf (error: unknown): number {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
}

function failed (id: number, error: unknown): Answer {
  return { id, error: error instanceof Error ? error.message : String(error), errcode: numberOf(error) }
}
