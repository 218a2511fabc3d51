import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readUserRecords } from '../../src/cli/user-records.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { importUsers, type ImportOptions, type ImportRecord } from '../../src/credentials/user-import.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { allOf } from '../helpers/all-of.ts'
import { defaults } from '../login/config-of.ts'
import { newFolder } from './sql-rig.ts'

interface ReferenceHash { readonly by: string, readonly password: string, readonly hash: string }

const { hashes } = JSON.parse(readFileSync(join(import.meta.dirname, 'reference-hashes.json'), 'utf8')) as { readonly hashes: readonly ReferenceHash[] }
const password = 'correct horse battery staple'
const bcrypt = '$2y$04$GMu5IITw62ENZtHgtepUJOog7SWfpgr9IoWKcohV.BunBfAEmRN6S'
const fields = { id: 'id', name: 'name', passwordHash: 'password_hash', roles: 'roles', scopes: 'scopes', attributes: 'attributes', disabled: 'disabled' }

async function start (t: Test) {
  const folder = newFolder(t)
  const { db, close } = await openStorage(`sqlite:${folder}/gatewarden.db`)
  t.teardown(close)
  const users = createUserStore({ db, hasher: createPasswordHasher(defaults.passwords), now: Date.now })
  const file = join(folder, 'users')
  return {
    db,
    users,
    async run (text: string | Buffer, changes: Partial<ImportOptions> = {}) {
      writeFileSync(file, text)
      return await importUsers({ db, records: () => readUserRecords(file), fields, dryRun: false, skipRefused: false, now: Date.now, onProgress: () => {}, ...changes })
    },
    names: async () => (await allOf(users.list())).map(({ name }) => name),
    logIn: async (username: string, typed: string) => (await users.check({ username, password: typed })).outcome,
  }
}

t.test('hashes of every kind are taken as they are, and each of their owners logs in', async (t) => {
  const { run, logIn, db } = await start(t)
  // One of each form, and those with other characters.
  const some = hashes.filter(({ hash }, index) => hashes.findIndex((other) => other.hash.slice(0, 9) === hash.slice(0, 9)) === index && !hash.includes('250000'))
  t.ok(some.length > 20)
  t.match(await run(JSON.stringify(some.map(({ hash }, index) => ({ name: `user${index}`, password_hash: hash })))), { imported: some.length, refused: [] })
  for (const [index, { password: right, hash }] of some.entries()) {
    const row = await db.selectFrom('users').select('password_hash').where('name', '=', `user${index}`).executeTakeFirstOrThrow()
    t.equal(row.password_hash, hash)
    t.equal(await logIn(`user${index}`, right), 'accepted', hash)
  }
  t.equal(await logIn('user0', 'wrong'), 'refused')
  const { password_hash: rehashed } = await db.selectFrom('users').select('password_hash').where('name', '=', 'user5').executeTakeFirstOrThrow()
  t.match(rehashed, /^\$argon2id\$v=19\$m=1024,/, 'and is hashed anew with what is made now')
})

t.test('a password that was hashed in another Unicode form is the same password', async (t) => {
  const { run, logIn } = await start(t)
  // Decomposed, as macOS types it. Made by: printf '%s' $'passwo\u0308rd' | openssl passwd -apr1 -salt abcdefgh -stdin
  await run('name,password_hash\nann,$apr1$abcdefgh$CdEoDMRsP9YpAUGmYBJjG0\n')
  t.equal(await logIn('ann', 'passwörd'.normalize('NFD')), 'accepted')
})

t.test('CSV as spreadsheets and databases write it', async (t) => {
  const { run, users } = await start(t)
  const report = await run([
    '\ufeffid;name;password_hash;roles;disabled;team;note', `7;ann;${bcrypt};"admin,x";;"blue ""b""";"two`, 'lines"', '', `8;"bo";${bcrypt};;true;;`, `;cy;${bcrypt};"staff, ops";0;;`,
  ].join('\r\n'))
  t.match(report, { imported: 3, refused: [] })
  t.match(await allOf(users.list()), [
    { id: '7', name: 'ann', roles: ['admin', 'x'], disabled: false, attributes: { team: 'blue "b"', note: 'two\r\nlines' } },
    { id: '8', name: 'bo', roles: [], disabled: true, attributes: {} },
    { id: /^[\da-f-]{36}$/, name: 'cy', roles: ['staff', 'ops'], disabled: false },
  ])
})

t.test('JSON: a list, one a line, all in one line; a brace in a text is a text', async (t) => {
  const { run, names } = await start(t)
  const one = (name: string) => JSON.stringify({ name, password_hash: bcrypt, note: '"}{\\' })
  t.match(await run(`[\n  ${one('a')},\n  ${one('b')}\n]\n`), { imported: 2 })
  t.match(await run(`${one('c')}\n${one('d')}`), { imported: 2 })
  t.match(await run(`[${one('e')},{"name":1},${one('f')}]`, { skipRefused: true }), { imported: 2, refused: [{ line: 1, record: 2, name: null, reason: 'has no name' }] })
  t.strictSame(await names(), ['a', 'b', 'c', 'd', 'e', 'f'])
})

