/** What can be done with a refresh token by whoever should not: each must end in 401, and harm nobody else's session. */
import type { AttackClass, Score } from './attack.ts'
import { claimsOf, type Range, type Tokens } from './range.ts'
import { bearer, requestText } from './request-text.ts'

export const refresh: AttackClass = {
  name: 'refresh',
  claim: 'a refresh token is good once, for its own session and nothing else; what has ended stays ended, at once',
  async run (range, score) {
    await garbage(range, score)
    await wrongKind(range, score)
    await replay(range, score)
    await ends(range, score)
    await neighbours(range, score)
    await races(range, score)
    await lifetime(range, score)
  },
}

/** What the gateway answers to the access token: 200 while it is good. */
async function statusOf (range: Range, token: string): Promise<number> {
  return (await range.send(requestText({ target: '/auth/verify', host: range.host, lines: [bearer(token)] }))).answer.status
}

/** Every attempt must be refused with these statuses. */
async function refuse (range: Range, score: Score, name: string, body: Readonly<Record<string, unknown>>, statuses: readonly number[] = [401]): Promise<void> {
  const { status, body: said, sent } = await range.post('/auth/refresh', body)
  score.note(name, statuses.includes(status) && said['access_token'] === undefined ? null : `it was answered ${status}`, sent)
}

async function renew (range: Range, score: Score, name: string, token: string): Promise<Tokens> {
  const { status, body, sent } = await range.post('/auth/refresh', { refresh_token: token })
  const { access_token: access = '', refresh_token: next = '' } = body
  const isGood = status === 200 && typeof access === 'string' && typeof next === 'string' && await statusOf(range, access) === 200
  score.noteControl(name, isGood ? null : `it was answered ${status}`, sent)
  return { access_token: String(access), refresh_token: String(next) }
}

async function garbage (range: Range, score: Score): Promise<void> {
  const { access_token: access, refresh_token: good } = await range.logIn(range.users.plain)
  const { sid, sub, jti } = claimsOf(access)
  const turned = Array.from({ length: 12 }, (_, index) => {
    const at = Math.floor((index + 1) * good.length / 13)
    return `${good.slice(0, at)}${good[at] === 'A' ? 'B' : 'A'}${good.slice(at + 1)}`
  })
  const spellings = [
    '', ' ', 'null', 'undefined', 'gwr_', good.slice(0, -1), good.slice(1), good.slice(0, good.length / 2), good.slice(4), `${good}A`, `${good}=`, `${good}==`, `${good} `, ` ${good}`, `${good}\n`, `${good}\u0000`, `${good}.`, `${good}${good}`, good.toUpperCase(), good.toLowerCase(),
    good.replace('gwr_', 'GWR_'), good.replace('gwr_', 'gwr-'), good.replaceAll('-', '+').replaceAll('_', '/'), good.split('').reverse().join(''), encodeURIComponent(`${good}%`), Buffer.from(good).toString('base64url'), `gwr_${'A'.repeat(good.length - 4)}`, `gwr_${Buffer.alloc(51).toString('base64url')}`, 'x'.repeat(10_000),
    access, String(sid), String(sub), String(jti), `gwr_${String(sid)}`, `Bearer ${good}`, "' OR '1'='1", '*', '%', '../../etc/passwd', ...turned,
  ].filter((text) => text !== good)
  for (const text of spellings) await refuse(range, score, `garbage ${JSON.stringify(text.slice(0, 24))} of ${text.length} characters`, { refresh_token: text }, [400, 401])
  for (const value of [[good], { $ne: null }, { $gt: '' }, { toString: good }, null, true, 0, 1]) await refuse(range, score, `of another type: ${JSON.stringify(value).slice(0, 24)}`, { refresh_token: value }, [400])
  await refuse(range, score, 'under another name', { refreshToken: good, token: good }, [400])
  await refuse(range, score, 'in a prototype', JSON.parse(JSON.stringify({ x: 1 }).replace('"x":1', `"__proto__":{"refresh_token":${JSON.stringify(good)}}`)) as Record<string, unknown>, [400])
  for (const [name, text] of [
    ['in the query', requestText({ method: 'POST', target: `/auth/refresh?refresh_token=${good}`, host: range.host, lines: ['Content-Length: 0'] })],
    ['by GET', requestText({ target: `/auth/refresh?refresh_token=${good}`, host: range.host })],
    ['as a bearer token', requestText({ method: 'POST', target: '/auth/refresh', host: range.host, lines: [bearer(good), 'Content-Length: 0'] })],
    ['in a cookie', requestText({ method: 'POST', target: '/auth/refresh', host: range.host, lines: [`Cookie: refresh_token=${good}`, 'Content-Length: 0'] })],
    ['as a form', requestText({ method: 'POST', target: '/auth/refresh', host: range.host, lines: ['Content-Type: application/x-www-form-urlencoded'], body: `refresh_token=${good}` })],
    ['as text, as a page of another site may send it', requestText({ method: 'POST', target: '/auth/refresh', host: range.host, lines: ['Content-Type: text/plain'], body: JSON.stringify({ refresh_token: good }) })],
  ] as const) await score.attack(name, text, ({ answer }) => answer.status >= 400 && answer.status < 500 && !answer.text.includes('access_token') ? null : `it was answered ${answer.status}`)
  await renew(range, score, 'the good one after all of them', good)
}

