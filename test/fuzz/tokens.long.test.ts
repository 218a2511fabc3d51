/** Whatever stands where a token should: it is refused with the one class of refusal, and only what was signed here is believed. */
import t from 'tap'
import fc from 'fast-check'
import { BadToken } from '../../src/tokens/bad-token.ts'
import { createRefreshTokens } from '../../src/sessions/refresh-token.ts'
import { readStrictJson } from '../../src/tokens/strict-json.ts'
import { readStrictJwt } from '../../src/tokens/strict-jwt.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { audience, forge, goodClaims, goodHeader, issuer, keyRingOf, makeKey, segment, signSegments, someTime, validToken } from '../helpers/tokens.ts'
import { holds, isWellFormed, mixtureOf, slipsOf } from './property.ts'

const alphabet = [...'ABCXYZabcxyz0189-_.=+/ \n\t~%"{}\0é']
const keys = [await makeKey('ES256'), await makeKey('EdDSA'), await makeKey('HS256')] as const
const keyRing = keyRingOf(...keys)
const verify = createVerifier({ keyRing, issuer, audience, clockTolerance: 0, now: () => someTime })
const cached = createVerifierCache(verify, { size: 20, clockTolerance: 0, isEnded: () => false, now: () => someTime })

/** undefined for a refusal of the right class; else what happened. */
function refused (token: string): string | undefined {
  // Twice each: what a cache remembers of a bad token must be bad as well.
  for (const check of [verify, verify, cached.verify, cached.verify]) {
    try {
      check(token)
      return 'accepted'
    } catch (error) {
      if (!(error instanceof BadToken)) return `threw ${String(error)}`
    }
  }
  return undefined
}

const good = keys.map(({ signing }) => validToken(signing, someTime))
for (const token of good) verify(token)

await t.test('no text is a token', async (t) => {
  await holds(t, 'mixtures of dots and base64url', 600, mixtureOf(['.', '.', 'eyJ', 'eyJhbGciOiJub25lIn0', 'e30', '', 'AAAA', '=', ...good.flatMap((token) => token.split('.'))], { maxLength: 6 }), (text) => good.includes(text) ? undefined : refused(text))
})

await t.test('a good token with slips', async (t) => {
  for (const token of good) await holds(t, 'is another token, or the same text', 250, slipsOf(token, alphabet), (text) => text === token ? undefined : refused(text))
})

await t.test('one bit of a good token', async (t) => {
  const [token = ''] = good
  const bit = fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 10_000 }), fc.nat({ max: 7 }))
  await holds(t, 'header, payload and signature are each held to the last bit', 250, bit, ([part, place, shift]) => {
    const parts = token.split('.')
    const bytes = Buffer.from(parts[part] ?? '', 'base64url')
    bytes.writeUInt8(bytes.readUInt8(place % bytes.length) ^ (1 << shift), place % bytes.length)
    parts[part] = bytes.toString('base64url')
    return refused(parts.join('.'))
  })
})

