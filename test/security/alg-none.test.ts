/**
 * "none" is a registered algorithm (RFC 7518 §3.6), and for years libraries took a token that named it for one that had been
 * checked: CVE-2015-2951, and again by "None", "nOnE" or an empty name (CVE-2022-23540). Others read the algorithm from the
 * token at all and verified with whatever it named. Here the key says how its tokens are signed, and the token may only agree.
 */
import t from 'tap'
import { refusesAll } from '../helpers/refuses.ts'
import { otherAlgorithms, unsignedTokens } from '../../src/attack/forged-tokens.ts'

await t.test('refuses "none" in every spelling, unsigned, signed well and signed badly', async (t) => {
  await refusesAll(t, unsignedTokens)
})

await t.test('refuses the name of any other algorithm, even above a good signature', async (t) => {
  await refusesAll(t, otherAlgorithms)
})
