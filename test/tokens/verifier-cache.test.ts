import t from 'tap'
import { Refusal } from '../../src/errors.ts'
import { BadToken } from '../../src/tokens/bad-token.ts'
import type { Identity, Verify } from '../../src/tokens/identity.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { audience, issuer, keyRingOf, makeKey, someTime, validToken } from '../helpers/tokens.ts'

const key = await makeKey('EdDSA')
const pen = key.signing

function world (size = 100) {
  const keyRing = keyRingOf(key)
  const ended = new Set<string>()
  const state = { time: someTime, checks: 0 }
  const verifier = createVerifier({ keyRing, issuer, audience, clockTolerance: 2_000, now: () => state.time })
  const counted: Verify = (token) => {
    state.checks++
    return verifier(token)
  }
  const cache = createVerifierCache(counted, { size, clockTolerance: 2_000, isEnded: (id) => ended.has(id), now: () => state.time })
  return { keyRing, ended, state, cache }
}

await t.test('checks a token once, and gives the very same identity after that', async (t) => {
  const { cache, state } = world()
  const token = validToken(pen, someTime)
  const first = cache.verify(token)
  // A text of its own, as each request brings one.
  t.equal(cache.verify(`Bearer ${token}`.slice(7)), first)
  t.equal(state.checks, 1)
  t.strictSame(cache.stats(), { hits: 1, misses: 1, refused: 0, size: 1 })
})

await t.test('keeps tokens apart that differ in one character', async (t) => {
  const { cache } = world()
  t.equal(cache.verify(validToken(pen, someTime, { sub: 'user-1' })).subject, 'user-1')
  t.equal(cache.verify(validToken(pen, someTime, { sub: 'user-2' })).subject, 'user-2')
  t.equal(cache.verify(validToken(pen, someTime, { sub: 'user-1' })).subject, 'user-1')
})

