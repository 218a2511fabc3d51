import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { KyselyPlugin } from 'kysely'
import t from 'tap'
import { openHtpasswd } from '../../src/credentials/htpasswd.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { Refusal } from '../../src/errors.ts'
import { createRefreshTokens, hashOf } from '../../src/sessions/refresh-token.ts'
import { defaults } from '../login/config-of.ts'
import { accessTokenLifetime, anyClient, graceWindow, lifetime, password, refreshTokenKey, refusal, refusedToken, startSessions } from './session-rig.ts'

const invalid = 'GW_REFRESH_TOKEN_INVALID'

t.test('a login is a session, an access token of it and a refresh token', async (t) => {
  const rig = await startSessions(t)
  const { session_id: id, ...tokens } = await rig.logIn({ clientId: 'app', userAgent: 'x'.repeat(300), address: '192.0.2.1' })
  t.strictSame(Object.keys(tokens), ['access_token', 'token_type', 'expires_in', 'refresh_token'])
  t.match(tokens, { token_type: 'Bearer', expires_in: 300 })
  const { id: subject } = await rig.subject()
  t.match(rig.verify(tokens.access_token), { subject, sessionId: id, roles: ['admin'] })
  t.match(await rig.row(id), { subject, source: 'store', client_id: 'app', user_agent: 'x'.repeat(256), address: '192.0.2.1', generation: 0, expires_at: rig.clock.time + lifetime })
})

t.test('only the attributes that are asked for get into an access token', async (t) => {
  const rig = await startSessions(t)
  const { access_token: token } = await rig.logIn()
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
  t.equal(claims.email, 'alice@example.com')
  t.notOk('phone' in claims)
})

t.test('each refresh gives new tokens of the same session, with the roles as they are now', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  await rig.db.updateTable('users').set({ roles: '["reader"]' }).execute()
  rig.clock.time += 60_000
  const first = await rig.refresh(login.refresh_token)
  t.equal(first.outcome, 'rotated')
  t.equal(first.sessionId, login.session_id)
  t.not(first.tokens.refresh_token, login.refresh_token)
  t.match(rig.verify(first.tokens.access_token), { sessionId: login.session_id, roles: ['reader'] })
  rig.clock.time += 60_000
  t.equal((await rig.refresh(first.tokens.refresh_token)).outcome, 'rotated')
  t.match(await rig.row(login.session_id), { generation: 2, last_used_at: rig.clock.time })
})

t.test('a duplicate inside the window gets the same successor', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const { tokens } = await rig.refresh(login.refresh_token)
  rig.clock.time += graceWindow
  const again = await rig.refresh(login.refresh_token)
  t.equal(again.outcome, 'repeated')
  t.equal(again.tokens.refresh_token, tokens.refresh_token)
  t.equal((await rig.row(login.session_id))?.generation, 1)
})

t.test('the window is measured from the first use, and no repeat extends it', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  await rig.refresh(login.refresh_token)
  for (let time = 0; time < graceWindow; time += 1_000) {
    rig.clock.time += 1_000
    t.equal((await rig.refresh(login.refresh_token)).outcome, 'repeated')
  }
  rig.clock.time += 1
  t.equal(await refusal(rig.refresh(login.refresh_token)), invalid)
  t.match(await rig.row(login.session_id), { end_reason: 'reuse' })
})

t.test('an overtaken token inside its window gets the token in force', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const second = (await rig.refresh(login.refresh_token)).tokens.refresh_token
  rig.clock.time += 5_000
  const third = (await rig.refresh(second)).tokens.refresh_token
  rig.clock.time += 1_000
  const fourth = (await rig.refresh(third)).tokens.refresh_token
  rig.clock.time += 4_000
  for (const overtaken of [login.refresh_token, second, third]) t.equal((await rig.refresh(overtaken)).tokens.refresh_token, fourth)
  rig.clock.time += 1
  t.equal((await rig.refresh(second)).tokens.refresh_token, fourth, 'the window of the second still runs')
  t.equal((await rig.refresh(fourth)).outcome, 'rotated')
  t.equal(await refusal(rig.refresh(login.refresh_token)), invalid, 'that of the first does not')
})

