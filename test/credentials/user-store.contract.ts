/** What the users in storage promise over any engine: to be run on each. */
import type { Test } from 'tap'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { allOf } from '../helpers/all-of.ts'
import { defaults } from '../login/config-of.ts'
import type { OpenStorage } from '../sessions/session-rig.ts'

const password = 'correct horse battery staple'
const fault = (message: RegExp) => ({ name: 'StartupFault', message })

export function userStoreContract (open: OpenStorage): (t: Test) => Promise<void> {
  return async (t) => {
    async function start (t: Test) {
      const storage = await open(t)
      t.teardown(async () => { await storage.close() })
      const { db } = storage
      const clock = { time: 1_000 }
      const of = (changes: { memory?: number } = {}) => createUserStore({ db, hasher: createPasswordHasher({ ...defaults.passwords, ...changes }), now: () => clock.time })
      const hashOf = async (name: string) => (await db.selectFrom('users').select('password_hash').where('name', '=', name).executeTakeFirstOrThrow()).password_hash
      return { db, clock, users: of(), of, hashOf }
    }

    await t.test('a user is who they are by an id that is not the name', async (t) => {
      const { users } = await start(t)
      const id = await users.add({ name: 'Alice', password, roles: ['admin'], scopes: ['read'], attributes: { email: 'a@example.com' } })
      t.match(id, /^[0-9a-f]{8}-[0-9a-f-]{27}$/)
      t.match(await users.check({ username: 'Alice', password }), { outcome: 'accepted', subject: { id, name: 'Alice', roles: ['admin'], scopes: ['read'], attributes: { email: 'a@example.com' } } })
      t.match(await users.find(id), { id, name: 'Alice' })
      await users.setPassword('alice', 'another long password')
      t.match(await users.check({ username: 'alice', password: 'another long password' }), { subject: { id } })
      await users.remove('alice')
      t.equal(await users.find(id), null)
      t.not(await users.add({ name: 'Alice', password }), id, 'and whoever gets the name later is somebody else')
    })

    await t.test('names are one in any case and any compatible form', async (t) => {
      const { users } = await start(t)
      const id = await users.add({ name: 'Ｊosé', password })
      for (const name of ['josé', 'JOSÉ', 'jose\u0301', 'ｊｏｓé']) {
        t.match(await users.check({ username: name, password }), { outcome: 'accepted', subject: { id } }, name)
        await t.rejects(users.add({ name, password }), fault(/^there is a user named ".*" already/))
      }
      t.match(await users.check({ username: 'jose', password }), { outcome: 'unknown' })
    })

    await t.test('of many that add one name at once, one does', async (t) => {
      const { users } = await start(t)
      const added = await Promise.allSettled(['eve', 'Eve', 'EVE', 'ｅve'].map(async (name) => await users.add({ name, password })))
      t.equal(added.filter(({ status }) => status === 'fulfilled').length, 1)
      t.equal((await allOf(users.list())).length, 1)
    })

    await t.test('names that cannot be told apart by looking, or not be written, are refused', async (t) => {
      const { users } = await start(t)
      for (const name of ['', ' a', 'a ', 'a\0', 'a\nb', 'a\u200bb', 'a\u202eb', 'a\u3164b', '\uffa0', 'a\u{e0041}', 'x'.repeat(257), 'é'.repeat(129), '\uD800']) await t.rejects(users.add({ name, password }), fault(/^a name /), JSON.stringify(name))
      for (const name of ['a b', "o'brien", 'x'.repeat(256), 'alice@example.com', '张伟', '__proto__', "'; drop table users; --"]) await users.add({ name, password })
      t.match(await users.check({ username: "'; drop table users; --", password }), { outcome: 'accepted' })
      t.match(await users.check({ username: '__proto__', password }), { outcome: 'accepted' })
    })

    await t.test('what a password must be when it is set', async (t) => {
      const { users } = await start(t)
      await users.add({ name: 'alice', password })
      for (const wrong of ['', 'short', '1234567', 'with\0a nul byte', 'x'.repeat(1025), 'é'.repeat(513), '🔑'.repeat(7)]) {
        await t.rejects(users.add({ name: 'other', password: wrong }), fault(/^a password /))
        await t.rejects(users.setPassword('alice', wrong), fault(/^a password /))
      }
      for (const right of ['8 chars!', '🔑'.repeat(8), 'x'.repeat(1024), '        \t spaces count']) await users.setPassword('alice', right)
    })

    await t.test('composed and decomposed forms of a password are one', async (t) => {
      const { users } = await start(t)
      await users.add({ name: 'alice', password: 'cafe\u0301 au lait' })
      for (const form of ['caf\u00e9 au lait', 'cafe\u0301 au lait']) t.match(await users.check({ username: 'alice', password: form }), { outcome: 'accepted' })
      t.match(await users.check({ username: 'alice', password: 'cafe au lait' }), { outcome: 'refused' })
    })

    await t.test('roles and scopes that would read as several are refused', async (t) => {
      const { users } = await start(t)
      for (const item of ['', 'a,b', 'a b', 'a"b', 'a\\b', 'a\nb', 'x'.repeat(129)]) {
        await t.rejects(users.add({ name: 'a', password, roles: [item] }), fault(/is no role/))
        await t.rejects(users.add({ name: 'a', password, scopes: [item] }), fault(/is no scope/))
      }
    })

    await t.test('a disabled user is refused with the right password, is not found, and is back when enabled', async (t) => {
      const { users } = await start(t)
      const id = await users.add({ name: 'alice', password })
      await users.disable('ALICE')
      t.strictSame(await users.check({ username: 'alice', password }), { outcome: 'refused', reason: 'disabled' })
      t.equal((await users.check({ username: 'alice', password: 'wrong' })).outcome, 'refused')
      t.equal(await users.find(id), null)
      t.match(await allOf(users.list()), [{ name: 'alice', disabled: true }])
      await users.enable('alice')
      t.match(await users.check({ username: 'alice', password }), { outcome: 'accepted', subject: { id } })
    })

    await t.test('who is not there is told of', async (t) => {
      const { users } = await start(t)
      for (const work of [users.disable, users.enable, users.remove]) await t.rejects(work('nobody'), fault(/^there is no user named "nobody"/))
      await t.rejects(users.setPassword('nobody', password), fault(/^there is no user named "nobody"/))
    })

    await t.test('the list has no hashes', async (t) => {
      const { users } = await start(t)
      const id = await users.add({ name: 'alice', password })
      t.strictSame(await allOf(users.list()), [{ id, name: 'alice', roles: [], scopes: [], attributes: {}, disabled: false, createdAt: '1970-01-01T00:00:01.000Z' }])
    })

    await t.test('the list tells of everybody once, by name, a thousand at a time', async (t) => {
      const { users, db } = await start(t)
      await users.add({ name: 'user 0000', password })
      const like = await db.selectFrom('users').selectAll().executeTakeFirstOrThrow()
      // Backwards, so that they do not stand in the order of their names.
      const names = Array.from({ length: 2_000 }, (_, index) => `user ${String(2_000 - index).padStart(4, '0')}`)
      for (let from = 0; from < names.length; from += 500) {
        await db.insertInto('users').values(names.slice(from, from + 500).map((name) => ({ ...like, id: name, name, name_key: name }))).execute()
      }
      const pages: string[][] = []
      for await (const page of users.list()) pages.push(page.map(({ name }) => name))
      t.strictSame(pages.map(({ length }) => length), [1_000, 1_000, 1])
      t.strictSame(pages.flat(), ['user 0000', ...names.reverse()])
    })

    await t.test('a weaker hash is made anew at the next right login, and at no wrong one', async (t) => {
      const { users, of, hashOf } = await start(t)
      await users.add({ name: 'alice', password })
      const weak = await hashOf('alice')
      const stronger = of({ memory: 2 * 1024 ** 2 })
      await stronger.check({ username: 'alice', password: 'wrong' })
      t.equal(await hashOf('alice'), weak)
      const before = await stronger.check({ username: 'alice', password })
      const strong = await hashOf('alice')
      t.match(strong, /m=2048/)
      const after = await stronger.check({ username: 'alice', password })
      t.equal(await hashOf('alice'), strong, 'and not again')
      t.strictSame(after, before, 'which is no change of the password: logins under way stay good')
    })

    await t.test('a rehash does not undo a password that was changed meanwhile', async (t) => {
      const { db, users, hashOf } = await start(t)
      await users.add({ name: 'alice', password })
      const real = createPasswordHasher({ ...defaults.passwords, memory: 2 * 1024 ** 2 })
      let changed = false
      const slow = createUserStore({
        db,
        now: () => 2_000,
        hasher: {
          ...real,
          async hash (text) {
            const hash = await real.hash(text)
            if (!changed) {
              changed = true
              await users.setPassword('alice', 'another long password')
            }
            return hash
          },
        },
      })
      await slow.check({ username: 'alice', password })
      t.ok(changed)
      t.match(await hashOf('alice'), /m=1024/)
      t.match(await users.check({ username: 'alice', password: 'another long password' }), { outcome: 'accepted' })
      t.match(await users.check({ username: 'alice', password }), { outcome: 'refused' })
    })

    await t.test('the revision grows with each change, even within one millisecond', async (t) => {
      const { users } = await start(t)
      const id = await users.add({ name: 'alice', password })
      const revision = async () => (await users.find(id))?.revision
      const seen = [await revision()]
      await users.setPassword('alice', password)
      seen.push(await revision())
      await users.disable('alice')
      await users.enable('alice')
      seen.push(await revision())
      t.equal(new Set(seen).size, 3)
    })

    await t.test('storage that fails is 503 at a login', async (t) => {
      const storage = await open(t)
      const users = createUserStore({ db: storage.db, hasher: createPasswordHasher(defaults.passwords), now: () => 1 })
      await storage.close()
      await t.rejects(users.check({ username: 'alice', password }), { code: 'GW_UNAVAILABLE', details: { reason: 'storage' } })
    })
  }
}
