/**
 * A subject of CR and LF splits a header, one that is an array turns into text by itself, roles that are text match by
 * substring (`"admin"` includes "min"). fast-jwt 6.3.6 passes any of them. Types are checked before anything is believed.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { wronglyTypedClaims } from '../../src/attack/forged-tokens.ts'

await t.test('refuses claims of another type and text that headers and logs break on', async (t) => {
  await refusesAll(t, wronglyTypedClaims, oneOfAKind)
})
