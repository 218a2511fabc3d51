import { hash as bcryptHash } from '@node-rs/bcrypt'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openHtpasswd } from '../../src/credentials/htpasswd.ts'
import { createCredentialChain } from '../../src/credentials/credential-chain.ts'
import { passwordForm } from '../../src/credentials/password-form.ts'
import { createPasswordHasher, type PasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { defaults } from '../login/config-of.ts'

const hasher = createPasswordHasher(defaults.passwords)
let hashes = 0
const counting: PasswordHasher = {
  hash: async (password) => { hashes++; return await hasher.hash(password) },
  verify: async (password, hash) => { hashes++; return await hasher.verify(password, hash) },
  decoy: async (password, like) => { hashes++; await hasher.decoy(password, like) },
  assertRoom: hasher.assertRoom,
  stats: hasher.stats,
}
const storage = await openStorage(`sqlite:${t.testdir({})}/gatewarden.db`)
t.teardown(() => storage.close())
const users = createUserStore({ db: storage.db, hasher: counting, now: () => 1 })
const chain = createCredentialChain([users])
const logIn = async (username: string, password: string) => (await chain.check({ username, password })).subject !== null

t.test('what is set and what is typed are one, in every form that a keyboard may send', async (t) => {
  const forms: [set: string, typed: string[]][] = [
    ['cafe\u0301 au lait', ['caf\u00e9 au lait', 'cafe\u0301\u00a0au\u3000lait']],
    ['non\u00a0breaking\u2003space', ['non breaking space', 'non\u202fbreaking\u2009space']],
    ['\uac00\ub098\ub2e4 한국어 열쇠', ['\u1100\u1161\u1102\u1161\u1103\u1161 한국어 열쇠']],
    ['Å\u0323ngström-8', ['A\u0323\u030angström-8', '\u212b\u0323ngström-8']],
    ['🔑🏽‍♀️ any unicode \u{10ffff} \u0378', ['🔑🏽‍♀️ any unicode \u{10ffff} \u0378']],
    ['\ttabs\nand\rlines\u2028', ['\ttabs\nand\rlines\u2028']],
  ]
  for (const [index, [set, typed]] of forms.entries()) {
    await users.add({ name: `user ${index}`, password: set })
    for (const form of [set, ...typed]) t.ok(await logIn(`user ${index}`, form), encodeURIComponent(form))
    const [first = ''] = typed
    await users.setPassword(`user ${index}`, first)
    t.ok(await logIn(`user ${index}`, set), 'and the other way round')
  }
})

t.test('what looks alike is not one: compatibility forms, case, zero-width and inner spaces', async (t) => {
  await users.add({ name: 'exact', password: 'office 1 Key x' })
  for (const other of ['oﬃce 1 Key x', 'office ① Key x', 'office 1 key x', 'office 1 Key\u200b x', 'office  1 Key x', ' office 1 Key x', 'office 1 Key x ', 'office 1 Key х']) t.notOk(await logIn('exact', other), other)
  t.equal(passwordForm('ﬃ①'), 'ﬃ①')
})

t.test('NUL and what is too long is refused before any hashing, when it is set and when it is typed', async (t) => {
  await users.add({ name: 'longest', password: `w7${'é'.repeat(511)}` })
  t.ok(await logIn('longest', `w7${'é'.repeat(511)}`), '1024 bytes are no bytes too many')
  hashes = 0
  for (const impossible of ['nul\0 in the middle', 'nul at the end\0', '\0', 'x'.repeat(1025), 'é'.repeat(513), 'x'.repeat(1_000_000), `w7${'é'.repeat(511)}\0`]) {
    t.notOk(await logIn('longest', impossible))
    t.notOk(await logIn('nobody', impossible))
    await t.rejects(users.add({ name: 'another', password: impossible }), { name: 'StartupFault', message: /^a password has no NUL and at most 1024 bytes/ })
    await t.rejects(users.setPassword('longest', impossible), { name: 'StartupFault' })
  }
  t.equal(hashes, 0)
  t.notOk(await logIn('longest', 'x'.repeat(1024)))
  t.equal(hashes, 1, 'the count counts')
})

t.test('a password longer than 72 bytes never matches a bcrypt hash by its beginning, and costs the same work', async (t) => {
  const file = join(t.testdir({}), 'users.htpasswd')
  const exact = 'x'.repeat(72)
  const unicode = `${'é'.repeat(36)}`
  writeFileSync(file, `exact:${await bcryptHash(exact, { cost: 4 })}\nunicode:${await bcryptHash(unicode, { cost: 4 })}\nlong:${await bcryptHash(`${exact} and more`, { cost: 4 })}\n`)
  const htpasswd = openHtpasswd({ name: 'htpasswd', file, roles: [], hasher: counting, warn: () => {}, now: Date.now })
  const outcome = async (username: string, password: string) => (await htpasswd.check({ username, password })).outcome
  t.equal(await outcome('exact', exact), 'accepted')
  t.equal(await outcome('unicode', unicode), 'accepted')
  hashes = 0
  for (const beyond of [`${exact}x`, `${exact} and more`, 'x'.repeat(1024)]) t.equal(await outcome('exact', beyond), 'refused')
  for (const beyond of [`${unicode}a`, `${unicode}é`]) t.equal(await outcome('unicode', beyond), 'refused')
  // Whoever made that hash of a longer password has been cut by the tool that made it: it was never safe to accept.
  t.equal(await outcome('long', `${exact} and more`), 'refused')
  t.equal(await outcome('long', exact), 'accepted', 'the 72 bytes that the hash is of')
  t.equal(hashes, 7)
})