t.test('a used token after its window ends that session only, tells of it once, and its access tokens are refused at once', async (t) => {
  const rig = await startSessions(t)
  const [login, other] = [await rig.logIn(), await rig.logIn()]
  const { tokens } = await rig.refresh(login.refresh_token)
  rig.verify(tokens.access_token)
  rig.clock.time += graceWindow + 1
  const codes = await Promise.all(Array.from({ length: 10 }, async () => await refusal(rig.refresh(login.refresh_token))))
  t.strictSame(codes, new Array(10).fill(invalid))
  t.strictSame(rig.events, [{ event: 'reuse', session_id: login.session_id, subject: (await rig.subject()).id, reason: 'a used refresh token was shown after its grace window' }])
  for (const token of [login.access_token, tokens.access_token]) t.equal(refusedToken(rig.verify, token), 'GW_SESSION_ENDED')
  t.equal(await refusal(rig.refresh(tokens.refresh_token)), invalid, 'the token in force is dead too')
  t.equal(refusedToken(rig.verify, other.access_token), 'accepted')
  t.equal((await rig.refresh(other.refresh_token)).outcome, 'rotated')
})

t.test('a token of any age is known as used', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  let token = login.refresh_token
  for (let turn = 0; turn < 40; turn++) {
    rig.clock.time += 3_600_000
    token = (await rig.refresh(token)).tokens.refresh_token
  }
  t.ok(((await rig.row(login.session_id))?.recent_rotations.length ?? 1000) < 100, 'and the row has not grown')
  t.equal(await refusal(rig.refresh(login.refresh_token)), invalid)
  t.equal(rig.events.length, 1)
})

t.test('the lifetime is absolute', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  let token = login.refresh_token
  const end = rig.clock.time + lifetime
  while (rig.clock.time + 86_400_000 < end) {
    rig.clock.time += 86_400_000
    token = (await rig.refresh(token)).tokens.refresh_token
  }
  rig.clock.time = end - 1
  token = (await rig.refresh(token)).tokens.refresh_token
  rig.clock.time = end
  t.equal(await refusal(rig.refresh(token)), invalid)
  t.equal(await rig.sessions.inspect(token), null)
  t.strictSame(await rig.sessions.listLive((await rig.subject()).id), [])
})

t.test('no refresh after', async (t) => {
  const ends = {
    'logout': async (rig, login) => { await rig.sessions.endByRefreshToken(login.refresh_token, 'logout') },
    'the end of the session by its id': async (rig, login) => { await rig.sessions.endById(login.session_id, 'deleted') },
    'a new password': async (rig) => { await rig.users.setPassword('alice', 'another long password') },
    'the user was disabled': async (rig) => { await rig.users.disable('alice') },
    'the user was disabled and enabled': async (rig) => { await rig.users.disable('alice'); await rig.users.enable('alice') },
    'the user was removed': async (rig) => { await rig.users.remove('alice') },
    'the user was removed and one of the same name added': async (rig) => { await rig.users.remove('alice'); await rig.users.add({ name: 'alice', password }) },
    'the user vanished from a source that ends no sessions': async (rig) => { await rig.db.deleteFrom('users').execute() },
  } satisfies Record<string, (rig: Awaited<ReturnType<typeof startSessions>>, login: { session_id: string, refresh_token: string }) => Promise<void>>
  for (const [name, end] of Object.entries(ends)) {
    await t.test(name, async (t) => {
      const rig = await startSessions(t)
      const login = await rig.logIn()
      const { tokens } = await rig.refresh(login.refresh_token)
      await end(rig, login)
      for (const token of [login.refresh_token, tokens.refresh_token]) t.equal(await refusal(rig.refresh(token)), invalid)
      await rig.revocations.catchUp()
      t.equal(refusedToken(rig.verify, tokens.access_token), 'GW_SESSION_ENDED')
      t.not((await rig.row(login.session_id))?.ended_at, null)
    })
  }
})

