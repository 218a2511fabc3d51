/** Users of an endpoint of the operator's: it says who they are there and nobody else, and what it takes back ends. */
import { sourceName } from '../credentials/credential-chain.ts'
import type { AttackClass, Score } from './attack.ts'
import { forget } from './login.ts'
import type { OwnEndpoint } from './own-endpoints.ts'
import { claimsOf, type Range, type Tokens } from './range.ts'

export const endpointUsers: AttackClass = {
  name: 'endpoint users',
  claim: 'an endpoint speaks for users of its own alone, what cannot be read of them logs nobody in, and who is gone there is gone',
  async run (range, score) {
    for (const endpoint of range.endpoints) {
      // Nothing is shown by refusals of an endpoint that refuses everybody.
      if (!await right(range, score, endpoint)) continue
      await ids(range, score, endpoint)
      await unreadable(range, score, endpoint)
      await disabled(range, score, endpoint)
      await refreshes(range, score, endpoint)
      endpoint.say({})
      await right(range, score, endpoint)
    }
  },
}

/** As the gateway is to call its user of that id. */
function subjectOf (endpoint: OwnEndpoint, id: string): string {
  return endpoint.source.subject === 'prefixed' ? `${sourceName(endpoint.source)}:${id}` : id
}

async function right (range: Range, score: Score, endpoint: OwnEndpoint): Promise<boolean> {
  const { subject, why, sent } = await attempt(range, endpoint)
  score.noteControl(`${sourceName(endpoint.source)}: the right password`, subject === null ? why : null, sent)
  return subject !== null
}

/** Whom a login was taken for; null where it was refused. */
async function attempt (range: Range, { users }: OwnEndpoint): Promise<{ readonly subject: unknown, readonly status: number, readonly why: string, readonly sent: string }> {
  forget(range)
  const { status, body, sent } = await range.post('/auth/login', { username: users.good, password: range.users.password })
  const subject = typeof body['access_token'] === 'string' ? claimsOf(body['access_token'])['sub'] : null
  return { subject, status, why: `it was answered ${status}${subject === null ? '' : `, for ${String(subject)}`}`, sent }
}

/** One that a user there may have chosen, or counts up to, is theirs, and nobody else's. */
async function ids (range: Range, score: Score, endpoint: OwnEndpoint): Promise<void> {
  const ours = String(range.tokenTarget().claims['sub'])
  const written = [
    ...range.config.credentials.map((source) => `${sourceName(source)}:${ours}`),
    ...range.config.trustedIssuers.map(({ name }) => `${name}|${ours}`),
  ]
  // Where ids are taken as they are, no other source has bare ones, and none may be written as those of others are.
  const isPrefixed = endpoint.source.subject === 'prefixed'
  const taken = [endpoint.id, ...isPrefixed ? [ours, ...written] : []]
  for (const id of [endpoint.id, ...isPrefixed ? [ours] : [], ...written]) {
    endpoint.say({ id })
    const { subject, why, sent } = await attempt(range, endpoint)
    score.note(`${sourceName(endpoint.source)}: the id ${id}`, subject === (taken.includes(id) ? subjectOf(endpoint, id) : null) ? null : why, sent)
  }
}

/** 503: the user is not to blame, and nobody is logged in. */
async function unreadable (range: Range, score: Score, endpoint: OwnEndpoint): Promise<void> {
  const ids: unknown[] = [undefined, null, '', ' ', ' 1', '1\n', 'a\r\nX-Injected: id', 'a\u0000', 'x'.repeat(256), 1.5, true, [1], ['1'], {}, { id: '1' }]
  const lists: unknown[] = ['admin root, x', ['admin,root'], ['a b'], ['a\r\nX-Injected: list'], ['"admin"'], [1], [['admin']], { 0: 'admin' }, 1, true, ' ["admin"', '["a,b"]']
  const said = [
    ...ids.map((id) => ({ id })),
    ...lists.flatMap((list) => [{ roles: list }, ...typeof list === 'string' ? [] : [{ scopes: list }]]),
    ...[['x'], '[]', 'x', 1, true].map((attributes) => ({ attributes })),
  ]
  for (const changes of said) {
    endpoint.say(changes)
    const { subject, status, why, sent } = await attempt(range, endpoint)
    score.note(`${sourceName(endpoint.source)}: unreadable, ${JSON.stringify(changes).slice(0, 60)}`, subject === null && status === 503 ? null : why, sent)
  }
}

async function disabled (range: Range, score: Score, endpoint: OwnEndpoint): Promise<void> {
  for (const value of [true, 1, -1, 'true', 'yes', 'locked', '2020-01-01T00:00:00Z', {}, []]) {
    endpoint.say({ disabled: value })
    const { subject, status, why, sent } = await attempt(range, endpoint)
    score.note(`${sourceName(endpoint.source)}: disabled, ${JSON.stringify(value)}`, subject === null && status === 401 ? null : why, sent)
  }
}

/** What has become of somebody since the login. */
async function refreshes (range: Range, score: Score, endpoint: OwnEndpoint): Promise<void> {
  const { findUrl, fields } = endpoint.source
  const ask = async ({ refresh_token: token }: Tokens) => await range.post('/auth/refresh', { refresh_token: token })
  const logIn = async () => {
    endpoint.say({})
    forget(range)
    return await range.logIn(endpoint.users.good)
  }
  const { status, body, sent } = await ask(await logIn())
  score.noteControl(`${sourceName(endpoint.source)}: a refresh`, status === 200 && typeof body['access_token'] === 'string' ? null : `it was answered ${status}`, sent)
  if (findUrl === undefined) {
    score.leaveOut(`what becomes of users of ${sourceName(endpoint.source)} after their login: without findUrl it is not asked, as configured`)
    return
  }
  const ends: Record<string, Parameters<OwnEndpoint['say']>[0]> = { 'who is gone': null, 'who is disabled': { disabled: true }, ...fields.version === undefined ? {} : { 'who has a new password': { version: 'second' } } }
  for (const [who, said] of Object.entries(ends)) {
    const tokens = await logIn()
    endpoint.say(said)
    const refused = await ask(tokens)
    score.note(`${sourceName(endpoint.source)}: a refresh of somebody ${who}`, refused.status === 401 && refused.body['access_token'] === undefined ? null : `it was answered ${refused.status}`, refused.sent)
    endpoint.say({})
    const again = await ask(tokens)
    score.note(`${sourceName(endpoint.source)}: a refresh of somebody ${who}, once more after they came back`, again.status === 401 && again.body['access_token'] === undefined ? null : `it was answered ${again.status}`, again.sent)
  }
  const tokens = await logIn()
  endpoint.say({ id: 'attack-another' })
  const confused = await ask(tokens)
  score.note(`${sourceName(endpoint.source)}: a refresh that is answered with another user`, confused.status === 503 && confused.body['access_token'] === undefined ? null : `it was answered ${confused.status}`, confused.sent)
}
