/**
 * An attacker wants to know who has an account here: of a list of addresses, which are worth guessing at. The answer must be
 * the same for an unknown name, a wrong password and a disabled user, and so must the work behind it: a hash that is computed
 * for known names alone can be heard in the time. Here the work is counted; bench/ measures the time.
 */
import t, { type Test } from 'tap'
import { createCredentialChain } from '../../src/credentials/credential-chain.ts'
import { openHtpasswd } from '../../src/credentials/htpasswd.ts'
import { createPasswordHasher, type PasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { defaults } from '../login/config-of.ts'

const password = 'correct horse battery staple'

/** What a hash costs, by its parameters. */
type Work = string

/** A hasher that notes the cost of each hash that is checked, real or not. */
function counting (hasher: PasswordHasher): { readonly hasher: PasswordHasher, readonly work: () => Work[] } {
  let work: Work[] = []
  const costOf = (hash: string) => hash.startsWith('$argon2') ? hash.split('$').slice(1, 4).join('$') : hash.slice(0, 7)
  return {
    hasher: {
      ...hasher,
      async verify (typed, hash) {
        work.push(costOf(hash))
        return await hasher.verify(typed, hash)
      },
      async decoy (typed, like) {
        work.push(like === undefined ? costOf(await hasher.hash('any')) : costOf(like))
        await hasher.decoy(typed, like)
      },
    },
    work () {
      const done = work
      work = []
      return done
    },
  }
}

async function start (t: Test, htpasswd: string) {
  const folder = t.testdir({ htpasswd })
  const storage = await openStorage(`sqlite:${folder}/gatewarden.db`)
  t.teardown(async () => { await storage.close() })
  const { hasher, work } = counting(createPasswordHasher(defaults.passwords))
  const users = createUserStore({ db: storage.db, hasher, now: () => 1 })
  for (const name of ['alice', 'disabled']) await users.add({ name, password })
  await users.disable('disabled')
  const file = openHtpasswd({ file: `${folder}/htpasswd`, roles: [], hasher, warn: () => {}, now: () => 1 })
  return { chain: createCredentialChain([users, file]), users, work, storage }
}

const bcrypt = '$2y$04$abcdefghijklmnopqrstuuUs0tzIyDoPZB3sbVt1mpoJyX3.RQYhu'

t.test('unknown, wrong and disabled cost the same hashes, whichever source knows the name', async (t) => {
  const { chain, work } = await start(t, `carol:${bcrypt}\n`)
  const costs: Record<string, Work[]> = {}
  const attempts = { 'unknown': 'nobody', 'in the store': 'alice', 'in the file': 'carol', 'disabled': 'disabled', 'unknown again': 'somebody else', 'empty': '', 'long': 'x'.repeat(200) }
  for (const [what, username] of Object.entries(attempts)) {
    const verdict = await chain.check({ username, password: 'a wrong password' })
    t.equal(verdict.subject, null)
    costs[what] = work()
  }
  t.equal(costs['unknown']?.length, 2)
  for (const [what, cost] of Object.entries(costs)) t.strictSame(cost, costs['unknown'], what)
})

t.test('a disabled user with the right password costs what a wrong one does', async (t) => {
  const { chain, work } = await start(t, `carol:${bcrypt}\n`)
  await chain.check({ username: 'disabled', password: 'a wrong password' })
  const wrong = work()
  t.match(await chain.check({ username: 'disabled', password }), { subject: null, reason: 'disabled' })
  t.strictSame(work(), wrong)
})

t.test('a user with a hash that is cheaper than what is made now costs no less than nobody', async (t) => {
  const { chain, work, storage } = await start(t, `carol:${bcrypt}\ndave:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n`)
  const weak = await createPasswordHasher({ ...defaults.passwords, memory: 8_192 }).hash(password)
  await storage.db.updateTable('users').set({ password_hash: weak }).where('name', '=', 'alice').execute()
  await chain.check({ username: 'nobody', password: 'wrong' })
  const nobody = work()
  for (const username of ['alice', 'dave']) {
    await chain.check({ username, password: 'wrong' })
    const cost = work()
    for (const one of nobody) t.ok(cost.includes(one), `${username} ${one}`)
  }
})

t.test('a password that nobody can have costs nothing for anybody', async (t) => {
  const { chain, work } = await start(t, `carol:${bcrypt}\n`)
  for (const username of ['nobody', 'alice', 'carol', 'disabled']) {
    for (const impossible of ['with\0nul', 'x'.repeat(1025)]) {
      t.match(await chain.check({ username, password: impossible }), { subject: null })
      t.strictSame(work(), [])
    }
  }
})
