import { execFile } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { algorithms, type Algorithm } from '../../src/config/schema.ts'
import type { Storage } from '../../src/storage/database.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import { openKeyRing, type KeyRing } from '../../src/tokens/key-ring.ts'
import { openMasterKey, seal, type MasterKey } from '../../src/tokens/master-key.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { processFile } from '../helpers/process-file.ts'
import { audience, issuer, someTime } from '../helpers/tokens.ts'

const day = 86_400_000
const minute = 60_000
const lifetime = 5 * minute
const clockTolerance = 2_000
const masterKey = openMasterKey({ configured: randomBytes(32).toString('base64url'), fileBesideData: null }).masterKey

interface World {
  readonly storage: Storage
  readonly clock: { time: number }
  /** As another process, or after a restart. */
  open (changes?: { algorithm?: Algorithm, lifetime?: number, masterKey?: MasterKey, directory?: string, settledNow?: () => number }): Promise<KeyRing>
}

async function world (t: Test): Promise<World> {
  const storage = await openStorage(`sqlite:${join(t.testdir(), 'gatewarden.db')}`)
  t.teardown(async () => await storage.close())
  const clock = { time: someTime }
  return {
    storage,
    clock,
    open: async (changes = {}) => await openKeyRing({
      config: {
        accessToken: { algorithm: changes.algorithm ?? 'ES256', lifetime: changes.lifetime ?? lifetime, clockTolerance, cacheSize: 10, secret: 'a secret of at least sixty-four bytes, which is enough for all three' },
        keys: { rotateEvery: 30 * day, publishAhead: 10 * minute, ...(changes.directory === undefined ? {} : { directory: changes.directory }) },
      },
      db: storage.db,
      masterKey: changes.masterKey ?? masterKey,
      now: () => clock.time,
      ...(changes.settledNow === undefined ? {} : { settledNow: changes.settledNow }),
    }),
  }
}

function mintOf (ring: KeyRing, clock: { time: number }): () => string {
  const mint = createAccessTokenMint({ keyRing: ring, issuer, audience, lifetime, now: () => clock.time })
  return () => mint({ subject: 'u', sessionId: 's', clientId: 'c', roles: [], scopes: [], claims: {} }).token
}

const verifierOf = (ring: KeyRing, clock: { time: number }) => createVerifier({ keyRing: ring, issuer, audience, clockTolerance, now: () => clock.time })
const kidsOf = (ring: KeyRing): string[] => ring.publicKeys().map(({ kid }) => kid)

await t.test('makes a key on the first start, and finds it again on the next', async (t) => {
  const { open } = await world(t)
  const first = await open()
  const { kid, algorithm } = first.signingKey()
  t.equal(algorithm, 'ES256')
  const again = await open()
  t.strictSame(again.signingKey(), first.signingKey())
  t.strictSame(again.list(), [{ kid, algorithm: 'ES256', state: 'signing', createdAt: someTime, activatesAt: someTime, expiresAt: null }])
  t.equal(again.signingKey(), again.signingKey(), 'one object for as long as it is one key')
  t.equal(again.verifyingKey(kid), again.verifyingKey(kid))
})

for (const algorithm of algorithms) {
  await t.test(`${algorithm}: what the ring signs it verifies, after a restart too`, async (t) => {
    const { open, clock } = await world(t)
    const token = mintOf(await open({ algorithm }), clock)()
    const ring = await open({ algorithm })
    t.equal(verifierOf(ring, clock)(token).subject, 'u')
    t.equal(ring.publicKeys().length, algorithm.startsWith('HS') ? 0 : 1)
  })
}

await t.test('names keys by their RFC 7638 thumbprint', async (t) => {
  const ring = await (await world(t)).open()
  const [jwk] = ring.publicKeys()
  if (jwk === undefined) throw new Error('no key')
  t.equal(jwk.kid, await calculateJwkThumbprint({ ...jwk }, 'sha256'))
})

await t.test('publishes public members alone, for every kind of key', async (t) => {
  for (const algorithm of ['ES256', 'ES384', 'ES512', 'RS256', 'PS512', 'EdDSA'] as const) {
    const ring = await (await world(t)).open({ algorithm })
    const [jwk] = ring.publicKeys()
    const names = { EC: ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'], OKP: ['alg', 'crv', 'kid', 'kty', 'use', 'x'], RSA: ['alg', 'e', 'kid', 'kty', 'n', 'use'] }
    t.strictSame(Object.keys(jwk ?? {}).sort(), names[jwk?.kty ?? 'EC'])
    t.match(jwk, { alg: algorithm, use: 'sig', kid: ring.signingKey().kid })
    const secret = createPrivateKey(ring.signingKey().key).export({ format: 'jwk' })
    const published = JSON.stringify(ring.publicKeys()) + JSON.stringify(ring.list())
    for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
      const value = secret[name]
      if (typeof value === 'string') t.notMatch(published, value)
    }
    if (algorithm === 'RS256') t.equal(Buffer.from(jwk?.n ?? '', 'base64url').length, 384, '3072 bits')
  }
})

