import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Change } from '../../src/storage/database.ts'
import { openRevocations } from '../../src/sessions/revocations.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { within } from '../helpers/within.ts'
import { anotherProcess } from './another-process.ts'
import { accessTokenLifetime, clockTolerance, graceWindow, openSqlite, refusal, refusedToken, startSessions } from './session-rig.ts'

const rememberFor = accessTokenLifetime + clockTolerance

/** A rig on a file that others can open too. */
async function startOnFile (t: Test) {
  const url = `sqlite:${t.testdir()}/gatewarden.db`
  return { url, rig: await startSessions(t, async () => await openStorage(url)) }
}

t.test('sessions that have ended before the start are known from the start', async (t) => {
  const rig = await startSessions(t)
  const [ended, live] = [await rig.logIn(), await rig.logIn()]
  await rig.sessions.endById(ended.session_id, 'deleted')
  rig.clock.time += rememberFor - 1
  const revocations = await openRevocations({ storage: rig.storage, rememberFor, now: rig.now })
  t.equal(revocations.isEnded(ended.session_id), true)
  t.equal(revocations.isEnded(live.session_id), false)
  revocations.close()
})

t.test('an end in this process holds at once, and listeners hear of it once', async (t) => {
  const rig = await startSessions(t)
  const heard: string[] = []
  rig.revocations.onEnd((ids) => { heard.push(...ids) })
  const login = await rig.logIn()
  const ending = rig.sessions.endById(login.session_id, 'deleted')
  t.equal(rig.revocations.isEnded(login.session_id), false, 'not before it is written')
  await ending
  t.equal(refusedToken(rig.verify, login.access_token), 'GW_SESSION_ENDED')
  rig.revocations.end(login.session_id)
  await rig.revocations.catchUp()
  t.strictSame(heard, [login.session_id])
})

t.test('what the same process changes in the users reaches here within a second, too', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const heard = new Promise((resolve) => { rig.revocations.onEnd(resolve) })
  await rig.users.disable('alice')
  t.strictSame(await within(1_000, heard), [login.session_id])
})

t.test('a user whom another process disables is out within a second, and listeners hear of it once', async (t) => {
  const { url, rig } = await startOnFile(t)
  const logins = [await rig.logIn(), await rig.logIn()]
  for (const login of logins) rig.verify(login.access_token)
  const heard: string[] = []
  const told = new Promise<void>((resolve) => { rig.revocations.onEnd((ids) => { heard.push(...ids); resolve() }) })
  const child = anotherProcess('disable', url, 'alice')
  t.equal(await child.exit, 0)
  await within(1_000, told)
  t.strictSame(heard.sort(), logins.map(({ session_id: id }) => id).sort())
  for (const login of logins) {
    t.equal(refusedToken(rig.verify, login.access_token), 'GW_SESSION_ENDED')
    t.equal(await refusal(rig.refresh(login.refresh_token)), 'GW_REFRESH_TOKEN_INVALID')
  }
  await rig.revocations.catchUp()
  t.equal(heard.length, 2)
})

t.test('what has ended is forgotten when none of its access tokens can live, and is not found anew', async (t) => {
  const storage = await openSqlite(t)
  t.teardown(async () => { await storage.close() })
  const rig = await startSessions(t, async () => storage)
  for (const keepFor of [rememberFor, 3_000]) {
    const revocations = await openRevocations({ storage, rememberFor: keepFor, now: rig.now })
    const heard: string[] = []
    revocations.onEnd((ids) => { heard.push(...ids) })
    const sessions = rig.service({ accessTokenLifetime: keepFor - clockTolerance })
    const login = await sessions.begin({ subject: await rig.subject(), source: 'store', clientId: 'gatewarden', userAgent: null, address: null })
    await sessions.endById(login.session_id, 'deleted')
    for (let time = 0; time <= keepFor + 60_000; time += 1_000) {
      await revocations.catchUp()
      if (time <= keepFor) t.equal(revocations.isEnded(login.session_id), true)
      rig.clock.time += 1_000
    }
    t.equal(revocations.isEnded(login.session_id), false)
    t.equal(revocations.size(), 0)
    t.strictSame(heard, [login.session_id])
    revocations.close()
  }
})

