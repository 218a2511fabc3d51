/** The reading alone, with nothing behind it that might refuse the same token by luck. */
import t from 'tap'
import { readStrictJwt } from '../../src/tokens/strict-jwt.ts'
import { forge, goodClaims, goodHeader, keyRingOf, makeKey, segment, signSegments, someTime } from '../helpers/tokens.ts'

const key = await makeKey('ES256')
const pen = key.signing
const { verifyingKey } = keyRingOf(key)
const header = goodHeader(pen)
const claims = goodClaims(someTime)
const good = forge(pen, header, claims)
const [h = '', p = '', s = ''] = good.split('.')

await t.test('gives key, payload and signature, and believes none of it yet', async (t) => {
  const { key: found, payload, signature } = readStrictJwt(good, verifyingKey)
  t.equal(found, key.verifying)
  t.strictSame(payload, claims)
  t.equal(signature.toString('base64url'), s)
  t.ok(readStrictJwt(`${h}.${p}.AAAA`, verifyingKey), 'a wrong signature is not its matter')
})

await t.test('names the rule that a token breaks, and whether it will break it for good', async (t) => {
  const { kid: _k, ...noKid } = header
  const { alg: _a, ...noAlg } = header
  const cases: [unknown, string, boolean][] = [
    [undefined, 'not a string', false],
    [Buffer.from(good), 'not a string', false],
    [good + 'A'.repeat(8192), 'longer than a token may be', false],
    ['', 'not three parts', true],
    [h, 'not three parts', true],
    [`${h}.${p}`, 'not three parts', true],
    [`${good}.`, 'not three parts', true],
    [`${good}.${p}.${s}`, 'not three parts', true],
    [`.${p}.${s}`, 'header: empty', true],
    [`${h}..${s}`, 'payload: empty', true],
    [`${h}.${p}.`, 'signature: empty', true],
    [`${h}=.${p}.${s}`, 'header: not canonical base64url', true],
    [`${h}.${p} .${s}`, 'payload: not canonical base64url', true],
    [`${h}.${p}.${s}\n`, 'signature: not canonical base64url', true],
    [`${segment('x')}.${p}.${s}`, 'header: not JSON', true],
    [`${segment(Buffer.of(0xff))}.${p}.${s}`, 'header: not UTF-8', true],
    [forge(pen, '[]', claims), 'header: not an object', true],
    [forge(pen, 'null', claims), 'header: not an object', true],
    [forge(pen, '{"alg":1,"alg":2}', claims), 'header: a member twice', true],
    [forge(pen, { ...header, crit: null }, claims), 'a header parameter that our tokens do not have', true],
    [forge(pen, { ...header, typ: 'JWT' }, claims), 'typ is not at+jwt', true],
    [forge(pen, noKid, claims), 'kid is not a string', true],
    [forge(pen, { ...header, kid: [pen.kid] }, claims), 'kid is not a string', true],
    [forge(pen, { ...header, kid: 'unknown' }, claims), 'no key of that kid', false],
    [forge(pen, { ...header, alg: 'HS256' }, claims), 'alg is not that of the key', true],
    [forge(pen, { ...header, alg: 'es256' }, claims), 'alg is not that of the key', true],
    [forge(pen, noAlg, claims), 'alg is not that of the key', true],
    [forge(pen, header, '"text"'), 'payload: not an object', true],
    [forge(pen, header, '[]'), 'payload: not an object', true],
    [forge(pen, header, 'null'), 'payload: not an object', true],
    [forge(pen, header, '{"sub":1,"sub":1}'), 'payload: a member twice', true],
    [forge(pen, header, `{"a":${'['.repeat(20)}${']'.repeat(20)}}`), 'payload: nested too deeply', true],
  ]
  for (const [token, reason, forGood] of cases) {
    t.throws(() => readStrictJwt(token as string, verifyingKey), { code: 'GW_TOKEN_INVALID', details: { reason }, forGood }, reason)
  }
})

await t.test('asks for a key by nothing but text', async (t) => {
  const asked: unknown[] = []
  const keyOf = (kid: string): undefined => {
    asked.push(kid)
    return undefined
  }
  for (const kid of [[pen.kid], { toString: 1 }, null, 0, true, 'text', '__proto__']) {
    t.throws(() => readStrictJwt(signSegments(pen, segment({ ...header, kid }), p), keyOf))
  }
  t.strictSame(asked, ['text', '__proto__'])
})