await t.test('keeps no private key in storage that can be read without the master key', async (t) => {
  const { open, storage } = await world(t)
  const ring = await open()
  const rows = await storage.db.selectFrom('keys').selectAll().execute()
  const d = String(createPrivateKey(ring.signingKey().key).export({ format: 'jwk' }).d)
  const kept = JSON.stringify(rows) + rows.map((row) => Buffer.from(row.private_key, 'base64url').toString('latin1')).join()
  t.notMatch(kept, d)
  t.notMatch(kept, 'PRIVATE KEY')
  t.notMatch(kept, Buffer.from(d, 'base64url').toString('latin1'))
})

await t.test('with another master key, does not start, and says which setting is wrong', async (t) => {
  const { open } = await world(t)
  await open()
  const other = openMasterKey({ configured: randomBytes(32).toString('base64url'), fileBesideData: null }).masterKey
  await t.rejects(open({ masterKey: other }), { name: 'StartupFault', message: /does not open with the master key from keys\.masterKey \(GATEWARDEN_MASTER_KEY\)/ })
})

await t.test('takes no key that somebody wrote into the database', async (t) => {
  const { open, storage } = await world(t)
  const ring = await open()
  const intruder = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = intruder.publicKey.export({ format: 'jwk' })
  const kid = await calculateJwkThumbprint(jwk)
  const row = { algorithm: 'ES256', public_jwk: JSON.stringify({ ...jwk, kid }), created_at: someTime, activates_at: someTime, expires_at: null }
  const [own] = await storage.db.selectFrom('keys').selectAll().execute()
  const pem = String(intruder.privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const attempts = [
    { ...row, kid, private_key: '' },
    { ...row, kid, private_key: seal(randomBytes(32), pem, `ES256 ${kid}`) },
    { ...row, kid, private_key: own?.private_key ?? '' },
    { ...row, kid: `${kid}x`, private_key: seal(masterKey.derive('signing-keys'), pem, `ES256 ${kid}x`) },
    { ...row, kid, algorithm: 'none', private_key: own?.private_key ?? '' },
    { ...row, kid, algorithm: 'HS256', private_key: own?.private_key ?? '' },
  ]
  for (const attempt of attempts) {
    await storage.db.insertInto('keys').values(attempt).execute()
    await t.rejects(ring.reload(), { name: 'StartupFault' })
    t.equal(ring.verifyingKey(kid), undefined)
    t.strictSame(kidsOf(ring), [own?.kid], 'the ring stays as it was')
    await storage.db.deleteFrom('keys').where('kid', '=', attempt.kid).execute()
  }
  await storage.db.updateTable('keys').set({ public_jwk: JSON.stringify({ ...jwk, kid }) }).execute()
  t.strictSame((await open()).publicKeys(), ring.publicKeys(), 'and the column of public keys is believed by nobody')
  await storage.db.updateTable('keys').set({ algorithm: 'ES384' }).execute()
  await t.rejects(ring.reload(), { name: 'StartupFault' }, 'the algorithm is part of the seal')
})

await t.test('rotates by age: published first, then signing, then the old one gone when its last token is', async (t) => {
  const { open, clock } = await world(t)
  const ring = await open()
  const verify = verifierOf(ring, clock)
  const mint = mintOf(ring, clock)
  const old = ring.signingKey().kid

  clock.time = someTime + 30 * day - 10 * minute - 1
  await ring.maintain()
  t.equal(kidsOf(ring).length, 1, 'too early')
  clock.time += 1
  await ring.maintain()
  await ring.maintain()
  t.equal(kidsOf(ring).length, 2, 'one next key is published')
  t.equal(kidsOf(ring)[0], old, 'the signing key first')
  t.strictSame(ring.list().map(({ state }) => state), ['signing', 'next'])
  t.equal(ring.signingKey().kid, old)

  clock.time = someTime + 30 * day - 1
  const last = mint()
  t.equal(ring.signingKey().kid, old)
  clock.time += 1
  t.not(ring.signingKey().kid, old, 'no call was needed for that')
  t.strictSame(ring.list().map(({ state }) => state), ['retired', 'signing'])
  const first = mint()
  t.ok(verify(last))
  t.ok(verify(first))

  clock.time = someTime + 30 * day - 1 + lifetime + clockTolerance - 1_000
  t.ok(verify(last), 'the last token of the old key, to its end')
  await ring.maintain()
  t.ok(verify(last))
  clock.time += 2 * minute
  await ring.maintain()
  t.equal(ring.verifyingKey(old), undefined)
  t.equal(kidsOf(ring).length, 1)
  t.throws(() => verify(last), { code: 'GW_TOKEN_INVALID' })
  t.strictSame((await open()).list(), ring.list(), 'deleted in storage too')
})

await t.test('an outside verifier with the published keys follows a rotation', async (t) => {
  const { open, clock } = await world(t)
  const ring = await open()
  const options = () => ({ issuer, audience, typ: 'at+jwt', currentDate: new Date(clock.time) })
  const old = mintOf(ring, clock)()
  await ring.rotate()
  const keys = createLocalJWKSet({ keys: ring.publicKeys().map((jwk) => ({ ...jwk })) })
  t.ok(await jwtVerify(old, keys, options()))
  clock.time += 10 * minute
  t.ok(await jwtVerify(mintOf(ring, clock)(), keys, options()), 'fetched before the new key signed')
})

await t.test('rotates by hand: the next key now, signing later; once for two calls', async (t) => {
  const { open, clock } = await world(t)
  const ring = await open()
  const old = ring.signingKey().kid
  const next = await ring.rotate()
  t.match(next, { state: 'next', activatesAt: someTime + 10 * minute, expiresAt: null })
  t.equal(ring.signingKey().kid, old)
  t.strictSame(await ring.rotate(), next, 'the one under way is taken')
  clock.time += 10 * minute
  t.equal(ring.signingKey().kid, next.kid)
})

await t.test('rotates by hand at once, with a next key waiting or without', async (t) => {
  const { open, clock } = await world(t)
  const ring = await open()
  const token = mintOf(ring, clock)()
  const first = ring.signingKey().kid
  const second = await ring.rotate({ immediately: true })
  t.match(second, { state: 'signing', activatesAt: someTime })
  t.equal(ring.signingKey().kid, second.kid)
  t.not(second.kid, first)
  t.ok(verifierOf(ring, clock)(token), 'who has a token keeps it')
  clock.time += minute
  const waiting = await ring.rotate()
  const third = await ring.rotate({ immediately: true })
  t.equal(third.kid, waiting.kid)
  t.equal(ring.signingKey().kid, third.kid)
})

await t.test('learns on reload of what another process did, and tells who asked to know', async (t) => {
  const { open, clock } = await world(t)
  const [one, other] = [await open(), await open()]
  let told = 0
  one.onChange(() => told++)
  const next = await other.rotate({ immediately: true })
  t.equal(one.verifyingKey(next.kid), undefined)
  await one.reload()
  t.equal(one.signingKey().kid, next.kid)
  t.equal(told, 1)
  await one.reload()
  await one.maintain()
  t.equal(told, 1, 'nothing new')
  one.close()
  clock.time += minute
  await other.rotate({ immediately: true })
  await one.reload()
  t.equal(told, 1, 'nor after it was closed')
})

await t.test('a cache forgets what it verified when the key is deleted', async (t) => {
  const { open, clock, storage } = await world(t)
  const ring = await open()
  const cache = createVerifierCache(verifierOf(ring, clock), { size: 10, clockTolerance, isEnded: () => false, now: () => clock.time })
  ring.onChange(() => cache.clear())
  const token = mintOf(ring, clock)()
  cache.verify(token)
  await ring.rotate({ immediately: true })
  t.ok(cache.verify(token))
  await storage.db.deleteFrom('keys').where('kid', '=', ring.list().find(({ state }) => state === 'retired')?.kid ?? '').execute()
  await ring.reload()
  t.throws(() => cache.verify(token), { code: 'GW_TOKEN_INVALID' })
})

await t.test('while a clock that was set ahead is in doubt, no key is made and none is deleted', async (t) => {
  const { open, clock, storage } = await world(t)
  let settled: number | null = null
  const ring = await open({ settledNow: () => settled ?? clock.time })
  await ring.rotate({ immediately: true })
  const rows = async () => await storage.db.selectFrom('keys').selectAll().orderBy('kid').execute()
  const before = await rows()
  t.equal(before.length, 2)
  settled = clock.time
  clock.time += 365 * day
  await ring.maintain()
  t.strictSame(await rows(), before)
  clock.time = settled
  t.equal(ring.list().length, 2, 'the one before still verifies')
  settled = null
  clock.time += 365 * day
  await ring.maintain()
  t.notSame(await rows(), before, 'a clock that has settled is believed')
})

await t.test('of two that start, maintain or rotate at once, one makes the key', async (t) => {
  const { open, clock } = await world(t)
  const rings = await Promise.all(Array.from({ length: 4 }, async () => await open()))
  const reloadAll = async () => { for (const ring of rings) await ring.reload() }
  await reloadAll()
  t.equal(new Set(rings.map((ring) => ring.signingKey().kid)).size, 1)
  t.equal(rings[0]?.list().length, 1)

  clock.time += 30 * day - minute
  await Promise.all(rings.map(async (ring) => await ring.maintain()))
  await reloadAll()
  for (const ring of rings) t.equal(ring.list().length, 2)

  clock.time += 20 * minute
  const views = await Promise.all(rings.map(async (ring) => await ring.rotate()))
  t.equal(new Set(views.map(({ kid }) => kid)).size, 1)

  clock.time += 20 * minute
  const now = await Promise.all(rings.map(async (ring) => await ring.rotate({ immediately: true })))
  t.equal(new Set(now.map(({ kid }) => kid)).size, 1)
  await reloadAll()
  t.equal(new Set(rings.map((ring) => ring.signingKey().kid)).size, 1)
})

await t.test('of processes that start and rotate at once on one storage, one makes the key', async (t) => {
  const url = `sqlite:${join(t.testdir(), 'gatewarden.db')}`
  // So that the storage is there, and only the ring is raced for.
  await (await openStorage(url)).close()
  const runs = await Promise.all(Array.from({ length: 4 }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [processFile('tokens/rotating.process'), url])
    return JSON.parse(stdout) as { first: string, next: string }
  }))
  t.equal(new Set(runs.map(({ first }) => first)).size, 1)
  t.equal(new Set(runs.map(({ next }) => next)).size, 1)
  t.not(runs[0]?.first, runs[0]?.next)
  const storage = await openStorage(url)
  t.equal((await storage.db.selectFrom('keys').select('kid').execute()).length, 2)
  await storage.close()
})

