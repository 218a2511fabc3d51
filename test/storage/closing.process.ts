/** `FILE`: closes a SQLite storage while the look for changes is under way, with nothing else that keeps the process alive. */
import { Kysely, sql } from 'kysely'
import { openSqliteDatabase } from '../../src/storage/sqlite.ts'

const { dialect, dataVersion } = await openSqliteDatabase(process.argv[2] ?? '', { patience: 5_000 })
const db = new Kysely<unknown>({ dialect })
await sql`select 1`.execute(db)
const look = dataVersion()
await db.destroy()
await look
process.stdout.write('closed')
