/**
 * ECDSA signs with (r, s), and (r, n − s) verifies as well: whoever holds a token can write it in a second way without any key.
 * What goes by the text of a token (a deny list, a cache) then has a twin that it does not know. Our mint always writes the
 * lower s, and for keys that nobody else signs with the other one is refused. A key that was brought in from outside may sign
 * elsewhere, by libraries that take either: there both are taken, and both prove the same session, which is what is revoked.
 */
import t from 'tap'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { audience, issuer, keyRingOf, makeKey, someTime } from '../helpers/tokens.ts'
import { otherSpellingOfSignature } from '../../src/attack/forged-tokens.ts'

const request = { subject: 'user-1', sessionId: 'session-1', clientId: 'gatewarden', roles: [], scopes: [], claims: {} }

for (const algorithm of ['ES256', 'ES384', 'ES512'] as const) {
  await t.test(`${algorithm}: the twin of a token is refused where only the gateway signs`, async (t) => {
    const keyRing = keyRingOf(await makeKey(algorithm, 'gateway'))
    const mint = createAccessTokenMint({ keyRing, issuer, audience, lifetime: 300_000, now: () => someTime })
    const verify = createVerifier({ keyRing, issuer, audience, clockTolerance: 0, now: () => someTime })
    for (let round = 0; round < 20; round++) {
      const { token } = mint(request)
      verify(token)
      t.throws(() => verify(otherSpellingOfSignature(token, algorithm)), { code: 'GW_TOKEN_INVALID', details: { reason: 'signature in its other spelling' } })
    }
  })

  await t.test(`${algorithm}: the twin is the same session where others sign too, in the cache as well`, async (t) => {
    const keyRing = keyRingOf(await makeKey(algorithm, 'others-too'))
    const mint = createAccessTokenMint({ keyRing, issuer, audience, lifetime: 300_000, now: () => someTime })
    const ended = new Set<string>()
    const cache = createVerifierCache(createVerifier({ keyRing, issuer, audience, clockTolerance: 0, now: () => someTime }), { size: 10, clockTolerance: 0, isEnded: (id) => ended.has(id), now: () => someTime })
    const { token } = mint(request)
    const twin = otherSpellingOfSignature(token, algorithm)
    t.not(twin, token)
    t.equal(otherSpellingOfSignature(twin, algorithm), token)
    t.strictSame(cache.verify(twin), cache.verify(token))
    ended.add('session-1')
    for (const spelling of [token, twin]) t.throws(() => cache.verify(spelling), { code: 'GW_SESSION_ENDED' })
  })
}
