/**
 * The whole corpus at once: that no two cases are one, that each is refused in the same way (who sends it learns nothing of
 * what was wrong), that none is refused by an accident of how it was made, and that none of it is slow or leaves a trace.
 */
import { createVerifier as createFastJwtVerifier } from 'fast-jwt'
import t from 'tap'
import { liveTarget } from '../helpers/refuses.ts'
import { audience, issuer, someTime, validToken } from '../helpers/tokens.ts'
import { twistedTokens } from '../../src/attack/forged-tokens.ts'
import { createPublicKey } from 'node:crypto'

const { target, verify } = await liveTarget('ES256')
const cases = twistedTokens(target)

await t.test('holds more than a thousand cases, no two alike', async (t) => {
  t.ok(cases.length > 1000, `${cases.length} cases`)
  t.equal(new Set(cases.map(({ name }) => name)).size, cases.length)
  t.equal(new Set(cases.map(({ token }) => token)).size, cases.length)
})

await t.test('bites: a library alone, with every option it has, takes hundreds of them', async (t) => {
  const library = createFastJwtVerifier({
    key: String(createPublicKey(target.pen.key).export({ type: 'spki', format: 'pem' })),
    algorithms: ['ES256'],
    allowedIss: issuer,
    allowedAud: audience,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'sid'],
    checkTyp: 'at+jwt',
    clockTimestamp: someTime,
    cache: false,
  })
  const taken = cases.filter(({ token }) => {
    try {
      library(token)
      return true
    } catch {
      return false
    }
  })
  t.ok(taken.length > 300, `${taken.length} of ${cases.length}`)
})

await t.test('is refused with one answer: the same status, code and sentence for every case', async (t) => {
  const answers = new Map<string, number>()
  for (const { token, code } of cases) {
    if (code !== 'GW_TOKEN_INVALID') continue
    try {
      verify(token)
      t.fail('accepted')
    } catch (error) {
      const { statusCode, code, error: word, message } = error as Error & Record<string, unknown>
      const answer = JSON.stringify({ statusCode, code, word, message })
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
    }
  }
  t.equal(answers.size, 1)
})

await t.test('leaves no mark: prototypes are clean and the good token is still good', async (t) => {
  const before = Object.getOwnPropertyNames(Object.prototype)
  for (const { token } of cases) { try { verify(token) } catch {} }
  t.strictSame(Object.getOwnPropertyNames(Object.prototype), before)
  t.notOk('roles' in {})
  t.ok(verify(validToken(target.pen, someTime)))
})

await t.test('is cheap: a megabyte of anything costs no more than a look at its length', async (t) => {
  const huge = cases.filter(({ token }) => token.length > 100_000)
  t.ok(huge.length >= 2)
  const start = process.hrtime.bigint()
  for (let round = 0; round < 1000; round++) for (const { token } of huge) { try { verify(token) } catch {} }
  const each = Number(process.hrtime.bigint() - start) / 1000 / huge.length
  t.ok(each < 100_000, `${Math.round(each)} ns each`)
})