await t.test('signed with a live key, and yet not ours', async (t) => {
  const name = fc.constantFrom('iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'sid', 'jti', 'client_id', 'roles', 'scope')
  const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(null, '', '\0', 'x'.repeat(513), -1, 0, 1e308, 0.5, someTime, 'a\r\nb', '\ud800', [], {}, [issuer], [audience]))
  await holds(t, 'no claim is of another kind than it must be', 300, fc.tuple(fc.constantFrom(...keys), name, odd), ([{ signing }, claim, value]) => {
    const token = forge(signing, goodHeader(signing), { ...goodClaims(someTime), [claim]: value })
    const why = refused(token)
    if (why !== 'accepted') return why
    const { claims, subject, sessionId, roles, scopes, expiresAt } = verify(token)
    const isText = (text: unknown) => typeof text === 'string' && text !== '' && text.length <= 512 && !/\p{Cc}/u.test(text) && isWellFormed(text)
    const fine = claims['iss'] === issuer && claims['aud'] === audience && isText(subject) && isText(sessionId) && Number.isSafeInteger(expiresAt) && expiresAt * 1000 > someTime &&
      roles.every((role) => typeof role === 'string') && scopes.every((scope) => typeof scope === 'string')
    return fine ? undefined : `accepted ${JSON.stringify(claims)}`
  })
  const parameter = fc.constantFrom('alg', 'typ', 'kid', 'jwk', 'jku', 'x5c', 'crit', 'b64', 'zip', 'cty', '__proto__', 'toString')
  await holds(t, 'no header but the one is read', 200, fc.tuple(fc.constantFrom(...keys), fc.dictionary(parameter, fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.constantFrom('none', 'HS256', 'ES256', 'JWT', '../x', ...keys.map(({ signing }) => signing.kid))), { minKeys: 1, maxKeys: 2 })), ([{ signing }, changes]) => {
    const header = { ...goodHeader(signing), ...changes }
    return JSON.stringify(header) === JSON.stringify(goodHeader(signing)) ? undefined : refused(forge(signing, header, goodClaims(someTime)))
  })
  await holds(t, 'no payload of other bytes is read', 200, fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), mixtureOf(['{', '}', '"sub"', ':', ',', '[', ']', '1', '\\u0000', '\ufeff', JSON.stringify(goodClaims(someTime))])), (payload) => {
    const [{ signing }] = keys
    const why = refused(signSegments(signing, segment(goodHeader(signing)), segment(payload)))
    return why === 'accepted' && payload.trim() === JSON.stringify(goodClaims(someTime)) ? undefined : why
  })
})

await t.test('strict reading', async (t) => {
  await holds(t, 'readStrictJwt throws a BadToken and nothing else', 500, fc.array(fc.string({ unit: 'binary', maxLength: 20 }), { maxLength: 5 }).map((parts) => parts.map(segment).join('.')), (text) => {
    try {
      readStrictJwt(text, () => undefined)
      return 'read'
    } catch (error) {
      return error instanceof BadToken ? undefined : String(error)
    }
  })
  const json = fc.oneof(fc.json({ maxDepth: 4 }), fc.json().chain((text) => slipsOf(text, [...'{}[]",:\\u0e-+ '])), mixtureOf(['{', '}', '[', ']', '"a"', '"\\u0061"', '"__proto__"', '"__pr\\u006fto__"', ':', ',', '1', '"\\"', ' ']))
  await holds(t, 'readStrictJson never throws, and reads what JSON.parse does or nothing', 1_000, json, (text) => {
    const read = readStrictJson(Buffer.from(text))
    if ('fault' in read) return undefined
    if (JSON.stringify(read.value) !== JSON.stringify(JSON.parse(text))) return 'another value'
    return JSON.stringify(read.value)?.includes('"__proto__":') === true ? 'a member that could become a prototype' : undefined
  })
  await holds(t, 'readStrictJson never throws on bytes', 500, fc.uint8Array({ maxLength: 40 }), (bytes) => {
    readStrictJson(bytes)
    return undefined
  })
})

await t.test('refresh tokens', async (t) => {
  const tokens = createRefreshTokens(Buffer.alloc(32, 1))
  const other = createRefreshTokens(Buffer.alloc(32, 2))
  const first = tokens.first()
  t.strictSame(tokens.read(first.text), first)
  await holds(t, 'one with slips is none', 500, slipsOf(first.text, alphabet), (text) => text === first.text || tokens.read(text) === null ? undefined : 'read')
  await holds(t, 'no text is one', 500, mixtureOf(['gwr_', 'GWR_', first.text, first.text.slice(4), other.first().text, 'A'.repeat(91), '=', '.']), (text) => text === first.text || tokens.read(text) === null ? undefined : 'read')
  await holds(t, 'no bytes of the right length are one', 500, fc.uint8Array({ minLength: 68, maxLength: 68 }), (bytes) => tokens.read(`gwr_${Buffer.from(bytes).toString('base64url')}`) === null ? undefined : 'read')
  await holds(t, 'a chain is read back link by link, and by nobody else', 50, fc.nat({ max: 20 }), (length) => {
    let token = tokens.first()
    for (let link = 0; link < length; link++) token = tokens.successor(token)
    if (tokens.read(token.text)?.generation !== length) return 'not read back'
    return other.read(token.text) === null ? undefined : 'read with another key'
  })
})
