/**
 * Credential stuffing (OWASP, CWE-307): lists of names and passwords that leaked elsewhere, each pair tried once, from thousands of
 * addresses of a botnet. Neither an account nor an address ever sees many failures, so counting by those alone stops nothing. Here
 * all failures count together: beyond a budget per window strangers are let in one by one, at a pace that the attacker cannot raise,
 * while whoever logs in from where they have been before notices nothing. Names that nobody has are answered as those that
 * somebody has, or the list would be sorted for the next attempt.
 */
import t from 'tap'
import { defaults } from '../login/config-of.ts'
import { password, startLogin } from '../login/login-rig.ts'

const budget = 60
const throttle = { ...defaults.throttle, attemptsInAll: budget, window: 150_000 }
const rig = await startLogin(t, { throttle })
const { call, clock, events } = rig
const logIn = async (username: string, secret: string, from: string) => await call('POST', '/auth/login', { json: { username, password: secret }, from })
/** Another address each time, of both families. */
let bots = 0
const bot = () => ++bots % 2 === 0 ? `198.51.${Math.floor(bots / 250)}.${bots % 250}` : `2001:db8:${bots.toString(16)}::1`

t.test('of a list that is tried once each from everywhere, no more than the budget is hashed', async (t) => {
  t.equal((await logIn('alice', password, '192.0.2.1')).statusCode, 200, 'alice has been here')
  const answers: number[] = []
  const before = rig.hashChecks()
  for (let line = 0; line < 200; line++) answers.push((await logIn(`user${line}@example.com`, `leaked-${line}`, bot())).statusCode)
  t.equal(answers.filter((status) => status === 401).length, budget)
  t.equal(answers.filter((status) => status === 429).length, 200 - budget)
  t.equal(rig.hashChecks() - before, budget, 'and what is refused costs no hash')
  t.match(events().at(-1), { event: 'throttled', reason: 'too many failures of all accounts from all addresses together' }, 'the operator reads why')
})

t.test('a right pair on the list is not told apart from a wrong one while the budget is spent', async (t) => {
  const [right, wrong, unknown] = [await logIn('bob', password, bot()), await logIn('bob', 'wrong password', bot()), await logIn('nobody', 'wrong password', bot())]
  for (const answer of [right, wrong, unknown]) {
    t.equal(answer.statusCode, 429)
    t.match(answer.json(), { error: 'too_many_attempts', code: 'GW_TOO_MANY_ATTEMPTS' })
    t.equal(answer.headers['retry-after'], '1')
  }
})

t.test('who is known here logs in all the while, at once', async (t) => {
  for (let attempt = 0; attempt < 20; attempt++) {
    await logIn(`user${attempt}`, 'leaked', bot())
    t.equal((await logIn('alice', password, '192.0.2.1')).statusCode, 200)
  }
})

t.test('who is new gets in within the longest delay of all, however long the attack has gone on', async (t) => {
  // The attacker is there first whenever a delay ends.
  for (let round = 0; round < 8; round++) {
    const { headers } = await logIn('user1', 'leaked', bot())
    clock.time += Number(headers['retry-after'] ?? 0) * 1_000
    t.equal((await logIn(`round ${round}`, 'leaked', bot())).statusCode, 401)
  }
  const refused = await logIn('bob', password, '203.0.113.7')
  t.equal(refused.statusCode, 429)
  const wait = Number(refused.headers['retry-after'])
  t.ok(wait <= throttle.maximumDelayInAll / 1_000, `${wait} seconds`)
  clock.time += wait * 1_000
  t.equal((await logIn('bob', password, '203.0.113.7')).statusCode, 200)
  t.equal((await logIn('bob', password, '203.0.113.7')).statusCode, 200, 'and is known from then on')
})

t.test('in the long run no more pairs are tried than the budget of each window and the pace beyond it', async (t) => {
  const { window, maximumDelayInAll } = throttle
  clock.time += window
  let tried = 0
  const end = clock.time + 2 * window
  while (clock.time < end) {
    const { statusCode, headers } = await logIn(`day ${tried}`, 'leaked', bot())
    if (statusCode === 401) tried++
    else clock.time += Number(headers['retry-after']) * 1_000
  }
  t.ok(tried <= 3 * (budget + window / maximumDelayInAll + 5), `${tried} in two windows, and the rest of a third`)
})

t.test('no line of the log tells a password that was tried', async (t) => {
  t.strictSame(rig.secretsInLog(), [])
})
