/** Queries of a SQLite file that is not the gateway's own: a process of its own, since SQLite answers on the spot. */
import { serveHelper } from '../helper-process.ts'
import { openSqlite, type SqliteConnection, type SqliteParameters } from './sqlite-driver.ts'

export interface SqliteTask {
  readonly text: string
  readonly parameters: readonly string[]
  readonly update: boolean
}

export interface SqliteTaskResult {
  readonly columns: readonly string[]
  readonly rows: readonly Record<string, unknown>[]
  readonly changes: number
}

const [path = '', mode, timeout = '0'] = process.argv.slice(2)
let opened: SqliteConnection | null = null

function open (): SqliteConnection {
  const connection = openSqlite(path, { readOnly: mode !== 'writable' })
  connection.exec(`PRAGMA busy_timeout = ${Number(timeout)}`)
  return connection
}

serveHelper(({ text, parameters, update }: SqliteTask): SqliteTaskResult => {
  const connection = opened ??= open()
  // The operator's own query may say what it likes: only the update is to change anything.
  connection.exec(`PRAGMA query_only = ${update ? 0 : 1}`)
  const statement = connection.prepare(text)
  statement.setReadBigInts(true)
  // To SQLite `$1` is a name like any other.
  const given: SqliteParameters = /\$1\b/.test(text) ? [Object.fromEntries(parameters.map((value, index) => [`$${index + 1}`, value]))] : parameters
  if (update) return { columns: [], rows: [], changes: Number(statement.run(...given).changes) }
  const rows = []
  for (const row of statement.iterate(...given)) {
    rows.push({ ...row })
    if (rows.length === 2) break
  }
  return { columns: statement.columns().map(({ name }) => String(name)), rows, changes: 0 }
})