t.test('a lifetime of access tokens that was made shorter revives none of those before', async (t) => {
  const rig = await startSessions(t)
  const hour = 3_600_000
  const before = rig.service({ accessTokenLifetime: hour })
  const begin = async () => await before.begin({ subject: await rig.subject(), source: 'store', clientId: 'gatewarden', userAgent: null, address: null })
  const [endedBefore, endedAfter] = [await begin(), await begin()]
  await before.endById(endedBefore.session_id, 'deleted')
  rig.clock.time += 60_000
  // From here on tokens live for five minutes only.
  await rig.sessions.endById(endedAfter.session_id, 'deleted')
  const other = await openRevocations({ storage: rig.storage, rememberFor, now: rig.now })
  rig.clock.time += hour - 60_000 - 1
  for (let turn = 0; turn < 3; turn++) await rig.sessions.deleteExpired()
  const restarted = await openRevocations({ storage: rig.storage, rememberFor, now: rig.now })
  for (const revocations of [rig.revocations, other, restarted]) {
    // Others end meanwhile, and the old are forgotten.
    revocations.end('another session')
    for (const { session_id: id } of [endedBefore, endedAfter]) t.equal(revocations.isEnded(id), true)
  }
  for (const { access_token: token } of [endedBefore, endedAfter]) t.equal(refusedToken(rig.verify, token), 'GW_SESSION_ENDED')
  rig.clock.time += graceWindow + 60_000
  for (const revocations of [rig.revocations, other]) {
    await revocations.catchUp()
    t.equal(revocations.isEnded(endedAfter.session_id), false)
  }
  t.equal(await rig.sessions.deleteExpired(), 2)
  restarted.close()
  other.close()
})

t.test('a clock that is set ahead and back revives no token of a session that has ended, and costs no session', async (t) => {
  const rig = await startSessions(t)
  const [ended, live] = [await rig.logIn(), await rig.logIn()]
  await rig.sessions.endById(ended.session_id, 'deleted')
  rig.clock.settled = rig.clock.time
  rig.clock.time += 365 * 86_400_000
  const meanwhile = await rig.logIn()
  await rig.sessions.endById(meanwhile.session_id, 'deleted')
  await rig.revocations.catchUp()
  t.equal(await rig.sessions.deleteExpired(), 0)
  rig.clock.time = rig.clock.settled
  t.equal(refusedToken(rig.verify, ended.access_token), 'GW_SESSION_ENDED')
  t.equal(refusedToken(rig.verify, meanwhile.access_token), 'GW_TOKEN_INVALID', 'made by a clock that was wrong')
  t.equal((await rig.refresh(live.refresh_token)).outcome, 'rotated')
})

t.test('one end that is remembered for a year does not keep those after it', async (t) => {
  const rig = await startSessions(t)
  rig.revocations.end('of a token that lives for a year', rig.clock.time + 365 * 86_400_000)
  for (let turn = 0; turn < 20; turn++) {
    for (let number = 0; number < 1_000; number++) rig.revocations.end(`${turn} ${number}`)
    rig.clock.time += rememberFor + 1
  }
  t.ok(rig.revocations.size() <= 3_000, `${rig.revocations.size()} of 20000`)
  t.equal(rig.revocations.isEnded('of a token that lives for a year'), true)
})

t.test('what ends after a clock was set back is seen', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  await rig.revocations.catchUp()
  rig.clock.time -= 3_600_000
  await rig.users.disable('alice')
  await rig.revocations.catchUp()
  t.equal(rig.revocations.isEnded(login.session_id), true)
})

t.test('a look that failed is made up for without another change', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  let failing = true
  let change: (change: Change) => void = () => {}
  const storage = {
    ...rig.storage,
    db: rig.db.withPlugin({
      transformQuery: ({ node }) => { if (failing) throw new Error('no storage'); return node },
      transformResult: async ({ result }) => result,
    }),
    onChange (listener: typeof change) { change = listener; return () => {} },
  }
  await t.rejects(openRevocations({ storage, rememberFor, now: rig.now }), 'a start without storage fails')
  failing = false
  const revocations = await openRevocations({ storage, rememberFor, now: rig.now })
  t.teardown(revocations.close)
  failing = true
  await rig.users.disable('alice')
  const heard = new Promise((resolve) => { revocations.onEnd(resolve) })
  change({ kind: 'anything', missed: false })
  await t.rejects(revocations.catchUp())
  await pause(50)
  t.ok(revocations.lag() >= 50, 'what was told of, and could not be read, is not known')
  failing = false
  t.strictSame(await within(3_000, heard), [login.session_id])
  t.ok(revocations.lag() < 1_000)
})

t.test('a successor that was given out survives the kill of the process that gave it', async (t) => {
  const { url, rig } = await startOnFile(t)
  const login = await rig.logIn()
  await rig.storage.close()
  const child = anotherProcess('refresh', url, login.refresh_token)
  const successor = await child.firstLine
  child.kill('SIGKILL')
  await child.exit
  const after = await startSessions(t, async () => await openStorage(url))
  after.clock.time += graceWindow + 5_000
  t.equal((await after.refresh(successor)).outcome, 'rotated')
  t.strictSame(after.events, [])
  t.equal(await refusal(after.refresh(login.refresh_token)), 'GW_REFRESH_TOKEN_INVALID')
  t.match(after.events, [{ event: 'reuse', session_id: login.session_id }])
})
