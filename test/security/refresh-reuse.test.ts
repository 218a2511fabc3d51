/**
 * Somebody copies a refresh token, from a backup of a phone, from a proxy's log, and uses it beside its owner. Each rotation
 * makes one of the two hold a used token; whoever shows it, the theft is known, and the session ends for both. What must not
 * happen: that the owner's own races look like theft, that a thief keeps a chain of their own alive, or ends anybody else's.
 */
import t from 'tap'
import { graceWindow, refusal, refusedToken, startSessions } from '../sessions/session-rig.ts'

const invalid = 'GW_REFRESH_TOKEN_INVALID'

t.test('the thief is first: the owner shows the used token, and both are out', async (t) => {
  const rig = await startSessions(t)
  const owner = await rig.logIn()
  const thief = await rig.refresh(owner.refresh_token)
  rig.clock.time += 60_000
  t.equal(await refusal(rig.refresh(owner.refresh_token)), invalid)
  t.equal(await refusal(rig.refresh(thief.tokens.refresh_token)), invalid)
  t.equal(refusedToken(rig.verify, thief.tokens.access_token), 'GW_SESSION_ENDED')
})

t.test('the owner is first: the thief shows the used token, and both are out', async (t) => {
  const rig = await startSessions(t)
  const owner = await rig.logIn()
  const { tokens } = await rig.refresh(owner.refresh_token)
  rig.clock.time += graceWindow + 1
  t.equal(await refusal(rig.refresh(owner.refresh_token)), invalid)
  t.equal(refusedToken(rig.verify, tokens.access_token), 'GW_SESSION_ENDED')
  t.equal(await refusal(rig.refresh(tokens.refresh_token)), invalid)
})

t.test('inside the window the thief gets no chain of their own: there is one token in force, and who is second with it is caught', async (t) => {
  const rig = await startSessions(t)
  const owner = await rig.logIn()
  const [mine, stolen] = [await rig.refresh(owner.refresh_token), await rig.refresh(owner.refresh_token)]
  t.equal(mine.tokens.refresh_token, stolen.tokens.refresh_token)
  rig.clock.time += 60_000
  const thief = await rig.refresh(stolen.tokens.refresh_token)
  rig.clock.time += 60_000
  t.equal(await refusal(rig.refresh(mine.tokens.refresh_token)), invalid)
  t.equal(await refusal(rig.refresh(thief.tokens.refresh_token)), invalid)
  t.equal(rig.events.filter(({ event }) => event === 'reuse').length, 1)
})

t.test('replaying a used token for ever keeps nothing alive', async (t) => {
  const rig = await startSessions(t)
  const owner = await rig.logIn()
  await rig.refresh(owner.refresh_token)
  const outcomes: string[] = []
  for (let second = 0; second < 30; second++) {
    rig.clock.time += 1_000
    outcomes.push(await refusal(rig.refresh(owner.refresh_token)))
  }
  t.strictSame(outcomes, [...new Array<string>(10).fill('not refused'), ...new Array<string>(20).fill(invalid)])
})

t.test('a stolen token of one session ends no other, of the same user or of another', async (t) => {
  const rig = await startSessions(t)
  await rig.users.add({ name: 'bob', password: 'correct horse battery staple' })
  const [phone, laptop] = [await rig.logIn(), await rig.logIn()]
  await rig.refresh(phone.refresh_token)
  rig.clock.time += graceWindow + 1
  await refusal(rig.refresh(phone.refresh_token))
  t.equal(refusedToken(rig.verify, laptop.access_token), 'accepted')
  t.equal((await rig.refresh(laptop.refresh_token)).outcome, 'rotated')
  t.equal((await rig.sessions.listLive((await rig.subject()).id)).length, 1)
})

t.test('the session name that a client brings does not become a session: there is no fixation', async (t) => {
  const rig = await startSessions(t)
  const planted = await rig.logIn()
  await rig.sessions.endByRefreshToken(planted.refresh_token, 'logout')
  const fresh = await rig.logIn()
  t.not(fresh.session_id, planted.session_id)
  t.equal(await refusal(rig.refresh(planted.refresh_token)), invalid)
  t.equal((await rig.row(planted.session_id))?.generation, 0)
})
