import { execFile } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { StartupFault } from '../../src/errors.ts'
import type { Storage } from '../../src/storage/database.ts'
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.ts'
import { openSqlite } from '../../src/storage/sqlite-driver.ts'
import { anotherProcess } from '../sessions/another-process.ts'
import { processFile } from '../helpers/process-file.ts'
import { within } from '../helpers/within.ts'

async function start (t: Test, path = join(t.testdir({}), 'gatewarden.db'), options: StorageOptions = {}): Promise<Storage & { readonly path: string }> {
  const storage = await openStorage(`sqlite:${path}`, options)
  t.teardown(async () => { await storage.close() })
  return { ...storage, path }
}

const mode = (path: string) => `0${(statSync(path).mode & 0o777).toString(8)}`
const pragma = async ({ db }: Storage, name: string) => Object.values((await sql<Record<string, unknown>>`${sql.raw(`pragma ${name}`)}`.execute(db)).rows[0] ?? {})[0]
const meta = async ({ db }: Storage) => (await db.selectFrom('meta').select('key').orderBy('key').execute()).map(({ key }) => key)

t.test('folder and files are for their owner alone', async (t) => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const { path, db } = await start(t, join(t.testdir({}), 'data', 'below', 'gatewarden.db'))
  await db.insertInto('meta').values({ key: 'a', value: 'b' }).execute()
  for (const file of [path, `${path}-wal`, `${path}-shm`]) t.equal(mode(file), '0600', file)
  t.equal(mode(join(path, '..')), '0700')
  t.equal(process.umask(), 0, 'the umask is as it was')
})

t.test('a file that was open to others is closed to them, a folder that is there keeps its mode', async (t) => {
  const folder = join(t.testdir({}), 'shared')
  mkdirSync(folder)
  chmodSync(folder, 0o750)
  const path = join(folder, 'gatewarden.db')
  const storage = await openStorage(`sqlite:${path}`)
  await storage.close()
  chmodSync(path, 0o644)
  await start(t, path)
  t.equal(mode(path), '0600')
  t.equal(mode(folder), '0750')
})

t.test('every commit is on the disk, and readers wait for no writer', async (t) => {
  const storage = await start(t)
  t.equal(await pragma(storage, 'journal_mode'), 'wal')
  t.equal(await pragma(storage, 'synchronous'), 2)
})

t.test('several processes may open a new database at once', async (t) => {
  const folder = t.testdir({})
  const children = Array.from({ length: 4 }, () => anotherProcess('open', `sqlite:${join(folder, 'first.db')}`))
  t.strictSame(await Promise.all(children.map(async (child) => await child.exit)), [0, 0, 0, 0])
  t.strictSame(await meta(await start(t, join(folder, 'first.db'))), [])
})

t.test('a process that only waits for its storage to be closed lives until it is', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, [processFile('storage/closing.process'), join(t.testdir({}), 'gatewarden.db')])
  t.equal(stdout, 'closed')
})

t.test('a start that cannot be: one clear line', async (t) => {
  const folder = t.testdir({ 'file': 'text', 'garbage.db': 'this is not a database '.repeat(200), 'a folder': {} })
  const good = await openStorage(`sqlite:${folder}/newer.db`)
  await sql`insert into kysely_migration (name, timestamp) values ('9999-from-the-future', '2030')`.execute(good.db)
  await good.close()
  const cases: [url: string, line: RegExp][] = [
    [`sqlite:${folder}/garbage.db`, /^the storage is damaged, or not a SQLite database: .*garbage\.db; restore it from a backup/],
    [`sqlite:${folder}/a folder`, /^the storage is a folder: /],
    [`sqlite:${folder}/file/gatewarden.db`, /^the folder of the storage cannot be made: .*\/file \(EEXIST\)/],
    [`sqlite:${folder}/file/below/gatewarden.db`, /^the folder of the storage cannot be made: .* \(ENOTDIR\)/],
    [`sqlite:${folder}/newer.db`, /^the storage was written by a newer version of Gatewarden/],
    ['mysql://x', /^`storage` must begin with sqlite: or postgres:/],
    ['sqlite:', /^`storage` must name a file/],
    ['sqlite::memory:', /^`storage` must name a file/],
    [`sqlite:file:${folder}/uri.db?mode=memory`, /^`storage` must name a file/],
  ]
  for (const [url, line] of cases) {
    const thrown: unknown = await openStorage(url).catch((error: unknown) => error)
    if (!(thrown instanceof StartupFault)) throw new Error(`${url}: ${String(thrown)}`)
    t.match(thrown.message, line)
    t.notMatch(thrown.message, /\n/)
  }
})

