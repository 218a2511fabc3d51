/**
 * CVE-2018-0114: a token may carry the very key to check it with (`jwk`, `x5c`) or say where to fetch it (`jku`, `x5u`), and
 * libraries did. The attacker signs with a key of their own and sends it along; or has the gateway fetch an address inside.
 * Our header has alg, typ and kid, and anything else refuses the token: nothing is fetched, nothing is believed.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { headersThatBringKeys } from '../../src/attack/forged-tokens.ts'

await t.test('refuses a key that comes with the token, whoever signed it', async (t) => {
  await refusesAll(t, headersThatBringKeys, oneOfAKind)
})
