import t from 'tap'
import { isName, readOwnClaims } from '../../src/tokens/own-claims.ts'
import { audience, goodClaims, issuer, someTime } from '../helpers/tokens.ts'

const read = (changes: Record<string, unknown>) => readOwnClaims(goodClaims(someTime, changes), { issuer, audience })

await t.test('gives the identity, and the times to be judged', async (t) => {
  const seconds = someTime / 1000
  const { identity, issuedAt, notBefore } = read({ nbf: seconds, scope: ' a  b ' })
  t.match(identity, { subject: 'user-1', issuer, sessionId: 'session-1', expiresAt: seconds + 300, roles: ['reader'], scopes: ['a', 'b'] })
  t.strictSame([issuedAt, notBefore], [seconds, seconds])
  t.equal(read({}).notBefore, null)
})

await t.test('names the claim that is wrong', async (t) => {
  const seconds = someTime / 1000
  const cases: [Record<string, unknown>, string][] = [
    [{ iss: 'https://other.test' }, 'iss is another issuer'], [{ iss: [issuer] }, 'iss is another issuer'], [{ aud: 'other' }, 'aud is another audience'], [{ aud: [audience] }, 'aud is another audience'],
    [{ sub: 7 }, 'sub is no usable text'], [{ sub: 'a\r\nb' }, 'sub is no usable text'], [{ sid: '' }, 'sid is no usable text'], [{ jti: 7 }, 'jti is no usable text'], [{ client_id: [] }, 'client_id is no usable text'],
    [{ exp: String(seconds) }, 'exp is no time in whole seconds'], [{ exp: 0 }, 'exp is no time in whole seconds'], [{ iat: 1.5 }, 'iat is no time in whole seconds'], [{ iat: Infinity }, 'iat is no time in whole seconds'], [{ nbf: null }, 'nbf is no time in whole seconds'],
    [{ exp: seconds * 1000 }, 'exp is too far from iat'], [{ iat: 1 }, 'exp is too far from iat'], [{ roles: 'admin' }, 'roles is no list of text'], [{ roles: [1] }, 'roles is no list of text'], [{ scope: ['a'] }, 'scope is no text'], [{ scope: null }, 'scope is no text'],
  ]
  for (const [changes, reason] of cases) t.throws(() => read(changes), { code: 'GW_TOKEN_INVALID', details: { reason }, forGood: true }, JSON.stringify(changes))
})

await t.test('asks for each claim that it needs as a member of its own', async (t) => {
  for (const name of ['iss', 'sub', 'aud', 'exp', 'iat', 'sid']) {
    const { [name]: value, ...rest } = goodClaims(someTime)
    t.throws(() => readOwnClaims(rest, { issuer, audience }), { code: 'GW_TOKEN_INVALID', details: { reason: `${name} is absent` } })
    t.throws(() => readOwnClaims(Object.assign(Object.create({ [name]: value }) as Record<string, unknown>, rest), { issuer, audience }), { code: 'GW_TOKEN_INVALID', details: { reason: `${name} is absent` } }, 'inherited is absent')
  }
})

await t.test('knows what may be a name', async (t) => {
  for (const name of ['a', 'user-1', 'Zoë', '名前', '🔑', 'a b', 'x'.repeat(512), 'corp|1', '../x']) t.ok(isName(name), name)
  for (const name of ['', '\u0000', 'a\tb', 'a\r', '\u007f', '\u009f', '\u2028', '\u2029', '\ud800', 'x\udfff', 'x'.repeat(513), null, undefined, 1, [], ['a']]) t.notOk(isName(name))
})
