/**
 * A cache of verified tokens is a second place where a token is believed. fast-jwt before 6.3.6 served a token without `iat`
 * for ten minutes past its `exp`, and one whose time threw a RangeError came back as a payload. Ours asks the clock, the key
 * ring's listener and the ended sessions on every hit: an entry never grants more than a fresh check would.
 */
import t from 'tap'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { audience, issuer, keyRingOf, makeKey, someTime, validToken } from '../helpers/tokens.ts'

const tolerance = 2_000
const key = await makeKey('ES256')
const other = await makeKey('ES256')

function world () {
  const keyRing = keyRingOf(key, other)
  const clock = { time: someTime }
  const verify = createVerifier({ keyRing, issuer, audience, clockTolerance: tolerance, now: () => clock.time })
  const cache = createVerifierCache(verify, { size: 100, clockTolerance: tolerance, isEnded: () => false, now: () => clock.time })
  return { keyRing, clock, verify, cache }
}

await t.test('a remembered token expires at the same millisecond as one that is checked', async (t) => {
  const { clock, cache, verify } = world()
  const token = validToken(key.signing, someTime)
  cache.verify(token)
  for (const ahead of [0, 299_999, 300_000, 301_999, 302_000, 302_001, 10_000_000]) {
    clock.time = someTime + ahead
    const outcome = (check: (token: string) => unknown): string => {
      try {
        check(token)
        return 'accepted'
      } catch (error) {
        return String((error as { code: string }).code)
      }
    }
    t.equal(outcome(cache.verify), outcome(verify), `${ahead} ms later`)
    t.equal(outcome(cache.verify), ahead < 302_000 ? 'accepted' : 'GW_TOKEN_EXPIRED')
  }
})

await t.test('a token of a key that was taken away is refused once the ring has said so', async (t) => {
  const { keyRing, cache } = world()
  const token = validToken(other.signing, someTime)
  const kept = validToken(key.signing, someTime)
  cache.verify(token)
  cache.verify(kept)
  keyRing.remove(other.signing.kid)
  cache.clear()
  t.throws(() => cache.verify(token), { code: 'GW_TOKEN_INVALID' })
  t.ok(cache.verify(kept))
})

await t.test('an expired token is never remembered as good, nor as bad', async (t) => {
  const { clock, cache } = world()
  const token = validToken(key.signing, someTime)
  clock.time = someTime + 400_000
  t.throws(() => cache.verify(token), { code: 'GW_TOKEN_EXPIRED' })
  t.equal(cache.stats().size, 0)
  t.throws(() => cache.verify(token), { code: 'GW_TOKEN_EXPIRED' })
})

await t.test('nobody can change what is remembered', async (t) => {
  const { cache } = world()
  const token = validToken(key.signing, someTime, { roles: ['reader'], nested: { list: [1] } })
  const identity = cache.verify(token) as unknown as { subject: string, roles: string[], claims: { sub: string, roles: string[], nested: { list: number[] } } }
  t.throws(() => identity.roles.push('admin'), TypeError)
  t.throws(() => { identity.subject = 'admin' }, TypeError)
  t.throws(() => { identity.claims.sub = 'admin' }, TypeError)
  t.throws(() => identity.claims.roles.push('admin'), TypeError)
  t.throws(() => identity.claims.nested.list.push(2), TypeError)
  t.strictSame(cache.verify(token).roles, ['reader'])
})
