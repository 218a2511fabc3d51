/**
 * Every known way to twist a token, once more: signed by the live key of a trusted issuer. What its tokens may be and ours may
 * not (a list of audiences, no session, `typ: JWT`, either s of ECDSA) is named here; all else is refused as of ours.
 */
import { createPrivateKey } from 'node:crypto'
import t from 'tap'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createKeyKeeper } from '../../src/tokens/issuer-key-keeper.ts'
import { openTrustedIssuers } from '../../src/tokens/trusted-issuers.ts'
import { audience, forge, goodClaims, goodHeader, issuer, keyOf, keyRingOf, makeKey, someTime } from '../helpers/tokens.ts'
import { macKey, trusting } from '../helpers/trusting-verifier.ts'
import { twistedTokens } from '../../src/attack/forged-tokens.ts'

/** An `aud` that holds ours, scopes as a list, a type of an access token, the hint of a certificate, a session that is not ours to judge. */
const allowed = /^(?:aud \[.*"api".*\]|typ "(?:jwt|at\+jwt|application\/at\+jwt)"|x5t(?:#S256)? "AAAA", signed with the live key|scope \[.*\]|(?:no )?sid\b[^]*|a token without a session)$/i
/** Told apart from an access token by a `typ` of `JWT` alone, which here is none's mark. */
const expiredAsWell = 'expired and an id token'

for (const algorithm of ['ES256', 'RS256'] as const) {
  await t.test(algorithm, async (t) => {
    // The issuer whose tokens the corpus twists is the other one here; the gateway has a name and a key of its own.
    const foreign = await makeKey(algorithm)
    const pen = foreign.signing
    const trusted = await openTrustedIssuers({
      trustedIssuers: [trusting({ issuer, audience, algorithms: [algorithm] })],
      clockTolerance: 2_000,
      fetchDocument: async (url) => ({ bytes: Buffer.from(JSON.stringify(url.pathname.endsWith('/jwks') ? { keys: [foreign.publicJwk] } : { issuer, jwks_uri: `${issuer}/jwks` })) }),
      keeper: createKeyKeeper({ folder: null, macKey, warn () {} }),
      now: () => someTime,
      log: { info () {}, warn () {} },
    })
    t.teardown(trusted.close)
    const own = await keyOf(createPrivateKey((await makeKey('ES256')).signing.key), 'ES256')
    const verify = createVerifier({ keyRing: keyRingOf(own), issuer: 'https://own.test', audience: 'own', clockTolerance: 2_000, now: () => someTime, foreignReader: trusted.readerOf })
    const good = forge(pen, goodHeader(pen), goodClaims(someTime))
    try {
      verify(good)
    } catch (error) {
      await (error as { details: { settled: Promise<void> } }).details.settled
    }
    t.equal(verify(good).subject, 'corp|user-1')
    const wrong: string[] = []
    let taken = 0
    for (const { name, token, code } of twistedTokens({ pen, publicJwk: foreign.publicJwk, claims: goodClaims(someTime), nowSeconds: someTime / 1000 })) {
      try {
        verify(token)
        if (allowed.test(name)) taken++
        else wrong.push(`${name}: accepted`)
      } catch (error) {
        const found = (error as { code?: unknown }).code
        if (found !== (name === expiredAsWell ? 'GW_TOKEN_EXPIRED' : code)) wrong.push(`${name}: ${String(found)}`)
      }
    }
    t.strictSame(wrong, [])
    t.ok(taken > 20, 'what is allowed is')
  })
}