await t.test('another algorithm in the configuration signs at once, and tokens of the one before go on', async (t) => {
  const { open, clock } = await world(t)
  const token = mintOf(await open({ algorithm: 'ES256' }), clock)()
  clock.time += minute
  const ring = await open({ algorithm: 'EdDSA' })
  t.equal(ring.signingKey().algorithm, 'EdDSA')
  const verify = verifierOf(ring, clock)
  t.ok(verify(token))
  t.ok(verify(mintOf(ring, clock)()))
  t.strictSame(ring.list().map(({ algorithm, state }) => [algorithm, state]).sort(), [['ES256', 'retired'], ['EdDSA', 'signing']])
  clock.time += 10 * minute
  await ring.maintain()
  t.equal(ring.list().length, 1)

  const back = await open({ algorithm: 'ES256' })
  t.equal(back.signingKey().algorithm, 'ES256')
  t.equal(back.list().length, 2)
})

await t.test('the same key pair never serves two algorithms', async (t) => {
  const { open, clock } = await world(t)
  const token = mintOf(await open({ algorithm: 'RS256' }), clock)()
  const ring = await open({ algorithm: 'PS256' })
  t.equal(new Set(ring.list().map(({ kid }) => kid)).size, 2)
  t.equal(verifierOf(ring, clock)(token).subject, 'u')
})

