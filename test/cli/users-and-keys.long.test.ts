import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cli, configFolder, password } from './running-cli.ts'

t.test('users: add prints the new id, list shows everybody, and each change is refused where it makes no sense', async (t) => {
  const folder = configFolder(t)
  const users = async (...args: readonly string[]) => await cli(folder, ['users', ...args], password)

  const alice = await users('add', 'alice', '--password-stdin', '--role', 'editor', '--role', 'author', '--scope', 'read', '--attribute', 'email=alice@example.com')
  t.match(alice, { code: 0, stdout: /^[0-9a-f-]{36}\n$/, stderr: '' })
  const bob = await users('add', 'bob', '--password-stdin', '--json')
  t.match(JSON.parse(bob.stdout), { name: 'bob', id: /^[0-9a-f-]{36}$/ })

  const list = JSON.parse((await users('list', '--json')).stdout) as unknown
  t.match(list, [
    { id: alice.stdout.trim(), name: 'alice', roles: ['editor', 'author'], scopes: ['read'], attributes: { email: 'alice@example.com' }, disabled: false },
    { name: 'bob', roles: [], disabled: false },
  ])
  t.equal((await users('disable', 'ALICE')).code, 0, 'names do not tell case apart')
  t.match((await users('list')).stdout, /^alice +[0-9a-f-]{36} +editor,author +read +disabled /m)

  t.match(await users('add', 'Alice', '--password-stdin'), { code: 1, stdout: '', stderr: /there is a user named "Alice" already/ })
  t.match(await cli(folder, ['users', 'add', 'carol', '--password-stdin'], 'short'), { code: 1, stderr: /at least 8 characters \(passwords\.minimumLength\)/ })
  t.match(await cli(folder, ['users', 'add', 'carol', '--password-stdin'], 'Carol2024!'), { code: 1, stderr: /the user’s own name/ })
  t.match(await cli(folder, ['users', 'passwd', 'alice', '--password-stdin'], 'Password123!'), { code: 1, stderr: /everybody tries first/ })
  t.match(await users('add', 'carol'), { code: 2, stderr: /--password-stdin/ }, 'no terminal to ask on')
  t.match(await users('enable', 'nobody'), { code: 1, stderr: /there is no user named "nobody"/ })
  t.equal((await users('remove', 'bob')).code, 0)
  t.match(await users('remove', 'bob'), { code: 1, stderr: /there is no user named "bob"/ })
})

t.test('users: a list of many pages is one list, and a wider name moves its column from there on', async (t) => {
  const folder = configFolder(t)
  const names = Array.from({ length: 1_500 }, (_, number) => `user-${String(number).padStart(4, '0')}`).concat('z'.repeat(20))
  const hash = '$2b$04$abcdefghijklmnopqrstuuxHtgmu.Ej5OqZzZLpQY9e0N6HTSMDgi'
  writeFileSync(join(folder, 'users.json'), JSON.stringify(names.map((name) => ({ name, password_hash: hash }))))
  t.match(await cli(folder, ['users', 'import', join(folder, 'users.json')]), { code: 0, stdout: '1501 users imported\n' })
  const json = await cli(folder, ['users', 'list', '--json'])
  const list = JSON.parse(json.stdout) as { name: string }[]
  t.strictSame(list.map(({ name }) => name), names)
  t.equal(json.stdout, `${JSON.stringify(list, null, 2)}\n`)
  const lines = (await cli(folder, ['users', 'list'])).stdout.trimEnd().split('\n')
  t.equal(lines.length, 1 + names.length)
  t.match([lines[0], lines[1], lines[1_000], lines[1_001]], [/^name {7}id/, /^user-0000 {2}[0-9a-f-]{36} /, /^user-0999 {2}[0-9a-f-]{36} /, /^user-1000 {13}[0-9a-f-]{36} /])
})

t.test('users: no password reaches the data in the clear, nor what is printed', async (t) => {
  const folder = configFolder(t)
  const secret = 'a password that nobody else has'
  const added = await cli(folder, ['users', 'add', 'alice', '--password-stdin'], `${secret}\n`)
  const changed = await cli(folder, ['users', 'passwd', 'alice', '--password-stdin'], `${secret} either\n`)
  t.match([added, changed], [{ code: 0 }, { code: 0, stdout: '', stderr: '' }])
  t.notMatch(added.stdout + added.stderr, secret)
  t.notOk(readFileSync(join(folder, 'data/gatewarden.db'), 'latin1').includes(secret))
})

t.test('keys: rotate makes the next key, which signs later or at once, and list says which does what', async (t) => {
  const folder = configFolder(t)
  const keys = async (...args: readonly string[]) => JSON.parse((await cli(folder, ['keys', ...args, '--json'])).stdout) as unknown
  t.match(await keys('list'), [{ algorithm: 'ES256', state: 'signing' }])
  t.match(await keys('rotate'), { algorithm: 'ES256', state: 'next' })
  t.match(await keys('list'), [{ state: 'signing' }, { state: 'next' }])
  const now = await keys('rotate', '--now') as { kid: string }
  t.match(now, { state: 'signing', kid: /^[\w-]{43}$/ })
  const { stdout } = await cli(folder, ['keys', 'list'])
  t.match(stdout, new RegExp(`^${now.kid} +ES256 +signing `, 'm'))
  t.match(stdout, /^[\w-]{43} +ES256 +\w+ /m)
})
