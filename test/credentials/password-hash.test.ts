import { availableParallelism } from 'node:os'
import { hash as bcrypt } from '@node-rs/bcrypt'
import { hash as argon2Hash } from '@node-rs/argon2'
import t from 'tap'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { kindOf } from '../../src/credentials/hash-kinds.ts'
import { Refusal } from '../../src/errors.ts'
import { defaults } from '../login/config-of.ts'

const hasher = createPasswordHasher(defaults.passwords)
const password = 'correct horse battery staple'
const bcryptHash = async (text: string, cost: number) => await bcrypt(text, { cost })
/** The numbers of RFC 9106 §3.1, as the library takes them. */
const [argon2i, argon2id] = [1, 2]

t.test('hashes with argon2id, the configured memory and passes, and a salt for each', async (t) => {
  const hash = await createPasswordHasher({ ...defaults.passwords, memory: 19 * 1024 ** 2, iterations: 2 }).hash(password)
  t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.not(await hasher.hash(password), await hasher.hash(password))
})

t.test('takes the right password and no other', async (t) => {
  const hash = await hasher.hash(password)
  t.strictSame(await hasher.verify(password, hash), { matches: true, outdated: false })
  for (const wrong of ['', ' ', password.toUpperCase(), `${password} `, password.slice(0, -1), `${password}\0`]) t.equal((await hasher.verify(wrong, hash)).matches, false, JSON.stringify(wrong))
})

t.test('knows a hash that is weaker than what is made now, and none that is as strong or stronger', async (t) => {
  const make = async (memoryCost: number, timeCost: number, algorithm = argon2id) => await argon2Hash(password, { memoryCost, timeCost, parallelism: 1, algorithm })
  const now = createPasswordHasher({ ...defaults.passwords, memory: 2 * 1024 ** 2, iterations: 2 })
  t.strictSame(await now.verify(password, await make(2048, 2)), { matches: true, outdated: false })
  t.strictSame(await now.verify(password, await make(4096, 3)), { matches: true, outdated: false })
  t.strictSame(await now.verify(password, await make(1024, 2)), { matches: true, outdated: true })
  t.strictSame(await now.verify(password, await make(2048, 1)), { matches: true, outdated: true })
  t.strictSame(await now.verify(password, await make(2048, 2, argon2i)), { matches: true, outdated: true })
  t.strictSame(await now.verify(password, await bcryptHash(password, 4)), { matches: true, outdated: true })
})

t.test('takes the kinds that htpasswd makes', async (t) => {
  const hashes = {
    'bcrypt': await bcryptHash(password, 4),
    'bcrypt of Apache': (await bcryptHash(password, 4)).replace(/^\$2b/, '$2y'),
    // Made by: openssl passwd -apr1 -salt Zx8kQm2p
    'apr1': '$apr1$Zx8kQm2p$I/cJvqSkJrLUAHbZgQ6XI0',
    // Made by: printf … | openssl sha1 -binary | base64
    'sha': '{SHA}q/eq1kOINtvlJqojGr3i0O73TUI=',
  }
  for (const [name, hash] of Object.entries(hashes)) {
    t.equal((await hasher.verify(password, hash)).matches, true, name)
    t.equal((await hasher.verify(`${password}x`, hash)).matches, false, name)
  }
  // The example of Apache's own documentation ("Password Formats").
  t.equal((await hasher.verify('myPassword', '$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/')).matches, true)
  t.equal((await hasher.verify('myPassword', '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=')).matches, true)
})

t.test('crypt, plain text and what is no hash at all are nobody\'s', async (t) => {
  for (const hash of ['', 'plain', password, 'rqXexS6ZhobKA', '$1$salt$x', '$5$x$y', '$6$x$y', '{SSHA}x', '{SHA}', '$2y$', '$2y$10$short', '$apr1$', '$apr1$a$b', '$argon2id$', '*', '!']) {
    t.equal((await hasher.verify(password, hash)).matches, false, hash)
    t.equal((await hasher.verify(hash, hash)).matches, false, hash)
  }
  for (const hash of ['plain', 'rqXexS6ZhobKA', '$6$x$y', '$2y$10$short', '{SSHA}x']) t.equal(kindOf(hash), null)
})