t.test('a start while another process holds the file waits, and then says so in one line', async (t) => {
  const { path } = await start(t)
  const other = openSqlite(path)
  t.teardown(() => { other.close() })
  other.exec('begin immediate')
  await t.rejects(openStorage(`sqlite:${path}`, { patience: 50 }), { name: 'StartupFault', message: /^the storage is locked by another process; / })
  const waiting = openStorage(`sqlite:${path}`)
  await pause(100)
  other.exec('commit')
  await (await waiting).close()
})

t.test('a file that is damaged behind its first bytes is told of at the start', async (t) => {
  const path = join(t.testdir({}), 'gatewarden.db')
  const storage = await openStorage(`sqlite:${path}`)
  await storage.close()
  writeFileSync(path, Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(statSync(path).size - 16, 0xff)]))
  await t.rejects(openStorage(`sqlite:${path}`), { name: 'StartupFault', message: /damaged/ })
})

t.test('a file whose tables are damaged is told of at the start', async (t) => {
  const path = join(t.testdir({}), 'gatewarden.db')
  const storage = await openStorage(`sqlite:${path}`)
  await storage.close()
  const bytes = readFileSync(path)
  // The page size and the header are left; all pages after it are not.
  bytes.fill(0xff, 100)
  writeFileSync(path, bytes)
  await t.rejects(openStorage(`sqlite:${path}`), { name: 'StartupFault', message: /damaged/ })
})

t.test('a start that failed leaves no connection behind', { skip: !existsSync('/proc/self/fd') }, async (t) => {
  const folder = t.testdir({ 'garbage.db': 'this is not a database '.repeat(200) })
  await t.rejects(openStorage(`sqlite:${folder}/garbage.db`))
  const open = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ''
    }
  })
  t.strictSame(open.filter((path) => path.startsWith(folder)), [])
})

t.test('after a clean stop everything is in the one file', async (t) => {
  const folder = t.testdir({})
  const storage = await openStorage(`sqlite:${folder}/gatewarden.db`)
  await storage.db.insertInto('meta').values({ key: 'kept', value: '1' }).execute()
  await storage.close()
  copyFileSync(join(folder, 'gatewarden.db'), join(folder, 'copy.db'))
  t.strictSame(await meta(await start(t, join(folder, 'copy.db'))), ['kept'])
})

t.test('what a process wrote is there for the next', async (t) => {
  const path = join(t.testdir({}), 'gatewarden.db')
  const first = await openStorage(`sqlite:${path}`)
  await first.db.insertInto('meta').values({ key: 'kept', value: '1' }).execute()
  await first.close()
  t.strictSame(await meta(await start(t, path)), ['kept'])
})

t.test('a storage of an earlier version is brought up to date, with what is in it', async (t) => {
  const path = join(t.testdir({}), 'gatewarden.db')
  const { db, close } = await openStorage(`sqlite:${path}`)
  await sql`drop trigger note_revocation`.execute(db)
  await sql`drop index sessions_by_revocation`.execute(db)
  await sql`alter table sessions drop column revoked_until`.execute(db)
  await sql`alter table sessions drop column access_until`.execute(db)
  await sql`alter table sessions drop column credential_tag`.execute(db)
  await sql`delete from kysely_migration where name > '0001-z'`.execute(db)
  await sql`insert into sessions values ('one', 'alice', 'store', 'gatewarden', null, null, 1, 2, 99, 0, 'hash', '[]', null, null), ('two', 'alice', 'store', 'gatewarden', null, null, 1, 2, 98, 0, 'hash', '[]', 3, 'logout')`.execute(db)
  await close()
  const storage = await start(t, path)
  t.match(await storage.db.selectFrom('sessions').selectAll().execute(), [
    { id: 'one', expires_at: 99, access_until: 99, credential_tag: null, revoked_until: null },
    { id: 'two', expires_at: 98, access_until: 98, ended_at: 3, revoked_until: 98 },
  ])
})

t.test('no other query gets in between of a transaction', async (t) => {
  const storage = await start(t)
  const order: string[] = []
  await Promise.all([
    storage.db.transaction().execute(async (transaction) => {
      await transaction.insertInto('meta').values({ key: 'a', value: '' }).execute()
      await pause(20)
      order.push('transaction')
      throw new Error('no')
    }).catch(() => {}),
    storage.db.insertInto('meta').values({ key: 'b', value: '' }).execute().then(() => order.push('query')),
    storage.db.transaction().execute(async (transaction) => {
      t.strictSame((await transaction.selectFrom('meta').select('key').execute()).map(({ key }) => key), ['b'])
      await transaction.insertInto('meta').values({ key: 'c', value: '' }).execute()
    }),
  ])
  t.strictSame(order, ['transaction', 'query'])
  t.strictSame(await meta(storage), ['b', 'c'], 'and what was written beside a transaction that failed stays')
})

