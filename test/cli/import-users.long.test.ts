import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openSqlite } from '../../src/storage/sqlite-driver.ts'
import { launch } from './built-cli.ts'
import { cli, configFolder, password, startCli } from './running-cli.ts'

// Made by: printf %s "$PASSWORD" | openssl passwd -6 -salt Zx8kQm2p -stdin
const shaCrypt = '$6$Zx8kQm2p$2yGzISz/6CUC6ESuSc2Y/AJnSQTjCaqAy5LWZHNsm.5Y0gdtb4l0A4tSxRWJbAwpY2cbByzad3v1OrqVGI48i0'
const bcrypt = '$2y$04$GMu5IITw62ENZtHgtepUJOog7SWfpgr9IoWKcohV.BunBfAEmRN6S'

const logIn = async (url: string, username: string) => {
  const response = await fetch(`${url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username, password }) })
  const { access_token: token = '' } = await response.json() as { access_token?: string }
  return { status: response.status, claims: token === '' ? null : JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown> }
}

t.test('a file of another system is checked, imported and used; its report says who was refused, and why', async (t) => {
  const folder = configFolder(t)
  writeFileSync(join(folder, 'users.csv'), `user_id,email,pw,roles,team\n7,ann@example.com,${shaCrypt},admin,blue\n8,bob@example.com,oops,,\n`)
  const map = ['--map', 'id=user_id', '--map', 'name=email', '--map', 'password_hash=pw']
  t.match(await cli(folder, ['users', 'import', 'users.csv', '--dry-run', ...map]), { code: 1, stdout: '1 users can be imported, 1 of 2 users is refused; nothing was changed\n', stderr: /^users\.csv:3: "bob@example\.com": its hash is of no kind/ })
  t.match(await cli(folder, ['users', 'import', 'users.csv', ...map]), { code: 1, stdout: '', stderr: /\nerror: 1 of 2 users is refused, and so nothing was imported; correct them, or leave them out with --skip-refused\n$/ })
  t.match(await cli(folder, ['users', 'list', '--json']), { stdout: '[]\n' })
  const { code, stdout } = await cli(folder, ['users', 'import', 'users.csv', '--skip-refused', '--json', ...map])
  t.equal(code, 0)
  t.match(JSON.parse(stdout), { imported: 1, accepted: 1, refused: [{ line: 3, record: 2, name: 'bob@example.com', reason: /^its hash is of no kind/ }], dryRun: false })
  t.match(await cli(folder, ['users', 'import', 'users.csv', '--map', 'pw=password_hash']), { code: 2, stderr: /^error: --map knows no "pw"; it knows id, name, / })
  t.match(await cli(folder, ['users', 'import', 'none.csv']), { code: 1, stderr: 'error: none.csv cannot be read (ENOENT)\n' })
  const gateway = await startCli(t, folder)
  t.match(await logIn(gateway.url, 'Ann@example.com'), { status: 200, claims: { sub: '7', roles: ['admin'] } })
})

t.test('an import that is killed in the middle has imported nobody', async (t) => {
  const folder = configFolder(t)
  t.match(await cli(folder, ['users', 'list', '--json']), { stdout: '[]\n' })
  writeFileSync(join(folder, 'users.csv'), `name,password_hash\n${Array.from({ length: 100_000 }, (_, index) => `user${index},${bcrypt}\n`).join('')}`)
  const { child } = launch(['users', 'import', 'users.csv'], { cwd: folder })
  const database = openSqlite(join(folder, 'data/gatewarden.db'), { readOnly: true })
  t.teardown(() => { database.close() })
  // Until the transaction holds the lock: then somebody else cannot begin to write.
  const writer = openSqlite(join(folder, 'data/gatewarden.db'))
  for (;;) {
    try {
      writer.exec('begin immediate')
      writer.exec('rollback')
    } catch {
      break
    }
    if (child.exitCode !== null) throw new Error('the import was faster')
    await new Promise((resolve) => { setTimeout(resolve, 2) })
  }
  writer.close()
  child.kill('SIGKILL')
  await new Promise((resolve) => { child.once('close', resolve) })
  t.strictSame(database.prepare('select count(*) as count from users').all().map(({ count }) => count), [0])
  t.match(await cli(folder, ['users', 'add', 'ann', '--password-stdin'], password), { code: 0 })
})

t.test('the built gateway asks an existing SQLite table, and reads hashes that are computed beside it', async (t) => {
  const folder = configFolder(t, {
    credentials: [{ type: 'store' }, { type: 'sql', name: 'app', url: 'sqlite:./app.db', query: 'select id, pw, roles from people where email = $1', columns: { passwordHash: 'pw' } }],
  })
  const app = openSqlite(join(folder, 'app.db'))
  app.exec(`create table people (id integer primary key, email text, pw text, roles text); insert into people values (42, 'ann@example.com', '${shaCrypt}', '["staff"]')`)
  app.close()
  const gateway = await startCli(t, folder)
  t.match(await logIn(gateway.url, 'ann@example.com'), { status: 200, claims: { sub: 'app:42', roles: ['staff'] } })
  t.match(await logIn(gateway.url, 'bob@example.com'), { status: 401 })
  t.match(gateway.log.find(({ event }) => event === 'login'), { source: 'app', subject: 'app:42' })
})