t.test('a password that is changed while a login is under way ends that login too', async (t) => {
  for (const change of ['setPassword', 'disable and enable', 'remove'] as const) {
    const rig = await startSessions(t)
    const subject = await rig.subject()
    if (change === 'setPassword') await rig.users.setPassword('alice', 'another long password')
    else if (change === 'remove') await rig.users.remove('alice')
    else { await rig.users.disable('alice'); await rig.users.enable('alice') }
    t.equal(await refusal(rig.sessions.begin({ subject, source: 'store', clientId: 'gatewarden', userAgent: null, address: null })), 'GW_CREDENTIALS_INVALID', change)
    t.strictSame(await rig.sessions.listLive(subject.id), [])
  }
})

t.test('logging out with a used token ends its session', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const { tokens } = await rig.refresh(login.refresh_token)
  t.match(await rig.sessions.endByRefreshToken(login.refresh_token, 'logout'), { sessionId: login.session_id })
  t.equal(await refusal(rig.refresh(tokens.refresh_token)), invalid)
  t.equal(await rig.sessions.endByRefreshToken(tokens.refresh_token, 'logout'), null, 'once')
  t.strictSame(rig.events.map(({ event, reason }) => [event, reason]), [['session_ended', 'logout']])
})

t.test('a password that was changed in an htpasswd file ends its sessions at their next refresh, and no others', async (t) => {
  const rig = await startSessions(t)
  const file = join(t.testdirName, 'users')
  const lines = { sue: '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=', ann: '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=' }
  const write = (users: Record<string, string>) => {
    writeFileSync(`${file}.new`, Object.entries(users).map(([name, hash]) => `${name}:${hash}\n`).join(''))
    renameSync(`${file}.new`, file)
  }
  write(lines)
  const source = openHtpasswd({ file, roles: [], hasher: createPasswordHasher(defaults.passwords), warn: () => {}, now: rig.now })
  const sessions = rig.service({ findSubject: async (_source, id) => await source.find(id) })
  const logIn = async (username: string) => {
    const verdict = await source.check({ username, password: 'myPassword' })
    if (verdict.outcome !== 'accepted') throw new Error(verdict.outcome)
    return await sessions.begin({ subject: verdict.subject, source: source.name, clientId: 'gatewarden', userAgent: null, address: null })
  }
  const [sue, ann] = [await logIn('sue'), await logIn('ann')]
  const sueNow = (await sessions.refresh(sue.refresh_token, anyClient)).tokens
  const annNow = (await sessions.refresh(ann.refresh_token, anyClient)).tokens
  const tags = [(await rig.row(sue.session_id))?.credential_tag, (await rig.row(ann.session_id))?.credential_tag]
  t.match(tags[0], /^[\w-]{43}$/)
  t.not(tags[0], tags[1], 'and the same password is not seen to be the same')
  write({ ...lines, sue: '$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/' })
  t.equal(await refusal(sessions.refresh(sueNow.refresh_token, anyClient)), invalid)
  t.equal((await rig.row(sue.session_id))?.end_reason, 'password_changed')
  t.equal(refusedToken(rig.verify, sueNow.access_token), 'GW_SESSION_ENDED')
  t.equal((await sessions.refresh(annNow.refresh_token, anyClient)).outcome, 'rotated')
})

t.test("a session of another client's is not refreshed, nor ended for the try", async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn({ clientId: 'app' })
  const asked: string[] = []
  const other = { clientId: 'other', mayUse: (id: string) => { asked.push(id); return id === 'other' } }
  t.equal(await refusal(rig.sessions.refresh(login.refresh_token, other)), invalid)
  t.strictSame(asked, ['app'])
  t.equal((await rig.refresh(login.refresh_token)).outcome, 'rotated')
})

