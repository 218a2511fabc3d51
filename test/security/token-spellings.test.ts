/**
 * Decoders of base64 skip white space, padding and foreign letters, and drop the bits behind the last byte: one signature, many
 * tokens. A list of refused tokens, a cache or a log that goes by the text is then passed by writing it another way (Wycheproof
 * JWS 367, 370, 375; fast-jwt 6.3.6 takes the twins in the last character, jose 6.2 takes white space). One spelling is taken.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { otherSpellings } from '../../src/attack/forged-tokens.ts'

await t.test('refuses every other spelling of a good token', async (t) => {
  await refusesAll(t, otherSpellings, oneOfAKind)
})
