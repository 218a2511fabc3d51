/**
 * A compact JWS has three parts, none of them empty. JWE has five, JSON serialization has braces, and CVE-2020-28042's kind
 * takes an absent signature for a good one. A token is also bounded in length, before anything in it is decoded.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { otherShapes } from '../../src/attack/forged-tokens.ts'

await t.test('refuses anything that is not exactly three parts of a bounded length', async (t) => {
  await refusesAll(t, otherShapes, oneOfAKind)
})
