/** The thread that has the gateway's own SQLite file: a slow disk, or a lock of another process, stops no request. */
import { statSync } from 'node:fs'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { hintAtGarbage } from '../heap-hint.ts'
import { createGroupCommit, numberOf, type Answer, type Task } from './group-commit.ts'
import { openSqlite, type SqliteConnection } from './sqlite-driver.ts'

export interface SqliteThreadData {
  readonly path: string
  /** Milliseconds. */
  readonly patience: number
}

export type ToSqliteThread = readonly Task[] | 'close'

export type FromSqliteThread =
  | { readonly opened: true }
  /** `errcode`: SQLite's own number. */
  | { readonly opened: false, readonly error: string, readonly errcode: number }
  | readonly Answer[]

if (parentPort === null) throw new Error('sqlite-thread is started by sqlite.ts')
const port = parentPort
const { path, patience } = workerData as SqliteThreadData
const tell = (message: FromSqliteThread): void => { port.postMessage(message) }

try {
  serve(open())
  tell({ opened: true })
  hintAtGarbage()
} catch (error) {
  tell({ opened: false, error: error instanceof Error ? error.message : String(error), errcode: numberOf(error) })
  port.close()
}

function open (): SqliteConnection {
  const connection = openSqlite(path)
  try {
    connection.exec('PRAGMA busy_timeout = 5000')
    connection.exec('PRAGMA journal_mode = WAL')
    // In WAL mode NORMAL would lose the last commits in a power failure, and with them refresh tokens already given out.
    connection.exec('PRAGMA synchronous = FULL')
    connection.exec('PRAGMA foreign_keys = ON')
    // Eight megabytes hold the inner nodes of five million sessions' indexes; with the two that are the default each query reads them anew.
    connection.exec('PRAGMA cache_size = -8000')
    // From here on group-commit.ts waits, and lets those read who only read.
    connection.exec('PRAGMA busy_timeout = 5')
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

function serve (connection: SqliteConnection): void {
  const group = createGroupCommit(connection, { answer: tell, beforeCommit: assertInPlace(), patience, now: () => performance.now(), later: (milliseconds, work) => { setTimeout(work, milliseconds) } })
  port.on('message', (first: ToSqliteThread) => {
    const tasks: Task[] = []
    // All that has come meanwhile goes onto the disk together.
    let message: ToSqliteThread | undefined = first
    while (message !== undefined && message !== 'close') {
      tasks.push(...message)
      message = (receiveMessageOnPort(port) as { readonly message: ToSqliteThread } | undefined)?.message
    }
    group.run(tasks)
    if (message === 'close') close(connection)
  })
}

/**
 * A file that is deleted, or replaced by a backup, is still open here: logins and logouts would be answered as done that the next
 * start knows nothing of.
 */
function assertInPlace (): () => void {
  const opened = statSync(path)
  return () => {
    const found = statSync(path, { throwIfNoEntry: false })
    if (found?.ino === opened.ino && found.dev === opened.dev) return
    throw new Error(`${path} has been ${found === undefined ? 'deleted' : 'replaced'} while it was open: put it back, or restart to begin with what is there`)
  }
}

function close (connection: SqliteConnection): void {
  // Node 20's stand-in keeps the file open until its statements are collected, and would leave all that is new in the log:
  // whoever copies the one file after a clean stop would copy an old state.
  try {
    connection.exec('PRAGMA busy_timeout = 200')
    connection.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // A disk that is full or gone: the log keeps what it has.
  }
  connection.close()
  port.close()
}
