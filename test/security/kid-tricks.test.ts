/**
 * The kid is the one thing of a token that is used before its signature is checked: as a file name (`/dev/null` is an empty
 * secret), in a query, as a member of a plain object (`constructor` is always there), or as an array that turns into the right
 * text by itself. Here it is text that is looked up in a Map, and all of these are signed with the live key.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { kidTricks } from '../../src/attack/forged-tokens.ts'

await t.test('refuses every kid but the very text of a key it has', async (t) => {
  await refusesAll(t, kidTricks, oneOfAKind)
})