await t.test('HS… and key pairs are never in one ring', async (t) => {
  const { open, clock } = await world(t)
  const token = mintOf(await open({ algorithm: 'ES256' }), clock)()
  const ring = await open({ algorithm: 'HS256' })
  t.strictSame(ring.publicKeys(), [])
  t.equal(ring.list().length, 1)
  t.throws(() => verifierOf(ring, clock)(token), { code: 'GW_TOKEN_INVALID' })
  const secretToken = mintOf(ring, clock)()
  const pairs = await open({ algorithm: 'ES256' })
  t.throws(() => verifierOf(pairs, clock)(secretToken), { code: 'GW_TOKEN_INVALID' })
})

await t.test('with a directory, uses its keys and leaves those in storage alone', async (t) => {
  const { open, storage } = await world(t)
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const directory = t.testdir({ keys: { 'a.pem': String(privateKey.export({ type: 'pkcs8', format: 'pem' })) } })
  const ring = await open({ directory: join(directory, 'keys') })
  t.equal(ring.publicKeys().length, 1)
  t.strictSame(await storage.db.selectFrom('keys').selectAll().execute(), [])
  await t.rejects(open({ algorithm: 'HS256', directory }), { name: 'StartupFault' })
})

await t.test('when every row is gone, refuses to sign until the next maintenance has made a key', async (t) => {
  const { open, storage, clock } = await world(t)
  const ring = await open()
  await storage.db.deleteFrom('keys').execute()
  await ring.reload()
  t.throws(() => ring.signingKey(), { code: 'GW_UNAVAILABLE' })
  t.strictSame(ring.publicKeys(), [])
  await ring.maintain()
  t.ok(verifierOf(ring, clock)(mintOf(ring, clock)()))
})

await t.test('a clock that goes back still signs and verifies', async (t) => {
  const { open, clock } = await world(t)
  const ring = await open()
  clock.time -= day
  t.ok(verifierOf(ring, clock)(mintOf(ring, clock)()))
  await ring.maintain()
  t.equal(ring.list().length, 1)
})
