/**
 * Account lock-out as a weapon (CWE-645): where so many wrong passwords close an account, anybody who knows a name closes it, for
 * its owner. Here failures only delay, each longer than the one before, and only those who are strange to the account: from an
 * address with an earlier success of that account its owner gets in at once, under a count of its own. An owner who is strange
 * too waits no longer than the longest delay. And the attacker learns from none of it whether the name is somebody's.
 */
import t from 'tap'
import { defaults } from '../login/config-of.ts'
import { password, startLogin } from '../login/login-rig.ts'

const throttle = { ...defaults.throttle, attempts: 5, attemptsPerAddress: 1_000, maximumDelay: 60_000 }
const rig = await startLogin(t, { throttle })
const { call, clock } = rig
const logIn = async (username: string, secret: string, from: string) => await call('POST', '/auth/login', { json: { username, password: secret }, from })
const home = '192.0.2.1'
const home6 = '2001:db8:1:1::1'

t.test('the owner is known at home', async (t) => {
  for (const from of [home, home6]) t.equal((await logIn('alice', password, from)).statusCode, 200)
})

t.test('hundreds of wrong passwords do not keep the owner out of home', async (t) => {
  for (let guess = 0; guess < 200; guess++) await logIn('alice', `guess ${guess}`, `198.51.100.${guess}`)
  t.equal((await logIn('alice', password, '198.51.100.1')).statusCode, 429, 'strangers wait')
  for (const from of [home, `::ffff:${home}`, home6, '2001:db8:1:1:ffff::2']) t.equal((await logIn('alice', password, from)).statusCode, 200, from)
})

t.test('at home too passwords are not guessed without end, and the owner has a count for each place', async (t) => {
  const statuses: number[] = []
  for (let guess = 0; guess < 7; guess++) statuses.push((await logIn('alice', `guess ${guess}`, home)).statusCode)
  t.strictSame(statuses, [401, 401, 401, 401, 401, 429, 429])
  t.equal((await logIn('alice', password, home6)).statusCode, 200)
  clock.time += 1_000
  t.equal((await logIn('alice', password, home)).statusCode, 200, 'after a delay of a second, and the count begins anew')
  for (let guess = 0; guess < 5; guess++) t.equal((await logIn('alice', `guess ${guess}`, home)).statusCode, 401)
})

t.test('the owner elsewhere waits no longer than the longest delay, however long the attack has gone on', async (t) => {
  for (let round = 0; round < 12; round++) {
    const { headers } = await logIn('alice', 'guess', `203.0.113.${round}`)
    clock.time += Number(headers['retry-after'] ?? 0) * 1_000
    await logIn('alice', 'guess', `203.0.113.${round}`)
  }
  const refused = await logIn('alice', password, '203.0.113.200')
  t.equal(refused.statusCode, 429)
  t.equal(Number(refused.headers['retry-after']), throttle.maximumDelay / 1_000)
  clock.time += throttle.maximumDelay
  t.equal((await logIn('alice', password, '203.0.113.200')).statusCode, 200)
})

t.test('being refused makes the wait no longer', async (t) => {
  for (let guess = 0; guess < 6; guess++) await logIn('bob', 'guess', '198.51.100.9')
  for (let again = 0; again < 50; again++) t.equal((await logIn('bob', password, '198.51.100.9')).statusCode, 429)
  clock.time += 1_000
  t.equal((await logIn('bob', password, '198.51.100.9')).statusCode, 200)
})

t.test('a name that nobody has is delayed like one that somebody has, by /auth/login and /oauth/token alike', async (t) => {
  clock.time += 10 * throttle.window
  const form = async (username: string, from: string) => await call('POST', '/oauth/token', { form: { grant_type: 'password', username, password: 'guess' }, from })
  const told: Record<string, unknown[]> = { alice: [], mallory: [] }
  for (const [name, answers] of Object.entries(told)) {
    for (let guess = 0; guess < 9; guess++) {
      const answer = guess % 2 === 0 ? await logIn(name, 'guess', `198.51.100.${guess}`) : await form(name, `198.51.100.${guess}`)
      answers.push([answer.statusCode, answer.headers['retry-after'], answer.headers['www-authenticate'], answer.body.replace(/"request_id":"[^"]*"/, '')])
    }
  }
  t.strictSame(told['alice'], told['mallory'])
  t.match(told['alice']?.at(-1), [429, '1'])
})

t.test('failures end no session: whoever is logged in stays so', async (t) => {
  const { refresh_token: token } = await rig.logIn('alice', { from: home })
  for (let guess = 0; guess < 30; guess++) await logIn('alice', 'guess', `198.51.101.${guess}`)
  t.equal((await call('POST', '/auth/refresh', { json: { refresh_token: token }, from: '203.0.113.77' })).statusCode, 200)
})