t.test('tokens that were not made here cost no query', async (t) => {
  const rig = await startSessions(t)
  const { refresh_token: good } = await rig.logIn()
  let queries = 0
  const counting: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    async transformResult ({ result }) {
      queries++
      return result
    },
  }
  const sessions = rig.service({ db: rig.db.withPlugin(counting) })
  const foreign = createRefreshTokens(Buffer.alloc(32, 9)).first().text
  const twisted = ['', 'x', good.slice(0, -1), good.slice(0, 50), `${good}=`, `${good} `, `${good}A`, good.toUpperCase(), `gwr_${good.slice(4).split('').reverse().join('')}`, foreign, '\0'.repeat(95)]
  for (const token of twisted) {
    t.equal(await refusal(sessions.refresh(token, anyClient)), invalid)
    t.equal(await sessions.endByRefreshToken(token, 'logout'), null)
    t.equal(await sessions.inspect(token), null)
  }
  t.equal(queries, 0)
  t.equal((await sessions.refresh(good, anyClient)).outcome, 'rotated')
  t.ok(queries > 0)
})

t.test('tokens of our own making that the storage does not know are refused, and end nothing', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const tokens = createRefreshTokens(refreshTokenKey)
  t.equal(await refusal(rig.refresh(tokens.first().text)), invalid, 'no such session')
  const shown = tokens.read(login.refresh_token)
  if (shown === null) throw new Error('not readable')
  t.equal(await refusal(rig.refresh(tokens.successor(shown).text)), invalid, 'ahead of its session, as after a restored backup')
  // Of the right session and generation, but not of its chain: nobody without the key can make it.
  const another = tokens.successor({ ...shown, generation: -1, secret: Buffer.alloc(32) })
  t.equal(another.generation, 0)
  t.equal(await refusal(rig.refresh(another.text)), invalid, 'not the one in force')
  t.equal((await rig.refresh(login.refresh_token)).outcome, 'rotated')
  t.strictSame(rig.events, [])
  t.equal(await refusal(rig.refresh(another.text)), invalid, 'nor is it one that leads to it')
})

t.test('a clock that is set back logs nobody out', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const { tokens } = await rig.refresh(login.refresh_token)
  rig.clock.time -= 3_600_000
  t.equal((await rig.refresh(login.refresh_token)).tokens.refresh_token, tokens.refresh_token)
  const next = await rig.refresh(tokens.refresh_token)
  t.equal(next.outcome, 'rotated')
  t.equal((await rig.refresh(login.refresh_token)).tokens.refresh_token, next.tokens.refresh_token)
  rig.clock.time += 3_600_000 + graceWindow + 1
  t.equal(await refusal(rig.refresh(tokens.refresh_token)), invalid, 'and catches reuse afterwards')
})

t.test('storage that fails is 503, and says nothing of itself', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const subject = await rig.subject()
  await rig.storage.close()
  const calls = [
    rig.refresh(login.refresh_token), rig.sessions.endById(login.session_id, 'deleted'), rig.sessions.endByRefreshToken(login.refresh_token, 'logout'),
    rig.sessions.inspect(login.refresh_token), rig.sessions.listLive(subject.id),
    rig.sessions.begin({ subject, source: 'store', clientId: 'gatewarden', userAgent: null, address: null }),
  ]
  for (const call of calls) {
    const thrown: unknown = await call.catch((error: unknown) => error)
    if (!(thrown instanceof Refusal)) throw new Error(String(thrown))
    t.equal(thrown.code, 'GW_UNAVAILABLE')
    t.equal(thrown.statusCode, 503)
    t.ok(thrown.details.retryAfterSeconds)
    t.notMatch(thrown.message, /sqlite|database/i)
  }
  t.equal(refusedToken(rig.verify, login.access_token), 'accepted', 'tokens are still verified')
})

