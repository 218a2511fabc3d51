/**
 * RFC 8725 §3.8–3.9: staging and production that share a key, or two APIs of one issuer. Signature and kid are right, and the
 * token is for somebody else. Comparison by prefix, by pattern or by "one of the list" is how it gets in nevertheless.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { otherIssuersAndAudiences } from '../../src/attack/forged-tokens.ts'

await t.test('refuses every issuer and audience but its own, as the very same text', async (t) => {
  await refusesAll(t, otherIssuersAndAudiences, oneOfAKind)
})