t.test('a hash that asks for too much of this machine is refused without computing', async (t) => {
  const bcrypted = await bcryptHash(password, 4)
  const tail = `${'A'.repeat(22)}$${'A'.repeat(43)}`
  const began = performance.now()
  for (const hash of [
    `$argon2id$v=19$m=4194304,t=2,p=1$${tail}`, `$argon2id$v=19$m=65536,t=100000,p=1$${tail}`, `$argon2id$v=19$m=65536,t=2,p=100$${tail}`,
    `$argon2id$v=19$m=999999999999999,t=1,p=1$${tail}`, `$argon2id$v=19$t=1,m=4194304,p=1$${tail}`, `$argon2id$m=65536,t=2,p=1$${tail}`, `$argon2id$v=19$m=-1,t=1,p=1$${tail}`,
    bcrypted.replace('$04$', '$17$'), bcrypted.replace('$04$', '$99$'),
  ]) t.equal((await hasher.verify(password, hash)).matches, false, hash)
  t.ok(performance.now() - began < 200)
})

t.test('of a long password bcrypt would read 72 bytes: more is refused', async (t) => {
  const long = 'x'.repeat(72)
  const hash = await bcryptHash(long, 4)
  t.equal((await hasher.verify(long, hash)).matches, true)
  t.equal((await hasher.verify(`${long}anything`, hash)).matches, false)
  t.equal((await hasher.verify('é'.repeat(36), await bcryptHash('é'.repeat(36), 4))).matches, true)
  t.equal((await hasher.verify('é'.repeat(37), await bcryptHash('é'.repeat(37), 4))).matches, false)
})

t.test('any Unicode, to the last byte', async (t) => {
  for (const text of ['pässwörd', '密码密码密码密码', '🔑🔑🔑🔑', ' spaces ', 'x'.repeat(1024), '\u200d\u200b']) {
    const hash = await hasher.hash(text)
    t.equal((await hasher.verify(text, hash)).matches, true)
    t.equal((await hasher.verify(text.slice(0, -1), hash)).matches, false)
  }
})

t.test('no more at a time than configured, no more waiting, none for long; who is turned away is told to come again', async (t) => {
  const busy = createPasswordHasher({ ...defaults.passwords, memory: 64 * 1024 ** 2, iterations: 3, concurrency: 1, queue: 2, queueTimeout: 5_000 })
  const hashes = Array.from({ length: 6 }, async () => await busy.hash(password).then(() => 'done', (error: unknown) => error))
  t.strictSame(busy.stats(), { running: 1, queued: 2, rejected: 3 })
  const results = await Promise.all(hashes)
  t.equal(results.filter((result) => result === 'done').length, 3)
  for (const refused of results.filter((result) => result !== 'done')) {
    if (!(refused instanceof Refusal)) throw new Error(String(refused))
    t.match(refused, { code: 'GW_UNAVAILABLE', statusCode: 503, details: { retryAfterSeconds: 5 } })
  }
  t.strictSame(busy.stats(), { running: 0, queued: 0, rejected: 3 })
})

t.test('no more at a time than there are cores', async (t) => {
  const config = { ...defaults.passwords, memory: 64 * 1024 ** 2, concurrency: 3 }
  for (const [cores, running] of [[1, 1], [2, 2], [64, 3]] as const) {
    const hasher = createPasswordHasher(config, cores)
    const hashes = Array.from({ length: 4 }, async () => await hasher.hash(password))
    t.strictSame(hasher.stats(), { running, queued: 4 - running, rejected: 0 }, `${cores} cores`)
    await Promise.all(hashes)
  }
  const here = Math.min(availableParallelism(), 8)
  const asked = createPasswordHasher({ ...config, memory: 1024 ** 2, concurrency: 8 })
  const hashes = Array.from({ length: 9 }, async () => await asked.hash(password))
  t.strictSame(asked.stats(), { running: here, queued: 9 - here, rejected: 0 }, 'of this machine, where nothing is said')
  await Promise.all(hashes)
})

t.test('no check stops the requests, of whatever kind the hash is', async (t) => {
  for (const hash of [`$6$rounds=200000$saltsalt$${'a'.repeat(86)}`, await bcryptHash(password, 11), await createPasswordHasher({ ...defaults.passwords, memory: 64 * 1024 ** 2, iterations: 8 }).hash(password)]) {
    let turns = 0
    const timer = setInterval(() => { turns++ }, 5)
    await hasher.verify('x', hash)
    clearInterval(timer)
    t.ok(turns > 5, `${turns} turns: ${hash.slice(0, 10)}`)
  }
})
