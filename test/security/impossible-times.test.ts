/**
 * `exp: 1e400` is Infinity once parsed and never passes; a time in milliseconds is fifty thousand years away; `nbf: 1e400` made
 * fast-jwt throw a bare RangeError, and before 6.3.6 its cache then returned that error as a payload. Times are whole seconds,
 * positive, and no further apart than a year.
 */
import t from 'tap'
import { oneOfAKind, refusesAll } from '../helpers/refuses.ts'
import { expiredTokens, impossibleTimes } from '../../src/attack/forged-tokens.ts'

await t.test('refuses times that are none, that never come, or that have not come yet', async (t) => {
  await refusesAll(t, impossibleTimes, oneOfAKind)
})

await t.test('says "expired" of good tokens alone: integrity is checked first', async (t) => {
  await refusesAll(t, expiredTokens)
})
