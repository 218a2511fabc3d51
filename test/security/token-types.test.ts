/**
 * RFC 8725 §3.11–3.12: one issuer signs tokens for many purposes with the same key. An id token tells a client who has logged
 * in, and is no permission to call an API; nor is a logout token, a proof of possession or a refresh token.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { otherTypes, tokensOfAnotherKind } from '../../src/attack/forged-tokens.ts'

await t.test('refuses every typ but at+jwt, written just so', async (t) => {
  await refusesAll(t, otherTypes, oneOfAKind)
})

await t.test('refuses id tokens, refresh tokens, assertions and proofs in place of an access token', async (t) => {
  await refusesAll(t, tokensOfAnotherKind, oneOfAKind)
})
