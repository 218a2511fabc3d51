/** SQLite as a Kysely dialect: the file is prepared here, and then a thread of its own has it. */
import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler,
  type CompiledQuery, type DatabaseConnection, type Dialect, type Driver, type QueryResult,
} from 'kysely'
import { StartupFault } from '../errors.ts'
import { startThread } from '../helper-module.ts'
import type { Answer, Task } from './group-commit.ts'
import type { SqliteValue } from './sqlite-driver.ts'
import type { FromSqliteThread, SqliteThreadData, ToSqliteThread } from './sqlite-thread.ts'

export interface SqliteDatabase {
  readonly dialect: Dialect
  /** Another text, and something has been written: by this process, or committed by another one. */
  dataVersion (): Promise<string>
}

/**
 * Makes the folder (0700) and the file (0600) where they are missing. Throws a StartupFault.
 * `patience`: milliseconds that a query waits for another process to let go of the file.
 */
export async function openSqliteDatabase (path: string, { patience }: { readonly patience: number }): Promise<SqliteDatabase> {
  prepareFile(path)
  const thread = await openThread({ path, patience })
  return {
    dialect: {
      createAdapter: () => new TransactionalSqliteAdapter(),
      createDriver: () => createDriver(thread),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
    async dataVersion () {
      const { rows } = await thread.ask({ what: 'version' })
      return String(rows[0]?.['version'])
    },
  }
}

/** Kysely migrates SQLite without a transaction: a crash would leave half a schema, and of two first starts one would fail. */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl (): boolean { return true }
}

function prepareFile (path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new StartupFault(`the folder of the storage cannot be made: ${dirname(path)} (${codeOf(error)}); choose another path in \`storage\`, or allow this one to be written`, { cause: error })
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new StartupFault(`the storage is a folder: ${path}; \`storage\` names a file, such as sqlite:${path}/gatewarden.db`)
  }
  try {
    // What SQLite makes beside it has the mode of the file.
    closeSync(openSync(path, 'a', 0o600))
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      if (statSync(file, { throwIfNoEntry: false }) !== undefined) chmodSync(file, 0o600)
    }
  } catch (error) {
    throw openFault(path, error, 0)
  }
}

const SQLITE_BUSY = 5
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

function openFault (path: string, error: unknown, errcode: number): StartupFault {
  if (errcode === SQLITE_CORRUPT || errcode === SQLITE_NOTADB) {
    return new StartupFault(`the storage is damaged, or not a SQLite database: ${path}; restore it from a backup, or move it away to begin anew`, { cause: error })
  }
  if (errcode === SQLITE_BUSY) {
    return new StartupFault(`the storage is locked by another process: ${path}; wait until that is done, or end it`, { cause: error })
  }
  return new StartupFault(`the storage cannot be opened: ${path}; it and its folder must be writable for this user`, { cause: error })
}

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

/** Tasks that go over in one message while answers are handed out: waking the other thread costs more than to write ten of them. */
const TOGETHER = 16

type Rows = Extract<Answer, { rows: unknown }>
type Unnumbered<T> = T extends Task ? Omit<T, 'id'> : never

interface SqliteThread {
  /** Rejects with what SQLite threw, `errcode` included. */
  ask (task: Unnumbered<Task>): Promise<Rows>
  /** All that was asked before is answered first. */
  close (): Promise<void>
}

