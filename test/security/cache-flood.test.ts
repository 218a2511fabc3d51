/**
 * fast-jwt's cache keeps bad tokens among the good: ten forgeries empty a cache of ten, and every honest request is checked
 * anew. Others keep them without bound. Here good and bad live apart, each bound by number and by bytes, and a token that is
 * longer than any may be is kept nowhere.
 */
import t from 'tap'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { badForGood, BadToken } from '../../src/tokens/bad-token.ts'
import type { Verify } from '../../src/tokens/identity.ts'
import { audience, issuer, keyRingOf, makeKey, someTime, validToken } from '../helpers/tokens.ts'

const key = await makeKey('ES256')

/** Quieter than an assertion each: there are thousands. */
function refused (verify: Verify, token: string): void {
  try {
    verify(token)
  } catch (error) {
    if (error instanceof BadToken && error.code === 'GW_TOKEN_INVALID') return
    throw error
  }
  throw new Error('accepted')
}

await t.test('a flood of distinct bad tokens pushes out not one good token', async (t) => {
  let checks = 0
  const verifier = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 0, now: () => someTime })
  const counted: Verify = (token) => {
    checks++
    return verifier(token)
  }
  const cache = createVerifierCache(counted, { size: 10, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  const good = Array.from({ length: 10 }, (_, place) => validToken(key.signing, someTime, { sub: `user-${place}` }))
  for (const token of good) cache.verify(token)
  const [one = ''] = good
  const [header = '', payload = ''] = one.split('.')
  const bad: ((place: number) => string)[] = [
    (place) => `${header}.${payload}.${Buffer.alloc(64, `signature ${place}`).toString('base64url')}`,
    (place) => `${header}.${Buffer.from(JSON.stringify({ sub: place })).toString('base64url')}.${'A'.repeat(86)}`,
    (place) => `garbage ${place}`,
    (place) => `${'A'.repeat(8_000)}${place}`,
    (place) => `${'A'.repeat(10_000)}${place}`,
  ]
  for (let place = 0; place < 2_000; place++) {
    for (const make of bad) refused(cache.verify, make(place))
  }
  checks = 0
  for (const token of good) cache.verify(token)
  t.equal(checks, 0)
})

await t.test('a flood of distinct valid tokens is bounded and each answer is right', async (t) => {
  const verify = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 0, now: () => someTime })
  const cache = createVerifierCache(verify, { size: 50, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  for (let place = 0; place < 300; place++) t.equal(cache.verify(validToken(key.signing, someTime, { sub: `user-${place}` })).subject, `user-${place}`)
  t.equal(cache.stats().size, 50)
})

await t.test('bad tokens are bound by bytes: of the longest that there are, few are kept', async (t) => {
  let checks = 0
  const cache = createVerifierCache(() => {
    checks++
    throw badForGood('for this test')
  }, { size: 100_000, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  const long = (place: number): string => String(place).padStart(8_192, 'x')
  const count = 1_000
  for (let place = 0; place < count; place++) refused(cache.verify, long(place))
  checks = 0
  // Newest first: the look itself must not push out what is looked for.
  for (let place = count - 1; place >= 0; place--) refused(cache.verify, long(place))
  const kept = count - checks
  t.ok(kept > 100 && kept * 8_192 < 4 * 1024 * 1024, `${kept} are kept`)
  checks = 0
  t.throws(() => cache.verify('x'.repeat(8_193)))
  t.throws(() => cache.verify('x'.repeat(8_193)))
  t.equal(checks, 2, 'and none that is longer')
})

await t.test('a bad token that is repeated is checked once', async (t) => {
  let checks = 0
  const verifier = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 0, now: () => someTime })
  const cache = createVerifierCache((token) => {
    checks++
    return verifier(token)
  }, { size: 10, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  const forged = validToken({ ...(await makeKey('ES256')).signing, kid: key.signing.kid }, someTime)
  for (let round = 0; round < 100; round++) refused(cache.verify, forged)
  t.equal(checks, 1)
  t.strictSame(cache.stats(), { hits: 0, misses: 100, refused: 100, size: 0 })
})
