/** An independent library as an oracle: what we sign it verifies by the published keys alone, and what it signs we verify. */
import { generateKeyPairSync } from 'node:crypto'
import { createLocalJWKSet, importPKCS8, jwtVerify, SignJWT } from 'jose'
import t from 'tap'
import { algorithms } from '../../src/config/schema.ts'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import { asymmetricAlgorithm } from '../../src/tokens/algorithms.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { audience, goodClaims, issuer, keyRingOf, makeKey, someTime } from '../helpers/tokens.ts'

for (const algorithm of algorithms) {
  await t.test(`${algorithm}: jose verifies our tokens`, async (t) => {
    const key = await makeKey(algorithm, 'gateway')
    const mint = createAccessTokenMint({ keyRing: keyRingOf(key), issuer, audience, lifetime: 300_000, now: () => someTime })
    const { token } = mint({ subject: 'user-1', sessionId: 's', clientId: 'app', roles: ['a'], scopes: [], claims: {} })
    const options = { algorithms: [algorithm], issuer, audience, typ: 'at+jwt', requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti', 'sid', 'client_id'], currentDate: new Date(someTime) }
    const { payload } = key.publicJwk === null
      ? await jwtVerify(token, Buffer.from(key.verifying.key), options)
      : await jwtVerify(token, createLocalJWKSet({ keys: [{ ...key.publicJwk }] }), options)
    t.match(payload, { sub: 'user-1', roles: ['a'] })
  })

  await t.test(`${algorithm}: we verify the tokens that jose makes with a key that was brought in`, async (t) => {
    const key = await makeKey(algorithm)
    const verify = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 0, now: () => someTime })
    const signingKey = asymmetricAlgorithm(algorithm) === undefined ? Buffer.from(key.signing.key) : await importPKCS8(String(key.signing.key), algorithm)
    for (let round = 0; round < 8; round++) {
      const token = await new SignJWT(goodClaims(someTime)).setProtectedHeader({ alg: algorithm, typ: 'at+jwt', kid: key.signing.kid }).sign(signingKey)
      t.equal(verify(token).subject, 'user-1')
    }
  })
}

await t.test('jose takes no token of another key under our kid either', async (t) => {
  const key = await makeKey('ES256')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const token = await new SignJWT(goodClaims(someTime)).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: key.signing.kid }).sign(privateKey)
  const verify = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 0, now: () => someTime })
  t.throws(() => verify(token), { code: 'GW_TOKEN_INVALID' })
})
