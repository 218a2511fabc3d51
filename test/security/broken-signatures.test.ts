/**
 * CVE-2022-21449 took r = s = 0 for a signature of anything; s + L passes a careless Ed25519; DER and r ‖ s are two forms of
 * one ECDSA signature; PKCS #1 and PSS are two paddings of one RSA key; a comparison that stops early takes half an HMAC.
 */
import t from 'tap'
import { refusesAll } from '../helpers/refuses.ts'
import { brokenSignatures } from '../../src/attack/forged-tokens.ts'

await t.test('refuses every signature that is not exactly the one', async (t) => {
  await refusesAll(t, brokenSignatures)
})