async function openThread (data: SqliteThreadData): Promise<SqliteThread> {
  const worker = startThread('storage/sqlite-thread', data)
  const asked = new Map<number, { resolve (rows: Rows): void, reject (error: Error): void }>()
  let count = 0
  let outbox: Task[] = []
  const inbox: Answer[] = []
  let gone: Error | null = null

  const exited = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      gone ??= new Error('the storage has been closed')
      for (const { reject } of asked.values()) reject(gone)
      asked.clear()
      resolve()
    })
  })
  await new Promise<void>((resolve, reject) => {
    worker.once('error', reject)
    worker.once('message', (message: FromSqliteThread) => {
      if (!('opened' in message) || message.opened) resolve()
      else reject(openFault(data.path, Object.assign(new Error(message.error), { errcode: message.errcode }), message.errcode))
    })
  }).catch(async (error: unknown) => {
    await exited
    throw error instanceof StartupFault ? error : openFault(data.path, error, 0)
  })

  worker.removeAllListeners('error')
  worker.on('message', (answers: readonly Answer[]) => {
    const isHandingOut = inbox.length > 0
    inbox.push(...answers)
    if (!isHandingOut) handOut()
  })
  worker.unref()

  /** One a turn of the loop: a hundred callers who go on at once would let no other request in between. */
  function handOut (): void {
    const answer = inbox.shift()
    if (answer === undefined) return
    const waiting = asked.get(answer.id)
    asked.delete(answer.id)
    if ('error' in answer) waiting?.reject(Object.assign(new Error(answer.error), { errcode: answer.errcode }))
    else waiting?.resolve(answer)
    // It keeps the process alive as long as somebody waits for it: for an answer, or for its end.
    if (asked.size === 0 && gone === null) worker.unref()
    if (inbox.length > 0) setImmediate(handOut)
  }

  function send (): void {
    if (inbox.length > 0 && outbox.length < TOGETHER) setImmediate(send)
    else flush()
  }

  function flush (): void {
    const message: ToSqliteThread = outbox
    outbox = []
    if (message.length > 0) worker.postMessage(message)
  }

  return {
    async ask (task) {
      if (gone !== null) throw gone
      return await new Promise((resolve, reject) => {
        const id = count++
        if (asked.size === 0) worker.ref()
        asked.set(id, { resolve, reject })
        // What is asked in one turn of the loop goes over together, and onto the disk together; so does what is asked by those who
        // are answered one after the other.
        if (outbox.push({ id, ...task }) === 1) setImmediate(send)
      })
    },
    async close () {
      if (gone === null) {
        flush()
        gone = new Error('the storage has been closed')
        worker.ref()
        worker.postMessage('close' satisfies ToSqliteThread)
      }
      await exited
    },
  }
}

interface SqliteConnection extends DatabaseConnection {
  /** Its transaction, whose beginning is on its way; null outside of one. */
  transaction: { readonly unit: number, readonly begun: Promise<unknown> } | null
}

function createDriver (thread: SqliteThread): Driver {
  let units = 0
  let inUse = 0
  let released: () => void = () => {}

  function createConnection (): SqliteConnection {
    return {
      transaction: null,
      async executeQuery<Row> ({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
        const asked = thread.ask({ what: 'query', unit: this.transaction?.unit ?? null, sql, parameters: parameters as readonly SqliteValue[] })
        // Where the transaction could not begin, that is answered first, and is what is wrong.
        const [{ rows, changes, insertId }] = await Promise.all([asked, this.transaction?.begun])
        return {
          rows: rows as Row[],
          ...changes === undefined ? {} : { numAffectedRows: BigInt(changes) },
          ...insertId === undefined ? {} : { insertId: BigInt(insertId) },
        }
      },
      async * streamQuery () {
        throw new Error('SQLite queries are not streamed')
      },
    }
  }

  return {
    async init () {},
    async acquireConnection () {
      inUse++
      return createConnection()
    },
    async releaseConnection () {
      if (--inUse === 0) released()
    },
    async beginTransaction (connection) {
      const unit = units++
      const begun = thread.ask({ what: 'begin', unit })
      // Not awaited: the first statement goes over together with it, and fails with it.
      begun.catch(() => {})
      ;(connection as SqliteConnection).transaction = { unit, begun }
    },
    async commitTransaction (connection) {
      const { transaction } = connection as SqliteConnection
      if (transaction !== null) await Promise.all([thread.ask({ what: 'commit', unit: transaction.unit }), transaction.begun])
    },
    async rollbackTransaction (connection) {
      const { transaction } = connection as SqliteConnection
      if (transaction !== null) await thread.ask({ what: 'rollback', unit: transaction.unit })
    },
    async destroy () {
      // What was asked for before is still answered; Kysely is on its way with it for a few microtasks.
      await nextTurn()
      if (inUse > 0) await new Promise<void>((resolve) => { released = resolve })
      await thread.close()
    },
  }
}
