/** Logins that must fail, and must tell nothing: who has an account, and how near a password was. */
import type { AttackClass, Judge, Score } from './attack.ts'
import { answerOf, type Range } from './range.ts'
import { requestText } from './request-text.ts'

export const login: AttackClass = {
  name: 'login',
  claim: 'only the right name and password log in, and a refusal does not tell which of them was wrong',
  async run (range, score) {
    await right(range, score)
    await enumeration(range, score)
    await nearly(range, score)
    forget(range)
    await right(range, score)
    await otherDress(range, score)
    forget(range)
    await flood(range, score)
    // Guesses of others must not lock the owner out, who has logged in from here before.
    await right(range, score)
    forget(range)
  },
}

/** The throttle's memory of failures runs out: what is to be shown next is not that it slows guesses down. */
export function forget ({ config: { throttle }, advance }: Range): void {
  advance(throttle.window + throttle.maximumDelay + 1_000)
}

async function right (range: Range, score: Score): Promise<void> {
  const { plain, inFile, password } = range.users
  for (const username of [plain, ...inFile === null ? [] : [inFile], ...range.endpoints.map(({ users }) => users.good)]) {
    const { status, body, sent } = await range.post('/auth/login', { username, password })
    score.noteControl(`${username} with the right password`, status === 200 && typeof body['access_token'] === 'string' ? null : `it was answered ${status}`, sent)
  }
}

/** The same status, words and headers for somebody and for nobody. */
async function enumeration (range: Range, score: Score): Promise<void> {
  const { neighbour, password } = range.users
  const passwords = { 'a wrong one': 'wrong', 'an empty one': '', 'one with a NUL': `${password}\u0000`, 'one that is too long': 'x'.repeat(1025), 'a very long one': 'x'.repeat(8_000) }
  let count = 0
  for (const [what, wrong] of Object.entries(passwords)) {
    const told = new Map<string, string>()
    for (const username of [neighbour, ...range.endpoints.flatMap(({ users }) => [users.good, users.refused]), `attack-nobody-${count++}`]) {
      forget(range)
      const text = loginText(range, JSON.stringify({ username, password: wrong }))
      const outcome = await score.attack(`${what}, for ${username}`, text, refusedLogin(400, 401, 429))
      const { body } = answerOf(outcome, '')
      const { request_id: _, ...said } = body
      const names = outcome.answer.headers.map(([name]) => name.toLowerCase()).sort()
      told.set(JSON.stringify({ status: outcome.answer.status, said, names }), text)
    }
    score.note(`${what}: somebody and nobody are told apart`, told.size === 1 ? null : [...told.keys()].join(' and '), [...told.values()].join('\n'))
  }
}

/** The right password, almost; the right name, almost. */
async function nearly (range: Range, score: Score): Promise<void> {
  const { plain, neighbour, password } = range.users
  const attempts: [string, string][] = [
    [plain, password.slice(0, -1)], [plain, `${password}\u0000x`], [plain, `${password}x`], [plain, password.toUpperCase()],
    [`${plain}\u0000`, password], [`${plain}\u0000x`, password], [`${plain}%00`, password], [`${plain}' --`, password], [`${plain}*`, password], ["' OR '1'='1' --", password], ['*', password], ['%', password], ['attack-%', password], ['', password], ['../attack-plain', password], ['x'.repeat(257), password],
    [neighbour, `${password} `],
    ...range.endpoints.flatMap(({ users: { good, refused } }): [string, string][] => [
      [good, password.slice(0, -1)], [good, `${password}x`], [good, `${password}\u0000`], [good, `${password}\u0000x`], [good, `${password} `], [good, password.toUpperCase()], [`${good}\u0000`, password], [`${good}\u0000x`, password], [`${good} `, password], [`${good}%00`, password], [refused, password],
    ]),
  ]
  for (const [username, typed] of attempts) {
    forget(range)
    await score.attack(`${JSON.stringify(username.slice(0, 24))} with ${typed === password ? 'the password of another' : 'almost the password'}`, loginText(range, JSON.stringify({ username, password: typed })), refusedLogin(400, 401, 429))
  }
}

