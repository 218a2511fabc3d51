/**
 * fast-jwt holds `allowedIss` and `allowedAud` against a claim only where the claim is present (nearform/fast-jwt#182), and a
 * token without `exp` never expires: who leaves the claim out passes the check. Every claim that is constrained is required.
 */
import t from 'tap'
import { refusesAll } from '../helpers/refuses.ts'
import { missingClaims } from '../../src/attack/forged-tokens.ts'

await t.test('refuses a token without any one of the claims that it is judged by', async (t) => {
  await refusesAll(t, missingClaims)
})
