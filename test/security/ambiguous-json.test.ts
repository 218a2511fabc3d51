/**
 * Of two members with one name JSON.parse believes the last, others the first: a gateway and an upstream that read one token
 * may see two users. Bytes that are no UTF-8 turn into the same replacement for everybody; a BOM is dropped by some. Nesting
 * without end is for whoever walks the claims recursively. All of it is signed with the live key here, and refused.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { ambiguousJson, payloadsThatAreNoObjects } from '../../src/attack/forged-tokens.ts'

await t.test('refuses JSON that can be read in two ways, or not at all', async (t) => {
  await refusesAll(t, ambiguousJson, oneOfAKind)
})

await t.test('refuses a payload that is no object', async (t) => {
  await refusesAll(t, payloadsThatAreNoObjects, oneOfAKind)
})