t.test('a statement that fails within a transaction takes all of it back', async (t) => {
  const storage = await start(t)
  await t.rejects(storage.db.transaction().execute(async (transaction) => {
    await transaction.insertInto('meta').values({ key: 'a', value: '' }).execute()
    await transaction.insertInto('meta').values({ key: 'a', value: '' }).execute()
  }), /UNIQUE/)
  t.strictSame(await meta(storage), [])
  await storage.db.transaction().execute(async (transaction) => { await transaction.insertInto('meta').values({ key: 'b', value: '' }).execute() })
  t.strictSame(await meta(storage), ['b'], 'and the connection is as good as before')
})

t.test('a transaction that SQLite has rolled back by itself says why', async (t) => {
  const storage = await start(t)
  await t.rejects(storage.db.transaction().execute(async (transaction) => {
    await sql`rollback`.execute(transaction)
    throw new Error('the disk is full')
  }), { message: 'the disk is full' })
  await storage.ping()
})

t.test('a transaction that could not begin leaves the connection free', async (t) => {
  const storage = await start(t, undefined, { patience: 50 })
  const other = openSqlite(storage.path)
  other.exec('begin immediate')
  await t.rejects(storage.db.transaction().execute(async () => {}), /locked/)
  await t.rejects(storage.ping(), /locked/)
  t.strictSame(await meta(storage), [], 'reading goes on meanwhile')
  other.exec('rollback')
  other.close()
  await storage.ping()
})

t.test('while another process holds the file, a write waits for it, and everything else goes on', async (t) => {
  const storage = await start(t)
  const other = openSqlite(storage.path)
  t.teardown(() => { other.close() })
  for (const write of [
    async () => { await storage.db.insertInto('meta').values({ key: 'alone', value: '' }).execute() },
    async () => { await storage.db.transaction().execute(async (transaction) => { await transaction.insertInto('meta').values({ key: 'within', value: '' }).execute() }) },
  ]) {
    other.exec('begin immediate')
    let written = false
    const writing = write().then(() => { written = true })
    let turns = 0
    for (const until = performance.now() + 300; performance.now() < until; turns++) await pause(5)
    t.equal(written, false)
    t.ok(turns > 10, `${turns} turns of the event loop`)
    other.exec('commit')
    await within(1_000, writing)
  }
  t.strictSame(await meta(storage), ['alone', 'within'])
})

t.test('who has enough of being told is told no more', async (t) => {
  const storage = await start(t)
  let told = 0
  const first = new Promise<void>((resolve) => { storage.onChange(() => { resolve() }) })
  const end = storage.onChange(() => { told++ })
  end()
  await storage.db.insertInto('meta').values({ key: 'a', value: '' }).execute()
  await within(1_000, first)
  t.equal(told, 0)
})

t.test('more statements than are remembered are all answered right', async (t) => {
  const storage = await start(t)
  await storage.db.insertInto('meta').values({ key: '7', value: 'seven' }).execute()
  for (let count = 1; count < 400; count++) {
    const rows = await storage.db.selectFrom('meta').selectAll().where('key', 'in', Array.from({ length: count }, (_, number) => String(number))).execute()
    t.strictSame(rows, count > 7 ? [{ key: '7', value: 'seven' }] : [])
  }
})

t.test('a ping notices that nothing can be written', async (t) => {
  const storage = await start(t)
  await storage.ping()
  await sql`pragma query_only = on`.execute(storage.db)
  await t.rejects(storage.ping(), /readonly/)
  await sql`pragma query_only = off`.execute(storage.db)
  await storage.ping()
  await storage.close()
  await t.rejects(storage.ping())
})

t.test('closing answers what was asked before', async (t) => {
  const storage = await start(t)
  const writes = Array.from({ length: 20 }, async (_, number) => await storage.db.insertInto('meta').values({ key: String(number), value: '' }).execute())
  await storage.close()
  await Promise.all(writes)
  t.equal((await meta(await start(t, storage.path))).length, 20)
})

t.test('tells of what has been written, here or elsewhere, and of nothing else', async (t) => {
  const storage = await start(t)
  const other = await start(t, storage.path)
  let told = 0
  let tell: () => void = () => {}
  storage.onChange(() => { told++; tell() })
  for (const { db } of [other, storage]) {
    const change = new Promise<void>((resolve) => { tell = resolve })
    await db.insertInto('meta').values({ key: db === other.db ? 'other' : 'own', value: '' }).execute()
    await within(1_000, change)
  }
  await meta(storage)
  await storage.ping()
  await pause(500)
  t.equal(told, 2)
})
