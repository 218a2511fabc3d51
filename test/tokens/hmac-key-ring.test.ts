import { randomBytes } from 'node:crypto'
import { jwtVerify } from 'jose'
import t from 'tap'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import { openHmacKeyRing } from '../../src/tokens/hmac-key-ring.ts'
import { audience, issuer } from '../helpers/tokens.ts'

const secret = randomBytes(64).toString('base64url')

await t.test('signs with the bytes of the secret as it is written, as other libraries read it', async (t) => {
  for (const algorithm of ['HS256', 'HS384', 'HS512'] as const) {
    const keyRing = openHmacKeyRing({ algorithm, secret, directory: undefined })
    const { token } = createAccessTokenMint({ keyRing, issuer, audience, lifetime: 60_000, now: Date.now })({ subject: 'u', sessionId: 's', clientId: 'c', roles: [], scopes: [], claims: {} })
    const { payload } = await jwtVerify(token, new TextEncoder().encode(secret), { algorithms: [algorithm], issuer, audience, typ: 'at+jwt' })
    t.equal(payload.sub, 'u')
  }
})

await t.test('publishes nothing, and knows no key but its own', async (t) => {
  const ring = openHmacKeyRing({ algorithm: 'HS256', secret, directory: undefined })
  t.strictSame(ring.publicKeys(), [])
  const { kid } = ring.signingKey()
  t.equal(ring.verifyingKey(kid)?.algorithm, 'HS256')
  t.equal(ring.verifyingKey('other'), undefined)
  t.strictSame(ring.list(), [{ kid, algorithm: 'HS256', state: 'signing', createdAt: null, activatesAt: null, expiresAt: null }])
  await ring.reload()
  await ring.maintain()
  ring.onChange(() => {})
  ring.close()
})

await t.test('names the secret the same in every process, another one differently, and tells nothing of it', async (t) => {
  const kid = (text: string): string => openHmacKeyRing({ algorithm: 'HS256', secret: text, directory: undefined }).signingKey().kid
  t.equal(kid(secret), kid(secret))
  t.not(kid(secret), kid(`${secret}x`))
  t.match(kid(secret), /^[\w-]{43}$/)
  t.notMatch(kid(secret), secret.slice(0, 6))
})

await t.test('refuses a secret of fewer bytes than the hash has (RFC 7518 §3.2), and says how to make one', async (t) => {
  const bytes = { HS256: 32, HS384: 48, HS512: 64 } as const
  for (const algorithm of ['HS256', 'HS384', 'HS512'] as const) {
    const least = bytes[algorithm]
    t.throws(() => openHmacKeyRing({ algorithm, secret: undefined, directory: undefined }), { name: 'StartupFault', message: /accessToken\.secret is missing.*make them with/ })
    for (const short of ['', 'secret', 'z'.repeat(least - 1), 'ab'.repeat(least - 1), 'AB'.repeat(least - 1)]) {
      try {
        openHmacKeyRing({ algorithm, secret: short, directory: undefined })
        t.fail(`${short.length} characters were taken`)
      } catch (error) {
        t.match(error, { name: 'StartupFault', message: new RegExp(`at least ${least} random bytes`) })
        if (short.length > 8) t.notMatch(String(error), short)
      }
    }
    for (const long of ['z'.repeat(least), 'ab'.repeat(least), randomBytes(least).toString('hex'), randomBytes(least).toString('base64url'), 'é'.repeat(least / 2)]) {
      t.ok(openHmacKeyRing({ algorithm, secret: long, directory: undefined }))
    }
  }
})

await t.test('is not to be had together with a folder of key pairs, nor rotated', async (t) => {
  t.throws(() => openHmacKeyRing({ algorithm: 'HS256', secret, directory: '/keys' }), { name: 'StartupFault', message: /keys\.directory/ })
  await t.rejects(openHmacKeyRing({ algorithm: 'HS256', secret, directory: undefined }).rotate(), { name: 'StartupFault', message: /accessToken\.secret/ })
})
