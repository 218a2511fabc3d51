/**
 * An issuer is down, or somebody sees to it that it cannot be reached. Good tokens go on for a bounded time, through a restart
 * too; what cannot be known is 503 and never 401, for a client answers 401 by throwing its token away. Whoever can keep
 * the gateway from its issuer must not be able to keep a lost key alive for ever, nor to plant one on the disk.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startOidcServer } from '../helpers/oidc-server.ts'
import { openTrustingVerifier, trusting } from '../helpers/trusting-verifier.ts'
import { within } from '../helpers/within.ts'

const hour = 3_600_000

await t.test('keys serve on while their issuer is away, until they are too old', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { staleFor: 8 * hour } })])
  const token = async (subject: string, changes: Record<string, unknown> = {}) => await corp.token(subject, { exp: Math.floor(Date.now() / 1000) + 86_400, ...changes })
  const good = await token('alice')
  await verifier.verify(good)
  await corp.goAway()
  verifier.later(7 * hour)
  t.equal(await verifier.outcome(good), 'corp|alice')
  t.equal(await verifier.outcome(await token('bob')), 'corp|bob', 'tokens that were not seen before, too')
  await corp.rotate()
  const newer = await token('carol')
  await t.rejects(verifier.verify(newer), { code: 'GW_KEYS_UNAVAILABLE', statusCode: 503, details: { retryAfterSeconds: Number } }, 'a key that it may have made meanwhile is not known to be wrong')
  t.equal(await verifier.outcome(good), 'corp|alice')
  t.equal(await verifier.outcome(await token('mallory', { aud: 'other' })), 'GW_TOKEN_INVALID', 'what is wrong anyway still is')
  verifier.later(hour + 1)
  t.equal(await verifier.outcome(await token('dave', { jti: 'new' })), 'GW_KEYS_UNAVAILABLE', 'too old')
  t.equal(verifier.trusted.stats()[0]?.name, 'corp')
  await corp.comeBack()
  verifier.later(30_001)
  t.equal(await verifier.outcome(newer), 'corp|carol', 'back again')
})

await t.test('keys that became too old take remembered tokens with them', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { staleFor: 150, refreshEvery: 600_000 } })])
  const good = await corp.token('alice')
  await verifier.verify(good)
  await corp.goAway()
  const lost = new Promise<void>((resolve) => { verifier.trusted.onLoss(resolve) })
  await within(10_000, lost)
  t.equal(await verifier.outcome(good), 'GW_KEYS_UNAVAILABLE')
  t.match(verifier.log.join('\n'), 'older than keys.staleFor')
})

await t.test('an issuer that was never reached is 503, with Retry-After, and is asked once a cool-down', async (t) => {
  const corp = await startOidcServer(t)
  await corp.goAway()
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url })], { start: false })
  const good = await corp.token('alice')
  await t.rejects(verifier.verify(good), { code: 'GW_KEYS_UNAVAILABLE', details: { retryAfterSeconds: 30 } })
  for (let round = 0; round < 20; round++) t.equal(await verifier.outcome(good), 'GW_KEYS_UNAVAILABLE')
  t.strictSame(verifier.fetches, ['corp unreachable'])
  await corp.comeBack()
  verifier.later(30_001)
  t.equal(await verifier.outcome(good), 'corp|alice')
})

await t.test('it is tried again in the background, without anybody who asks', async (t) => {
  const corp = await startOidcServer(t)
  await corp.goAway()
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { cooldown: 20 } })])
  await verifier.fetchedSo('corp unreachable')
  await corp.comeBack()
  await verifier.fetchedSo('corp fetched')
  const { length } = corp.asked
  t.equal(await verifier.outcome(await corp.token('alice')), 'corp|alice')
  t.equal(corp.asked.length, length)
})

await t.test('with keys on disk', async (t) => {
  const folder = join(t.testdir(), 'issuer-keys')
  const corp = await startOidcServer(t)
  const config = trusting({ issuer: corp.url, keys: { staleFor: 8 * hour } })
  const good = await corp.token('alice', { exp: Math.floor(Date.now() / 1000) + 86_400 })
  const file = join(folder, 'corp.json')
  const first = await openTrustingVerifier(t, [config], { folder })
  await first.verify(good)
  await first.close()
  await corp.goAway()
  const written = readFileSync(file, 'utf8')

  await t.test('a restart during the outage works', async (t) => {
    const second = await openTrustingVerifier(t, [config], { folder })
    t.equal(await second.outcome(good), 'corp|alice')
  })

  await t.test('the file is for its owner alone, and holds nothing but public members', async (t) => {
    t.equal(statSync(file).mode & 0o777, 0o600)
    t.equal(statSync(folder).mode & 0o777, 0o700)
    t.strictSame(readdirSync(folder), ['corp.json'], 'no draft is left')
    const { keys } = JSON.parse(written) as { keys: Record<string, unknown>[] }
    t.strictSame(keys.map((key) => Object.keys(key).sort()), [['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']])
  })

  await t.test('a restart makes no key younger', async (t) => {
    const late = await openTrustingVerifier(t, [config], { folder })
    late.later(8 * hour + 1)
    t.equal(await late.outcome(good), 'GW_KEYS_UNAVAILABLE')
    const { fetchedAt, mac: _, ...rest } = JSON.parse(written) as { fetchedAt: number, mac: string }
    t.ok(fetchedAt <= Date.now())
    writeFileSync(file, JSON.stringify({ ...rest, fetchedAt: fetchedAt + 8 * hour, mac: 'x' }))
    const rewritten = await openTrustingVerifier(t, [config], { folder })
    t.equal(await rewritten.outcome(good), 'GW_KEYS_UNAVAILABLE')
  })

  await t.test('a key that somebody put there is none', async (t) => {
    const mallory = await startOidcServer(t)
    const kept = JSON.parse(written) as { keys: unknown[], mac: string }
    const [planted] = mallory.issuer.keys.toJSON()
    const forged = await mallory.token('root', { iss: corp.url })
    for (const text of [
      JSON.stringify({ ...kept, keys: [planted] }),
      JSON.stringify({ ...kept, keys: [...kept.keys, planted] }),
      JSON.stringify({ ...kept, keys: [planted], mac: '' }),
      JSON.stringify({ ...kept, keys: [planted], mac: undefined }),
      written.replace('"keys":[', `"keys":[${JSON.stringify(planted)}],"keys":[`),
      written.slice(0, -20),
      '',
      'null',
      '[]',
    ]) {
      writeFileSync(file, text)
      const verifier = await openTrustingVerifier(t, [config], { folder })
      t.equal(await verifier.outcome(forged), 'GW_KEYS_UNAVAILABLE')
      t.equal(await verifier.outcome(good), 'GW_KEYS_UNAVAILABLE')
      t.match(verifier.log[0] ?? '', 'not as they were written')
    }
  })

  await t.test('the file of one issuer is no other’s, and keys from elsewhere are not those of jwksUri', async (t) => {
    writeFileSync(file, written)
    const moved = await openTrustingVerifier(t, [trusting({ issuer: corp.url, jwksUri: `${corp.url}/other` })], { folder })
    t.equal(await moved.outcome(good), 'GW_KEYS_UNAVAILABLE')
    const other = await startOidcServer(t)
    await other.goAway()
    const renamed = await openTrustingVerifier(t, [trusting({ issuer: other.url })], { folder })
    t.equal(await renamed.outcome(await corp.token('alice', { iss: other.url })), 'GW_KEYS_UNAVAILABLE')
  })

  await t.test('algorithms that are not taken any more are not taken from the disk', async (t) => {
    writeFileSync(file, written)
    const strict = await openTrustingVerifier(t, [{ ...config, algorithms: ['RS256'] }], { folder })
    t.not(await strict.outcome(good), 'corp|alice')
  })
})