async function wrongKind (range: Range, score: Score): Promise<void> {
  const { access_token: access, refresh_token: good } = await range.logIn(range.users.plain)
  const own = ['/auth/verify', '/auth/sessions'].map((path) => ({ name: path, method: 'GET', path, host: range.host }))
  const aims = [...own, ...range.routes.filter(({ isPublic }) => !isPublic)]
  for (const { name, method, path, host } of aims) {
    await score.attack(`as an access token at ${name}`, requestText({ method, target: path, host, lines: [bearer(good)] }), ({ answer, seen }) => answer.status === 401 && seen.length === 0 ? null : `it was answered ${answer.status}`)
  }
  await refuse(range, score, 'an access token as a refresh token', { refresh_token: access })
  await renew(range, score, 'the good one as what it is', good)
}

async function replay (range: Range, score: Score): Promise<void> {
  const other = await range.logIn(range.users.plain)
  const first = await range.logIn(range.users.plain)
  const second = await renew(range, score, 'the first use', first.refresh_token)
  const again = await range.post('/auth/refresh', { refresh_token: first.refresh_token })
  // A window of nothing is a window too.
  if (range.config.refreshToken.graceWindow > 1_000) score.note('a replay within the window buys no chain of its own', again.status === 200 && again.body['refresh_token'] === second.refresh_token ? null : `it was answered ${again.status} with another successor`, again.sent)
  range.advance(range.config.refreshToken.graceWindow + 1_000)
  await refuse(range, score, 'a replay after the window', { refresh_token: first.refresh_token })
  await refuse(range, score, 'the successor, after the replay told of a theft', { refresh_token: second.refresh_token })
  const status = await statusOf(range, second.access_token)
  score.note('its access token likewise', status === 401 ? null : `it was answered ${status}`, bearer(second.access_token))
  await renew(range, score, 'another session of the same user', other.refresh_token)
}

async function ends (range: Range, score: Score): Promise<void> {
  const ways: Record<string, (tokens: Tokens) => Promise<{ status: number }>> = {
    'logout with the refresh token': ({ refresh_token: token }) => range.post('/auth/logout', { refresh_token: token }),
    'logout with the access token': ({ access_token: token }) => range.post('/auth/logout', {}, token),
    'revocation': async ({ refresh_token: token }) => (await range.send(requestText({ method: 'POST', target: '/oauth/revoke', host: range.host, lines: ['Content-Type: application/x-www-form-urlencoded'], body: `token=${token}` }))).answer,
    'deletion of the session': async ({ access_token: token }) => (await range.send(requestText({ method: 'DELETE', target: `/auth/sessions/${String(claimsOf(token)['sid'])}`, host: range.host, lines: [bearer(token)] }))).answer,
  }
  for (const [way, end] of Object.entries(ways)) {
    const first = await range.logIn(range.users.plain)
    const second = await renew(range, score, `before ${way}`, first.refresh_token)
    // In the gateway's memory as a good one.
    await statusOf(range, second.access_token)
    const { status } = await end(second)
    score.noteControl(way, status === 200 || status === 204 ? null : `it was answered ${status}`, way)
    for (const [which, token] of [['the access token', second.access_token], ['an earlier access token', first.access_token]] as const) {
      const answered = await statusOf(range, token)
      score.note(`${which} after ${way}`, answered === 401 ? null : `it was answered ${answered}`, bearer(token))
      for (const route of range.routes.filter(({ needsToken }) => needsToken)) {
        await score.attack(`${which} after ${way}, at ${route.name}`, requestText({ method: route.method, target: route.path, host: route.host, lines: [bearer(token)] }), ({ answer, seen }) => answer.status === 401 && seen.length === 0 ? null : `it was answered ${answer.status}`)
      }
    }
    await refuse(range, score, `the refresh token after ${way}`, { refresh_token: second.refresh_token })
    await refuse(range, score, `an earlier refresh token after ${way}`, { refresh_token: first.refresh_token })
  }
}