await t.test('looks at the whole token, whatever end it shares with one that is remembered', async (t) => {
  let checks = 0
  const subjects: Readonly<Record<string, string>> = { 'head.one.': 'user-1', 'head.two.': 'user-2', 'more.one.': 'user-3', 'head.on': 'user-4' }
  const verify: Verify = (token) => {
    checks++
    const subject = subjects[token.slice(0, -end.length)]
    if (subject === undefined) throw new BadToken('forged', { forGood: true })
    return { subject, issuer: 'i', sessionId: null, expiresAt: Infinity, roles: [], scopes: [], claims: {} }
  }
  const cache = createVerifierCache(verify, { size: 10, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  const end = 'x'.repeat(100)
  const starts = Object.entries(subjects)
  // Each is asked for after each other one, and twice.
  for (const [start, subject] of starts) {
    for (const [other, its] of starts) {
      for (const [asked, expected] of [[start, subject], [other, its], [other, its]] as const) t.equal(cache.verify(asked + end).subject, expected, `${asked} after ${start} and ${other}`)
    }
  }
  checks = 0
  for (const [token, subject] of [['head.one.', 'user-1'], ['head.two.', 'user-2'], ['head.two.', 'user-2'], ['head.one.', 'user-1']] as const) t.equal(cache.verify(token + end).subject, subject)
  t.equal(checks, 3, 'the later of the two is the one that is remembered')
  for (const start of ['head.six.', 'six.one.', 'head.one', 'head..one.', '.one.', '']) t.throws(() => cache.verify(start + end), { code: 'GW_TOKEN_INVALID' }, start)
  checks = 0
  t.equal(cache.verify(`head.one.${end}`).subject, 'user-1')
  t.equal(checks, 0, 'a bad one pushes out nobody')
})

await t.test('keeps a token of whatever first part, however many there are', async (t) => {
  let checks = 0
  const identity: Identity = { subject: 'corp|1', issuer: 'https://corp.test', sessionId: null, expiresAt: Infinity, roles: [], scopes: [], claims: {} }
  const cache = createVerifierCache(() => {
    checks++
    return identity
  }, { size: 1_000, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  const tokens = Array.from({ length: 250 }, (_, number) => `head-${number}.payload-${number}.${String(number).padStart(86, 's')}`)
  for (const token of [...tokens, ...tokens]) t.equal(cache.verify(token), identity)
  t.strictSame([checks, cache.stats()], [250, { hits: 250, misses: 250, refused: 0, size: 250 }])
})

await t.test('refuses an ended session at its next request, remembered or not', async (t) => {
  const { cache, ended, state } = world()
  const token = validToken(pen, someTime)
  cache.verify(token)
  ended.add('session-1')
  t.throws(() => cache.verify(token), { code: 'GW_SESSION_ENDED', statusCode: 401 })
  t.throws(() => cache.verify(validToken(pen, someTime, { jti: 'new' })), { code: 'GW_SESSION_ENDED' })
  t.equal(state.checks, 2)
  t.throws(() => cache.verify(token), { code: 'GW_SESSION_ENDED' })
  t.equal(state.checks, 2, 'it is cheap to refuse it again')
  t.equal(cache.stats().refused, 3)
})

await t.test('asks nothing of sessions for a token that has none', async (t) => {
  const identity: Identity = { subject: 'corp|1', issuer: 'https://corp.test', sessionId: null, expiresAt: someTime / 1000 + 60, roles: [], scopes: [], claims: {} }
  const cache = createVerifierCache(() => identity, { size: 1, clockTolerance: 0, isEnded: () => true, now: () => someTime })
  t.equal(cache.verify('h.p.x'), identity)
  t.equal(cache.verify('h.p.x'), identity)
})

await t.test('remembers a bad token for as long as it must be bad', async (t) => {
  const { cache, state } = world()
  const forged = validToken({ ...(await makeKey('EdDSA')).signing, kid: pen.kid }, someTime)
  for (let round = 0; round < 3; round++) t.throws(() => cache.verify(forged), { code: 'GW_TOKEN_INVALID', details: { reason: 'the signature is not that of the key' } })
  t.equal(state.checks, 1)
  cache.clear()
  t.throws(() => cache.verify(forged), { code: 'GW_TOKEN_INVALID' })
  t.equal(state.checks, 2)
})

await t.test('does not hold against a token what time or a new key may change', async (t) => {
  const { cache, state, keyRing } = world()
  const early = validToken(pen, someTime, { nbf: someTime / 1000 + 60 })
  t.throws(() => cache.verify(early), { code: 'GW_TOKEN_INVALID' })
  const ahead = validToken(pen, someTime + 60_000)
  t.throws(() => cache.verify(ahead), { code: 'GW_TOKEN_INVALID' })
  state.time += 60_000
  t.ok(cache.verify(early))
  t.ok(cache.verify(ahead))
  const verifyingKey = keyRing.verifyingKey
  keyRing.verifyingKey = () => undefined
  const token = validToken(pen, someTime, { jti: 'later' })
  t.throws(() => cache.verify(token), { code: 'GW_TOKEN_INVALID', details: { reason: 'no key of that kid' } })
  keyRing.verifyingKey = verifyingKey
  t.ok(cache.verify(token), 'the key is known now')
})

await t.test('passes on a refusal that is not about the token, and remembers nothing of it', async (t) => {
  let checks = 0
  const cache = createVerifierCache(() => {
    checks++
    throw new Refusal('GW_UNAVAILABLE')
  }, { size: 10, clockTolerance: 0, isEnded: () => false, now: () => someTime })
  t.throws(() => cache.verify('x'), { code: 'GW_UNAVAILABLE' })
  t.throws(() => cache.verify('x'), { code: 'GW_UNAVAILABLE' })
  t.equal(checks, 2)
})

await t.test('checks every time with a size of 0, and still asks for ended sessions', async (t) => {
  const { cache, state, ended } = world(0)
  const token = validToken(pen, someTime)
  cache.verify(token)
  cache.verify(token)
  t.equal(state.checks, 2)
  ended.add('session-1')
  t.throws(() => cache.verify(token), { code: 'GW_SESSION_ENDED' })
  t.equal(cache.stats().size, 0)
})

await t.test('keeps a token that is as long as one may be', async (t) => {
  const { cache, state } = world(1)
  const token = validToken(pen, someTime, { filler: 'x'.repeat(5_500) })
  t.ok(token.length > 7_500 && token.length <= 8_192)
  cache.verify(token)
  cache.verify(token)
  t.equal(state.checks, 1)
})
