import { decodeJwt, decodeProtectedHeader } from 'jose'
import t from 'tap'
import { createAccessTokenMint, type AccessTokenRequest } from '../../src/tokens/access-token.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { audience, issuer, keyRingOf, makeKey, someTime } from '../helpers/tokens.ts'

const key = await makeKey('ES256', 'gateway')
const keyRing = keyRingOf(key)
const request: AccessTokenRequest = { subject: 'user-1', sessionId: 'session-1', clientId: 'app', roles: ['admin', 'reader'], scopes: ['read', 'write'], claims: {} }
const mintAt = (lifetime: number, now = someTime) => createAccessTokenMint({ keyRing, issuer, audience, lifetime, now: () => now })

await t.test('carries exactly the header and the claims that the contract names', async (t) => {
  const { token, expiresInSeconds } = mintAt(300_000)(request)
  t.equal(expiresInSeconds, 300)
  t.strictSame(decodeProtectedHeader(token), { alg: 'ES256', typ: 'at+jwt', kid: key.signing.kid })
  const { jti, ...claims } = decodeJwt(token)
  t.strictSame(claims, { iss: issuer, sub: 'user-1', aud: audience, iat: someTime / 1000, exp: someTime / 1000 + 300, sid: 'session-1', client_id: 'app', roles: ['admin', 'reader'], scope: 'read write' })
  t.match(jti, /^[\w-]{22}$/)
})

await t.test('leaves out roles and scope where there are none', async (t) => {
  const claims = decodeJwt(mintAt(300_000)({ ...request, roles: [], scopes: [] }).token)
  t.notOk('roles' in claims)
  t.notOk('scope' in claims)
})

await t.test('adds further claims, and lets none of them take the place of its own', async (t) => {
  const own = { iss: 'x', sub: 'admin', aud: 'x', exp: 9_999_999_999, nbf: 1, iat: 1, jti: 'x', sid: 'x', client_id: 'x', roles: ['root'], scope: 'all' }
  const { token } = mintAt(300_000)({ ...request, roles: [], scopes: [], claims: { ...own, email: 'a@b.c', groups: ['x'], nothing: undefined, ['__proto__']: 1 } })
  const claims = decodeJwt(token)
  t.match(claims, { iss: issuer, sub: 'user-1', aud: audience, exp: someTime / 1000 + 300, sid: 'session-1', client_id: 'app', email: 'a@b.c', groups: ['x'] })
  for (const absent of ['nbf', 'roles', 'scope', 'nothing']) t.notOk(absent in claims, absent)
  t.ok(createVerifier({ keyRing, issuer, audience, clockTolerance: 0, now: () => someTime })(token))
})

await t.test('gives no two tokens one jti', async (t) => {
  const mint = mintAt(300_000)
  t.equal(new Set(Array.from({ length: 1_000 }, () => decodeJwt(mint(request).token).jti)).size, 1_000)
})

await t.test('counts in whole seconds, and at least one', async (t) => {
  for (const [lifetime, seconds] of [[500, 1], [1_000, 1], [1_999, 1], [2_000, 2], [300_500, 300]] as const) {
    const { token, expiresInSeconds } = mintAt(lifetime, someTime + 999)(request)
    t.equal(expiresInSeconds, seconds)
    t.match(decodeJwt(token), { iat: someTime / 1000, exp: someTime / 1000 + seconds })
  }
})

await t.test('signs with whichever key signs at that moment', async (t) => {
  const next = await makeKey('RS256')
  let current = key
  const mint = createAccessTokenMint({ keyRing: { signingKey: () => current.signing }, issuer, audience, lifetime: 1_000, now: () => someTime })
  t.match(decodeProtectedHeader(mint(request).token), { alg: 'ES256', kid: key.signing.kid })
  current = next
  t.match(decodeProtectedHeader(mint(request).token), { alg: 'RS256', kid: next.signing.kid })
})

await t.test('hands out no token that the gateway would refuse', async (t) => {
  const mint = mintAt(300_000)
  for (const subject of ['', 'a\nb', 'x'.repeat(513)]) t.throws(() => mint({ ...request, subject }), { code: 'GW_INTERNAL' })
  const besideCorp = createAccessTokenMint({ keyRing, issuer, audience, lifetime: 300_000, now: () => someTime, isForeignSubject: (subject) => subject.startsWith('corp|') })
  t.throws(() => besideCorp({ ...request, subject: 'corp|alice' }), { code: 'GW_INTERNAL', details: { reason: /written as that of a trusted issuer/ } })
  t.ok(besideCorp({ ...request, subject: 'other|alice' }))
  t.throws(() => mint({ ...request, roles: Array.from({ length: 1_000 }, (_, place) => `role-${place}`) }), { code: 'GW_INTERNAL', details: { reason: /longer than 8192/ } })
  t.throws(() => mintAt(400 * 86_400_000), { name: 'StartupFault', message: /accessToken\.lifetime/ })
})