async function neighbours (range: Range, score: Score): Promise<void> {
  const mine = await range.logIn(range.users.plain)
  const theirs = await range.logIn(range.users.neighbour)
  const session = String(claimsOf(theirs.access_token)['sid'])
  const refusedAs404 = ({ answer }: { answer: { status: number } }) => answer.status === 404 || answer.status === 400 ? null : `it was answered ${answer.status}`
  for (const id of [session, session.toUpperCase(), `${session}%00`, `..%2f${session}`, '*', '%25', `x/../${session}`]) {
    await score.attack(`ending a neighbour's session as ${id === session ? 'its id' : JSON.stringify(id)}`, requestText({ method: 'DELETE', target: `/auth/sessions/${id}`, host: range.host, lines: [bearer(mine.access_token)] }), refusedAs404)
  }
  await score.attack("a neighbour's session in the list of one's own", requestText({ target: '/auth/sessions', host: range.host, lines: [bearer(mine.access_token)] }), ({ answer }) => answer.text.includes(session) ? 'it is shown' : null)
  await renew(range, score, "the neighbour's session after all of it", theirs.refresh_token)
}

async function races (range: Range, score: Score): Promise<void> {
  for (let round = 0; round < 4; round++) {
    const { refresh_token: token } = await range.logIn(range.users.plain)
    const tries = await Promise.all([1, 2, 3, 4].map((place) => place === 3 ? range.post('/auth/logout', { refresh_token: token }) : range.post('/auth/refresh', { refresh_token: token })))
    for (const { body, sent } of tries) {
      const { access_token: access, refresh_token: next } = body
      if (typeof access !== 'string' || typeof next !== 'string') continue
      const status = await statusOf(range, access)
      score.note('an access token that was bought beside the logout', status === 401 ? null : `it was answered ${status}`, sent)
      await refuse(range, score, 'a refresh token that was bought beside the logout', { refresh_token: next })
    }
    const { refresh_token: raced } = await range.logIn(range.users.plain)
    const all = await Promise.all([1, 2, 3, 4].map(() => range.post('/auth/refresh', { refresh_token: raced })))
    const successors = new Set(all.flatMap(({ body }) => typeof body['refresh_token'] === 'string' ? [body['refresh_token']] : []))
    score.note('four at once get no more than one successor', successors.size === 1 ? null : `there are ${successors.size}`, all[0]?.sent ?? '')
  }
}

/** Last: the clock goes to where every session that was begun here has ended. */
async function lifetime (range: Range, score: Score): Promise<void> {
  const { access_token: access, refresh_token: token } = await range.logIn(range.users.plain)
  const { accessToken, refreshToken } = range.config
  range.advance(accessToken.lifetime + accessToken.clockTolerance + 1_000)
  const status = await statusOf(range, access)
  score.note('an access token after its time', status === 401 ? null : `it was answered ${status}`, bearer(access))
  const next = await renew(range, score, 'its refresh token, which goes on', token)
  range.advance(refreshToken.lifetime)
  await refuse(range, score, 'a refresh token after the time of its session, though it was renewed', { refresh_token: next.refresh_token })
}