/** The right name and password, in a form that another site's page could send, or that two readers read differently. */
async function otherDress (range: Range, score: Score): Promise<void> {
  const { plain: username, password } = range.users
  const good = JSON.stringify({ username, password })
  const form = `username=${username}&password=${encodeURIComponent(password)}`
  const types = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonx', 'application/json, text/plain', 'application/json;charset=utf-16', 'application/json ; x', 'application/json\u000b', 'text/json', 'application/ld+json', 'application/json/x', '', 'application/json; charset=utf-7', '*/*']
  for (const type of types) await score.attack(`content type ${JSON.stringify(type)}`, requestText({ method: 'POST', target: '/auth/login', host: range.host, lines: [`Content-Type: ${type}`], body: good }), refusedLogin())
  await score.attack('no content type', requestText({ method: 'POST', target: '/auth/login', host: range.host, body: good }), refusedLogin())
  for (const encoding of ['gzip', 'deflate', 'br', 'x']) await score.attack(`content encoding ${encoding}`, loginText(range, good, [`Content-Encoding: ${encoding}`]), refusedLogin())
  const bodies: Record<string, string> = {
    'a list': `[${good}]`, 'text': JSON.stringify(good), 'a password in a list': JSON.stringify({ username, password: [password] }), 'a name in a list': JSON.stringify({ username: [username], password }), 'a query for a password': JSON.stringify({ username, password: { $ne: null } }), 'a query for a name': JSON.stringify({ username: { $gt: '' }, password }),
    'a number': JSON.stringify({ username, password: 0 }), 'true': JSON.stringify({ username, password: true }), 'null': JSON.stringify({ username, password: null }), 'no password': JSON.stringify({ username }), 'in a prototype': `{"__proto__":${good}}`, 'in an escaped prototype': `{"__pro\\u0074o__":${good}}`, 'in a constructor': `{"constructor":{"prototype":${good}}}`,
    'in another member': JSON.stringify({ user: { username, password } }), 'in other letters': JSON.stringify({ Username: username, Password: password }), 'a trailing comma': good.replace('}', ',}'), 'a comment': good.replace('{', '{/**/'), 'two objects': `${good}${good}`, 'cut short': good.slice(0, -1), 'UTF-16': Buffer.from(good, 'utf16le').toString('latin1'),
    'a byte that is no UTF-8': good.replace('attack', 'att\u00ffack'), 'half a character': good.replace(password, `${password}\\ud800`), 'very deep': `${'['.repeat(8_000)}`, 'a prefix against inclusion': `)]}',\n${good}`, 'nothing': '', 'a form': form, 'too large': JSON.stringify({ username, password, filler: 'x'.repeat(1024 * 1024) }),
  }
  for (const [what, body] of Object.entries(bodies)) await score.attack(`a body that is ${what}`, loginText(range, body), refusedLogin())
  for (const [what, text] of Object.entries({
    'in the query': requestText({ method: 'POST', target: `/auth/login?${form}`, host: range.host, lines: ['Content-Type: application/json'], body: '{}' }),
    'by GET': requestText({ target: `/auth/login?${form}`, host: range.host }),
    'by PUT': loginText(range, good).replace('POST', 'PUT'),
    'by GET with a body': loginText(range, good).replace('POST', 'GET'),
    'by an override': requestText({ target: '/auth/login', host: range.host, lines: ['X-HTTP-Method-Override: POST', 'Content-Type: application/json'], body: good }),
    'in Basic credentials': requestText({ method: 'POST', target: '/auth/login', host: range.host, lines: [`Authorization: Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`, 'Content-Length: 0'] }),
    'as JSON for a form': requestText({ method: 'POST', target: '/oauth/token', host: range.host, lines: ['Content-Type: application/json'], body: JSON.stringify({ grant_type: 'password', username, password }) }),
    'twice in a form': requestText({ method: 'POST', target: '/oauth/token', host: range.host, lines: ['Content-Type: application/x-www-form-urlencoded'], body: `grant_type=password&username=nobody&${form}` }),
    'in the query of a grant': requestText({ method: 'POST', target: `/oauth/token?grant_type=password&${form}`, host: range.host, lines: ['Content-Type: application/x-www-form-urlencoded', 'Content-Length: 0'] }),
    'of an unknown client': requestText({ method: 'POST', target: '/oauth/token', host: range.host, lines: ['Content-Type: application/x-www-form-urlencoded'], body: `grant_type=password&${form}&client_id=attack-unknown` }),
    'of another grant': requestText({ method: 'POST', target: '/oauth/token', host: range.host, lines: ['Content-Type: application/x-www-form-urlencoded'], body: `grant_type=client_credentials&${form}` }),
    'at another spelling of the path': loginText(range, good).replace('/auth/login', '/auth//login'),
  })) await score.attack(`right, but ${what}`, text, refusedLogin())
}

/** Guess after guess: the same series of answers for somebody and for nobody. */
async function flood (range: Range, score: Score): Promise<void> {
  const { attempts } = range.config.throttle
  const guesses = Math.min(attempts, MOST_GUESSES) + 2
  const series = new Map<string, string>()
  for (const username of [range.users.neighbour, 'attack-nobody', ...range.endpoints.map(({ users }) => users.refused)]) {
    forget(range)
    const statuses: number[] = []
    for (let count = 0; count < guesses; count++) {
      const { status, sent } = await range.post('/auth/login', { username, password: `guess ${count}` })
      statuses.push(status)
      if (status === 429) break
      if (status !== 401) score.note(`a guess at ${username}`, `it was answered ${status}`, sent)
    }
    series.set(username, statuses.at(-1) === 429 ? 'throttled' : statuses.join(' '))
  }
  const answers = [...series.values()]
  score.note(`${guesses} guesses: somebody and nobody are told apart`, new Set(answers).size === 1 ? null : answers.join(' and '), [...series.keys()].join(' and '))
  if (attempts <= MOST_GUESSES) score.note(`${guesses} guesses are not slowed down`, answers.every((one) => one === 'throttled') ? null : answers.join(' and '), [...series.keys()].join(' and '))
}

/** Each costs a hash. */
const MOST_GUESSES = 12

function loginText (range: Range, body: string, lines: readonly string[] = []): string {
  return requestText({ method: 'POST', target: '/auth/login', host: range.host, lines: ['Content-Type: application/json', ...lines], body })
}

function refusedLogin (...statuses: readonly number[]): Judge {
  return ({ answer, seen }) => {
    if (seen.length > 0) return 'it reached an upstream'
    if (answer.text.includes('access_token":') || answer.status < 400 || answer.status >= 500) return `it was answered ${answer.status}`
    return statuses.length === 0 || statuses.includes(answer.status) ? null : `it was answered ${answer.status}`
  }
}
