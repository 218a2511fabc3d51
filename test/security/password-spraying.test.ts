/**
 * Password spraying (MITRE ATT&CK T1110.003): one common password at every name, so that no account sees more than one failure. From
 * one address, from a whole IPv6 /64 that one machine has for itself, with X-Forwarded-For that claims another address each time,
 * with names in many spellings, and mixed with good logins of the attacker's own. Here an address is counted whomever it guesses at.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { defaults } from '../login/config-of.ts'
import { password, startLogin } from '../login/login-rig.ts'

const perAddress = 15
const rig = await startLogin(t, { throttle: { ...defaults.throttle, attemptsPerAddress: perAddress } })
const { call } = rig
const spray = async (username: string, from: string, secret = 'Summer2026!') => (await call('POST', '/auth/login', { json: { username, password: secret }, from })).statusCode

async function sprayed (count: number, from: (number: number) => string, name = (number: number) => `user ${number}`): Promise<number> {
  let tried = 0
  for (let number = 0; number < count; number++) if (await spray(name(number), from(number)) === 401) tried++
  return tried
}

t.test('one address gets through its count, and no further, at whatever names', async (t) => {
  t.equal(await sprayed(60, () => '198.51.100.1'), perAddress)
  t.equal(await spray('alice', '198.51.100.1', password), 429, 'not even with the right one')
  t.equal(await spray('alice', '198.51.100.2', password), 200, 'its neighbour is somebody else')
})

t.test('a /64 is one address, in every spelling; the next /64 is another', async (t) => {
  t.equal(await sprayed(60, (number) => number % 2 === 0 ? `2001:db8:5:6:${number.toString(16)}::1` : `2001:0DB8:0005:0006::${number.toString(16)}`), perAddress)
  t.equal(await spray('somebody', '2001:db8:5:7::1'), 401)
})

t.test('an IPv4 address is one, by whatever socket it comes', async (t) => {
  t.equal(await sprayed(60, (number) => number % 2 === 0 ? '198.51.100.3' : '::ffff:198.51.100.3'), perAddress)
})

t.test('good logins of the attacker’s own wash nothing away', async (t) => {
  let tried = 0
  for (let number = 0; number < 60; number++) {
    if (await spray(`victim ${number}`, '198.51.100.4') === 401) tried++
    if (number % 3 === 0) await spray('bob', '198.51.100.4', password)
  }
  t.ok(tried <= perAddress, String(tried))
})

t.test('one account in many spellings is one account', async (t) => {
  const spellings = ['carol', 'CAROL', 'Carol', 'ｃａｒｏｌ', 'caro\u2113', 'ᶜarol']
  t.equal(await sprayed(40, (number) => `203.0.113.${number}`, (number) => spellings[number % spellings.length] ?? ''), defaults.throttle.attempts)
})

t.test('a password in the field of the name is no name that is kept', async (t) => {
  await spray('my secret passphrase 42', '203.0.113.99')
  const rows = JSON.stringify(await rig.db.selectFrom('login_attempts').selectAll().execute())
  t.notMatch(rows, /secret passphrase/)
  t.notMatch(rig.log.text(), /secret passphrase/)
})

t.test('no header makes another address of a client that is no trusted proxy', async (t) => {
  const gateway = await startTestGateway(t, { throttle: { attemptsPerAddress: 5, attempts: 100 }, routes: [{ path: '/', upstream: 'http://127.0.0.1:9', access: 'public' }] })
  const statuses: number[] = []
  for (let number = 0; number < 12; number++) {
    const from = `203.0.113.${number}`
    const { status } = await fetch(`${gateway.url}/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': from, 'forwarded': `for=${from}`, 'x-real-ip': from, 'true-client-ip': from, 'cf-connecting-ip': from, 'x-client-ip': from },
      body: JSON.stringify({ username: `user ${number}`, password: 'Summer2026!' }),
    })
    statuses.push(status)
  }
  t.strictSame(statuses, [...Array<number>(5).fill(401), ...Array<number>(7).fill(429)])
})
