/**
 * Anybody can write a token with a kid that nobody has seen. If each had the issuer's keys fetched, the gateway would be an
 * amplifier pointed at the issuer, and its own requests would queue behind the fetches (get-jwks 11.0.3: 30 kids, 30 fetches).
 * One fetch a cool-down, shared by all who wait, and a bound on those; tokens of known keys never wait.
 */
import t from 'tap'
import { startOidcServer } from '../helpers/oidc-server.ts'
import { openTrustingVerifier, trusting } from '../helpers/trusting-verifier.ts'

await t.test('many unknown kids cost one fetch a cool-down, and get the 401 of every bad token', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url })])
  t.equal(await verifier.outcome(await corp.token('alice')), 'corp|alice')
  t.equal(corp.keyFetches(), 1)
  const flood = await Promise.all(Array.from({ length: 60 }, (_, index) => corp.token('mallory', {}, { kid: `unknown-${index}` })))
  const outcomes = await Promise.all(flood.map((token) => verifier.outcome(token)))
  t.ok(outcomes.every((outcome) => outcome === 'GW_TOKEN_INVALID'))
  t.equal(corp.keyFetches(), 2, 'all of them shared one')
  for (const token of flood) t.equal(await verifier.outcome(token), 'GW_TOKEN_INVALID')
  t.equal(corp.keyFetches(), 2, 'and there is no further one within the cool-down')
  verifier.later(30_001)
  for (const token of flood) await verifier.outcome(token)
  t.equal(corp.keyFetches(), 3)
  t.equal(await verifier.outcome(await corp.token('alice')), 'corp|alice')
})

await t.test('a token that would be refused whatever its key has nothing fetched', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url })])
  await verifier.outcome(await corp.token('alice'))
  const kid = { kid: 'unknown' }
  const now = Math.floor(Date.now() / 1000)
  for (const token of [
    await corp.token('mallory', { aud: 'other' }, kid),
    await corp.token('mallory', { nonce: 'x' }, kid),
    await corp.token('mallory', { iat: now - 600, exp: now - 300 }, kid),
    await corp.token('mallory', {}, { ...kid, typ: 'logout+jwt' }),
    await corp.token('mallory', {}, { ...kid, jku: 'https://mallory.example/jwks' }),
    await corp.token('mallory', { iss: 'https://mallory.example' }, kid),
  ]) t.equal(await verifier.outcome(token), 'GW_TOKEN_INVALID')
  t.equal(corp.keyFetches(), 1)
})

await t.test('while a fetch hangs, tokens of known keys are verified at once, and the number of those who wait is bounded', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { timeout: 400 } })])
  const good = await corp.token('alice')
  await verifier.verify(good)
  const fresh = await corp.token('bob')
  corp.misbehave(() => {})
  const unknown = await corp.token('mallory', {}, { kid: 'unknown' })
  let hanging = true
  const waiting = Promise.all(Array.from({ length: 1_000 }, () => verifier.outcome(unknown))).finally(() => { hanging = false })
  t.equal(await verifier.outcome(good), 'corp|alice')
  t.equal(await verifier.outcome(fresh), 'corp|bob')
  t.equal(await verifier.outcome(unknown), 'GW_KEYS_UNAVAILABLE', 'one more than may wait is answered at once')
  t.ok(hanging)
  t.strictSame(new Set(await waiting), new Set(['GW_KEYS_UNAVAILABLE']), 'and the others when the fetch has failed')
})
