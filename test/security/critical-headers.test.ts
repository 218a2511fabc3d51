/**
 * RFC 7515 §4.1.11: a token may name extensions that must be understood (`crit`), and RFC 7797 lets it leave its payload
 * unencoded (`b64`). Who ignores either reads another token than the one that was signed (CVE-2026-35042; fast-jwt 6.3.6 still
 * passes crit of null, false, 0 and ""). We understand none, so none may be there, in whatever form.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { headersThatChangeTheReading } from '../../src/attack/forged-tokens.ts'

await t.test('refuses crit, b64, zip, cty and every other parameter of a header', async (t) => {
  await refusesAll(t, headersThatChangeTheReading, oneOfAKind)
})
