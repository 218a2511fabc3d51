/**
 * A thief who holds a refresh token needs one moment in which two parts of the gateway disagree: a refresh that overtakes the
 * logout, the disabling of its user or the change of the password, and leaves a session alive behind it. Whatever order the
 * storage puts them in, the end holds: no token of either outlives it. Beside that, what is no token of this gateway ends nothing
 * and renews nothing: one of another gateway, cut, padded, or shown after the clock has gone back.
 */
import t from 'tap'
import { createRefreshTokens } from '../../src/sessions/refresh-token.ts'
import { graceWindow, lifetime, password, refreshTokenKey, refusal, refusedToken, startSessions } from '../sessions/session-rig.ts'

const invalid = 'GW_REFRESH_TOKEN_INVALID'
type Rig = Awaited<ReturnType<typeof startSessions>>
type Tokens = Awaited<ReturnType<Rig['logIn']>>

const ends: Record<string, (rig: Rig, tokens: Tokens) => Promise<unknown>> = {
  'a logout with the same token': async (rig, { refresh_token: token }) => await rig.sessions.endByRefreshToken(token, 'logout'),
  'a logout by the session': async (rig, { session_id: id }) => await rig.sessions.endById(id, 'revoked'),
  'the disabling of the user': async (rig) => { await rig.users.disable('alice') },
  'the removal of the user': async (rig) => { await rig.users.remove('alice') },
  'a change of the password': async (rig) => { await rig.users.setPassword('alice', `${password}, another`) },
}

for (const [what, end] of Object.entries(ends)) {
  t.test(`${what} wins against refreshes that are under way`, async (t) => {
    const rig = await startSessions(t)
    const tokens = await rig.logIn()
    const renewed: Awaited<ReturnType<Rig['refresh']>>[] = []
    const refresh = async () => {
      await rig.refresh(tokens.refresh_token).then((outcome) => { renewed.push(outcome) }, () => {})
    }
    // Before, at the same time, and behind.
    await Promise.all([refresh(), refresh(), end(rig, tokens), refresh(), refresh()])
    await rig.revocations.catchUp()
    t.equal(await refusal(rig.refresh(tokens.refresh_token)), invalid)
    t.not((await rig.row(tokens.session_id))?.ended_at, null)
    for (const { tokens: got } of renewed) {
      t.equal(await refusal(rig.refresh(got.refresh_token)), invalid)
      t.equal(refusedToken(rig.verify, got.access_token), 'GW_SESSION_ENDED')
    }
    t.equal(refusedToken(rig.verify, tokens.access_token), 'GW_SESSION_ENDED')
  })
}

t.test('of many refreshes at once one rotates, all get the same successor, and no session ends', async (t) => {
  const rig = await startSessions(t)
  const tokens = await rig.logIn()
  const outcomes = await Promise.all(Array.from({ length: 12 }, async () => await rig.refresh(tokens.refresh_token)))
  t.equal(outcomes.filter(({ outcome }) => outcome === 'rotated').length, 1)
  t.equal(new Set(outcomes.map(({ tokens: { refresh_token: token } }) => token)).size, 1)
  t.equal((await rig.row(tokens.session_id))?.generation, 1)
  t.strictSame(rig.events, [])
})

t.test('a token of another gateway renews nothing and ends nothing, even where it names a session of ours', async (t) => {
  const rig = await startSessions(t)
  const ours = await rig.logIn()
  const elsewhere = createRefreshTokens(Buffer.alloc(32, 9))
  const read = createRefreshTokens(refreshTokenKey).read(ours.refresh_token)
  if (read === null) throw new Error('not read')
  // The successor of our own token, made with a key that is not ours: the right session, the right generation.
  for (const foreign of [elsewhere.first().text, elsewhere.successor(read).text]) {
    t.equal(await refusal(rig.refresh(foreign)), invalid)
    t.equal(await rig.sessions.endByRefreshToken(foreign, 'logout'), null)
    t.equal(await rig.sessions.inspect(foreign), null)
  }
  t.equal(refusedToken(rig.verify, ours.access_token), 'accepted')
  t.equal((await rig.refresh(ours.refresh_token)).outcome, 'rotated')
})

t.test('a token that is cut, padded or written in another way is none, and its session goes on', async (t) => {
  const rig = await startSessions(t)
  const tokens = await rig.logIn()
  const token = tokens.refresh_token
  const twisted = [
    token.slice(0, -1), token.slice(1), token.slice(0, 4), `${token}=`, `${token}A`, `${token}\n`, ` ${token}`, `${token}\0`, token.replace('gwr_', 'GWR_'), token.replace('gwr_', ''), token.toUpperCase(), `${token}${token}`,
    `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`, '', 'gwr_', tokens.access_token,
  ]
  for (const text of twisted) {
    t.equal(await refusal(rig.refresh(text)), invalid, JSON.stringify(text.slice(0, 12)))
    t.equal(await rig.sessions.endByRefreshToken(text, 'logout'), null)
  }
  t.equal((await rig.refresh(token)).outcome, 'rotated')
})

t.test('a clock that goes back opens no window again, and lengthens no life', async (t) => {
  const rig = await startSessions(t)
  const tokens = await rig.logIn()
  rig.clock.time += 60_000
  const { tokens: second } = await rig.refresh(tokens.refresh_token)
  rig.clock.time += graceWindow + 1
  t.equal(await refusal(rig.refresh(tokens.refresh_token)), invalid)
  rig.clock.time -= 3_600_000
  t.equal(await refusal(rig.refresh(second.refresh_token)), invalid, 'what ended stays ended, at whatever time')
  t.equal(refusedToken(rig.verify, second.access_token) === 'accepted', false)
  const later = await rig.logIn()
  rig.clock.time -= 86_400_000
  const { tokens: third } = await rig.refresh(later.refresh_token)
  const expires = (await rig.row(later.session_id))?.expires_at ?? 0
  rig.clock.time = expires + 1
  t.equal(await refusal(rig.refresh(third.refresh_token)), invalid)
  t.ok(expires - rig.clock.time < lifetime)
})
