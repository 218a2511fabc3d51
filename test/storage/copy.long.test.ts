import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { sql } from 'kysely'
import t from 'tap'
import { copyStorage } from '../../src/storage/copy.ts'
import { cli, configFolder, configText, password, startCli, type Running } from '../cli/running-cli.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { openSqlite } from '../sessions/session-rig.ts'

interface Tokens { readonly access_token: string, readonly refresh_token: string }

async function post ({ url }: Running, path: string, body: unknown) {
  const response = await fetch(`${url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  return { status: response.status, body: await response.json().catch(() => ({})) as Tokens }
}
const use = async ({ url }: Running, { access_token: token }: Tokens) => (await fetch(`${url}/api`, { headers: { authorization: `Bearer ${token}` } })).status

t.test('an installation moves from SQLite to PostgreSQL, and nobody is logged out', async (t) => {
  const database = await startPostgres(t, { fsync: 'off' })
  const upstream = createServer((_request, response) => { response.end() }).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  t.teardown(() => { upstream.close(); upstream.closeAllConnections() })
  const common = { routes: [{ path: '/api', upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, access: 'authenticated' }] }
  const folder = configFolder(t, common)
  t.equal((await cli(folder, ['users', 'add', 'alice', '--password-stdin', '--role', 'admin'], password)).code, 0)
  const before = await startCli(t, folder)
  const logIn = async () => (await post(before, '/auth/login', { username: 'alice', password })).body
  const [staying, ended, rotated] = [await logIn(), await logIn(), await logIn()]
  await post(before, '/auth/logout', { refresh_token: ended.refresh_token })
  const successor = (await post(before, '/auth/refresh', { refresh_token: rotated.refresh_token })).body
  await post(before, '/auth/login', { username: 'alice', password: 'a wrong one' })
  before.child.kill('SIGTERM')
  t.equal(await before.exited, 0)

  const config = { ...common, storage: await database.createDatabase() }
  writeFileSync(join(folder, 'strange.yaml'), configText({ ...config, keys: { masterKey: randomBytes(32).toString('base64url') } }))
  writeFileSync(join(folder, 'config.yaml'), configText({ ...config, keys: { masterKeyFile: './data/master.key' } }))
  const copy = async (from = 'sqlite:./data/gatewarden.db', ...options: string[]) => await cli(folder, ['storage', 'copy', from, '--json', ...options])
  const [migrated, fromNowhere, underAnotherKey] = await Promise.all([cli(folder, ['storage', 'migrate']), copy('sqlite:./none.db'), copy(undefined, '--config', 'strange.yaml')])
  t.match(migrated, { code: 0, stdout: 'up to date\n' })
  t.match(fromNowhere, { code: 1, stderr: /^error: there is no such file: \.\/none\.db/ })
  t.match(underAnotherKey, { code: 1, stderr: /does not open with the master key from keys\.masterKey/ })
  const copied = await copy()
  t.match(JSON.parse(copied.stdout), { users: 1, sessions: 3, keys: 1 }, copied.stderr)

  const [after, again] = await Promise.all([startCli(t, folder), copy()])
  t.match(again, { code: 1, stderr: /error: the storage to copy to is not empty: it has rows in users/ })
  t.equal(await use(after, staying), 200)
  t.equal(await use(after, ended), 401)
  t.equal((await post(after, '/auth/refresh', { refresh_token: staying.refresh_token })).status, 200)
  t.equal((await post(after, '/auth/refresh', { refresh_token: ended.refresh_token })).status, 401)
  t.equal((await post(after, '/auth/refresh', { refresh_token: successor.refresh_token })).status, 200)
  t.equal((await post(after, '/auth/login', { username: 'alice', password })).status, 200)
})

t.test('every table is copied, row by row, or nothing is', async (t) => {
  const [source, target, full] = [await openSqlite(t), await openSqlite(t), await openSqlite(t)]
  t.teardown(async () => { for (const storage of [source, target, full]) await storage.close() })
  const keys = Array.from({ length: 2_345 }, (_, number) => ({ key: `key ${number}`, failures: number, last_failure_at: 2 ** 42, blocked_until: 0 }))
  for (let first = 0; first < keys.length; first += 500) await source.db.insertInto('login_attempts').values(keys.slice(first, first + 500)).execute()
  const { rows } = await sql<{ name: string }>`select name from sqlite_master where type = 'table' and name not like 'kysely%' and name not like 'sqlite%'`.execute(source.db)
  const counts = await copyStorage(source, target)
  t.strictSame(Object.keys(counts).sort(), rows.map(({ name }) => name).sort())
  t.equal(counts.login_attempts, keys.length)
  const sorted = async ({ db }: typeof source) => await db.selectFrom('login_attempts').selectAll().orderBy('key').execute()
  t.strictSame(await sorted(target), await sorted(source))
  await full.db.insertInto('meta').values({ key: 'there', value: '' }).execute()
  await t.rejects(copyStorage(source, full), { name: 'StartupFault', message: /is not empty: it has rows in meta/ })
  t.strictSame(await sorted(full), [])
})