t.test('lists what its owner may know of a session', async (t) => {
  const rig = await startSessions(t)
  const { session_id: id } = await rig.logIn({ clientId: 'app', userAgent: 'Browser/1', address: '192.0.2.1' })
  await rig.users.add({ name: 'bob', password })
  const at = new Date(rig.clock.time).toISOString()
  t.strictSame(await rig.sessions.listLive((await rig.subject()).id), [{
    id, client_id: 'app', created_at: at, last_used_at: at, expires_at: new Date(rig.clock.time + lifetime).toISOString(), user_agent: 'Browser/1', address: '192.0.2.1',
  }])
  t.strictSame(await rig.sessions.listLive('another'), [])
})

t.test('inspects only the token in force, and rotates nothing', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn({ clientId: 'app' })
  const { id: subject } = await rig.subject()
  t.strictSame(await rig.sessions.inspect(login.refresh_token), { sessionId: login.session_id, subject, clientId: 'app', expiresAt: rig.clock.time + lifetime })
  const { tokens } = await rig.refresh(login.refresh_token)
  t.equal(await rig.sessions.inspect(login.refresh_token), null)
  t.ok(await rig.sessions.inspect(tokens.refresh_token))
  t.equal((await rig.row(login.session_id))?.generation, 1)
  await rig.sessions.endById(login.session_id, 'deleted', subject)
  t.equal(await rig.sessions.inspect(tokens.refresh_token), null)
})

t.test('the storage keeps the hash of the token in force, and no token', async (t) => {
  const rig = await startSessions(t)
  const login = await rig.logIn()
  const { tokens } = await rig.refresh(login.refresh_token)
  const inForce = createRefreshTokens(refreshTokenKey).read(tokens.refresh_token)
  t.equal((await rig.row(login.session_id))?.token_hash, inForce === null ? '' : hashOf(inForce))
})

t.test('deletes sessions once neither their refresh tokens nor their access tokens can matter', async (t) => {
  const rig = await startSessions(t)
  const [ended, live] = [await rig.logIn(), await rig.logIn()]
  await rig.sessions.endById(ended.session_id, 'deleted')
  rig.clock.time += accessTokenLifetime
  t.equal(await rig.sessions.deleteExpired(), 0)
  rig.clock.time += graceWindow + 1
  t.equal(await rig.sessions.deleteExpired(), 1)
  t.equal(await refusal(rig.refresh(ended.refresh_token)), invalid)
  t.ok(await rig.row(live.session_id))
  rig.clock.time += lifetime
  t.equal(await rig.sessions.deleteExpired(), 1)
  t.equal(await rig.row(live.session_id), undefined)
})

t.test('deletes a thousand by and by: refreshes come between, and who closes waits for no end of it', async (t) => {
  const rig = await startSessions(t)
  const { session_id: id, refresh_token: token } = await rig.logIn()
  const row = await rig.row(id)
  if (row === undefined) throw new Error('no row')
  const rows = Array.from({ length: 1_200 }, (_, number) => ({ ...row, id: `session ${number}`, expires_at: 1, access_until: 1 }))
  await rig.db.transaction().execute(async (transaction) => {
    for (const one of rows) await transaction.insertInto('sessions').values(one).execute()
  })
  const left = async () => (await rig.db.selectFrom('sessions').select('id').where('expires_at', '=', 1).execute()).length
  const stopping = new AbortController()
  const cleaning = rig.sessions.deleteExpired(stopping.signal)
  t.equal((await rig.refresh(token)).outcome, 'rotated')
  const meanwhile = await left()
  t.ok(meanwhile > 0, `${meanwhile} were left after a refresh`)
  stopping.abort()
  const deleted = await cleaning
  t.equal(await left(), 1_200 - deleted)
  t.ok(deleted < 1_200)
  t.equal(await rig.sessions.deleteExpired(), 1_200 - deleted)
  t.ok(await rig.row(id))
})