t.test('who is refused is named with line and reason, the hash never; and then nobody is imported', async (t) => {
  const { run, names, users } = await start(t)
  await users.add({ name: 'Known', password })
  const lines = [
    'id,name,password_hash,roles,attributes',
    `1,ann,${bcrypt},,`,
    `2,ANN,${bcrypt},,`,
    `1,bea,${bcrypt},,`,
    `3,known,${bcrypt},,`,
    '4,cat,,,',
    '5,dan,plain-text-password,,',
    `6,eve,$2y$31$${'a'.repeat(53)},,`,
    `7,,${bcrypt},,`,
    `8,${'x'.repeat(300)},${bcrypt},,`,
    `9,fay,${bcrypt},a b,`,
    `10,gus,${bcrypt},,[1]`,
    `corp|11,hal,${bcrypt},,`,
    `12,ida,${bcrypt}`,
    `13,joe,${bcrypt},,"{""email"": ""joe@example.com""}"`,
  ]
  const report = await run(lines.join('\n'))
  t.equal(report.imported, 0)
  t.equal(report.accepted, 2)
  t.match(report.refused.map(({ line, name, reason }) => [line, name?.slice(0, 5) ?? null, reason]), [
    [3, 'ANN', /^stands in the file before/], [4, 'bea', /^has the id of one before/], [5, 'known', /^a user of this name is in storage already/], [6, 'cat', /^has no password_hash/],
    [7, 'dan', /^its hash is of no kind/], [8, 'eve', /^its hash asks for more work/], [9, null, /^has no name/], [10, 'xxxxx', /^a name has 1 to 256 bytes/], [11, 'fay', /^roles cannot be read/],
    [12, 'gus', /^attributes cannot be read/], [13, 'hal', /^id holds a ":" or "\|"/], [14, null, /^has 3 fields where the first line has 5/],
  ])
  t.notMatch(JSON.stringify(report), /plain-text|\$2y\$|aaaaa/)
  t.strictSame(await names(), ['Known'])
  t.match(await run(lines.join('\n'), { dryRun: true, skipRefused: true }), { imported: 0, accepted: 2 })
  t.strictSame(await names(), ['Known'])
  t.match(await run(lines.join('\n'), { skipRefused: true }), { imported: 2 })
  t.strictSame(await names(), ['ann', 'joe', 'Known'])
})

t.test('all or none: whoever comes in between, or changes the file, stops it', async (t) => {
  const { run, names, users } = await start(t)
  const text = `name,password_hash\n${Array.from({ length: 400 }, (_, index) => `user${index},${bcrypt}\n`).join('')}`
  /** What happens between the two readings. */
  const between = (records: () => AsyncIterable<ImportRecord>, happens: () => Promise<unknown>): ImportOptions['records'] => {
    let times = 0
    return async function * () {
      const shorter = ++times === 2
      for await (const record of records()) if (!shorter || record.line !== 300 || happens.name !== 'shortened') yield record
      if (times === 1) await happens()
    }
  }
  const read = (folder: string) => () => readUserRecords(folder)
  const file = join(newFolder(t), 'users.csv')
  writeFileSync(file, text)
  await t.rejects(run(text, { records: between(read(file), async () => await users.add({ name: 'User399', password })) }), { name: 'StartupFault', message: /added meanwhile; nothing was imported/ })
  t.strictSame(await names(), ['User399'])
  await users.remove('user399')
  await t.rejects(run(text, { records: between(read(file), async function shortened () {}) }), { name: 'StartupFault', message: /the file has changed/ })
  t.strictSame(await names(), [])
  const counts: string[] = []
  t.match(await run(text, { onProgress: (phase, count) => { counts.push(`${phase} ${count}`) } }), { imported: 400 })
  t.strictSame(counts, ['checked 200', 'checked 400', 'imported 200', 'imported 400'])
})

t.test('a file that is none is one clear line', async (t) => {
  const { run } = await start(t)
  for (const [text, message] of [
    [Buffer.from('name,password_hash\nj\xf6rg,x', 'latin1'), /is not in UTF-8/],
    ['name,password_hash\n"ann,x', /:2: a quotation mark is not closed/],
    ['name,password_hash\na"nn,x', /:2: a quotation mark stands inside a field/],
    ['name,name\nann,x', /:1: the first line must name the columns/],
    ['[{"name": "ann"}, 5]', /:1: an object is wanted here/],
    ['[\n{"name": "ann"', /:2: the record is not closed/],
    [`[{"name": "${'x'.repeat(1_200_000)}"}]`, /:1: a record of more than/],
  ] as const) await t.rejects(run(text), { name: 'StartupFault', message }, String(message))
  t.strictSame(await run(''), { imported: 0, accepted: 0, refused: [] })
})
