/** Tokens in the name of another issuer that is trusted: what it alone may say, and what not even it may say. */
import { shapes } from '../tokens/algorithms.ts'
import { both, refusedAs, served, type AttackClass, type Judge, type Score } from './attack.ts'
import type { Outcome } from './exchange.ts'
import { confusedKeys, otherPen, unsignedTokens, type Target } from './forged-tokens.ts'
import type { OwnIssuer, OwnIssuerKey } from './own-issuers.ts'
import { forge, type Pen } from './pen.ts'
import { answerOf, type Range } from './range.ts'
import { bearer, requestText, wire } from './request-text.ts'

export const foreignTokens: AttackClass = {
  name: 'other issuers',
  claim: 'a trusted issuer speaks for its own users alone, within what it is believed, and nobody else speaks for it',
  async run (range, score) {
    const { issuers } = range
    if (issuers.length === 0) return
    const aims = aimsOf(range)
    const aim = aims.find(tellsOf('sub')) ?? aims[0]
    if (!tellsOf('sub')(aim)) score.leaveOut('whom an upstream takes for whom: no header tells of sub')
    if (aim === aims.at(-1)) score.leaveOut(`what an upstream sees: no route that takes any token tells of sub, and all was shown to ${aim.path}`)
    for (const issuer of issuers) {
      const { trusted: { name }, keys: [key] } = issuer
      if (key === undefined) continue
      const others = issuers.filter((one) => one !== issuer)
      if (others.length === 0) score.leaveOut(`what one issuer says in the name of another: ${name} is the only one`)
      for (const { pen } of issuer.keys) await score.control(`${name}, ${pen.algorithm}: its own token`, ask(aim, signed(range, issuer, pen)), takenAs(aim, subjectOf(issuer, subject)))
      for (const one of issuer.keys) await forged(range, score, { aim, issuer, others, key: one })
      await othersSubjects(range, score, { aim, issuer, others, key })
      await unbelieved(range, score, { aims, issuer, key })
      await ourSessions(range, score, { issuer, key })
      for (const { pen } of issuer.keys) await score.control(`${name}, ${pen.algorithm}: its own token, after all of them`, ask(aim, signed(range, issuer, pen)), takenAs(aim, subjectOf(issuer, subject)))
    }
    await score.control('our own token, after all of them', ask(aim, range.token()), takenAs(aim, ourSubject(range)))
  },
}

const subject = 'attack-alice'

/** A place that takes any good token, and tells whose it is. */
interface Aim {
  readonly method: string
  readonly path: string
  readonly host: string
  /** Header → claim. */
  readonly headers: Readonly<Record<string, string>>
  readonly passes: Judge
  readonly told: (outcome: Outcome) => readonly (readonly [name: string, value: string])[]
}

interface Case {
  readonly aim: Aim
  readonly issuer: OwnIssuer
  readonly others: readonly OwnIssuer[]
  readonly key: OwnIssuerKey
}

/** The last is always there: it tells whoever asks what an upstream would be told. */
function aimsOf ({ config, routes, host }: Range): [Aim, ...Aim[]] {
  const verify: Aim = {
    method: 'GET',
    path: '/auth/verify',
    host,
    headers: config.identity.headers,
    passes: ({ answer }) => answer.status === 200 ? null : `it was answered ${answer.status}`,
    told: ({ answer }) => answer.headers,
  }
  const [first, ...others] = routes.filter(({ isPublic, rule }) => !isPublic && rule === null).map((route): Aim => ({
    method: route.method,
    path: route.path,
    host: route.host,
    headers: route.config.identity?.headers ?? config.identity.headers,
    passes: served(route.upstreamPath(route.path)),
    told: ({ seen }) => seen.flatMap(({ headers }) => headers),
  }))
  return first === undefined ? [verify] : [first, ...others, verify]
}

function tellsOf (claim: string) {
  return ({ headers }: Aim): boolean => Object.values(headers).includes(claim)
}

function ask ({ method, path, host }: Pick<Aim, 'method' | 'path' | 'host'>, token: string): string {
  return requestText({ method, target: path, host, lines: [bearer(wire(token))] })
}

function takenAs ({ headers, passes, told }: Aim, sub: string): Judge {
  const names = Object.entries(headers).filter(([, claim]) => claim === 'sub').map(([name]) => name.toLowerCase())
  return both(passes, (outcome) => {
    const subjects = told(outcome).filter(([name]) => names.includes(name.toLowerCase())).map(([, value]) => value)
    return subjects.length === names.length && subjects.every((one) => one === sub) ? null : `it was taken for ${JSON.stringify(subjects)}, not for ${sub}`
  })
}

/** Refused for the token's own sake: that its keys are not known (503) would show nothing. */
function refusedWith (code: string): Judge {
  return both(refusedAs(401), (outcome) => {
    const found = answerOf(outcome, '').code
    return found === code ? null : `it was called ${String(found)}, not ${code}`
  })
}

function signed (range: Range, issuer: OwnIssuer, pen: Pen, changes: Readonly<Record<string, unknown>> = {}): string {
  return forge(pen, headerOf(issuer, pen), { ...claimsOf(range, issuer), ...changes })
}

/** Of a type that is taken of this issuer: a twist that is refused for its type would show nothing. */
function headerOf ({ trusted: { tokenTypes } }: OwnIssuer, { algorithm, kid }: Pen): Readonly<Record<string, unknown>> {
  const typ = tokenTypes.find((type) => type === 'at+jwt' || type === 'JWT')
  return { alg: algorithm, kid, ...(typ === undefined ? {} : { typ }) }
}

function claimsOf (range: Range, { trusted: { issuer, audience } }: OwnIssuer): { readonly iss: string, readonly iat: number } & Readonly<Record<string, unknown>> {
  const iat = Math.floor(range.now() / 1000)
  return { iss: issuer, sub: subject, aud: typeof audience === 'string' ? audience : audience[0], iat, exp: iat + 300 }
}

/** As upstreams are to see it. */
function subjectOf ({ trusted }: OwnIssuer, sub: string): string {
  return trusted.subject === 'prefixed' ? `${trusted.name}|${sub}` : sub
}

function ourSubject (range: Range): string {
  return String(range.tokenTarget().claims['sub'])
}

/** Without its key, or with it in a name that is not its own, or for somebody else, or too late. */
async function forged (range: Range, score: Score, one: Case): Promise<void> {
  const { aim, issuer, key: { pen, publicJwk } } = one
  const name = `${issuer.trusted.name}, ${pen.algorithm}`
  const claims = claimsOf(range, issuer)
  const header = headerOf(issuer, pen)
  const long = Math.ceil(range.config.accessToken.clockTolerance / 1000) + 300
  const expired = { ...claims, iat: claims.iat - long - 300, exp: claims.iat - long }
  const invalid = { ...withOtherKeys(range, one), ...inOtherNames(range, one), 'expired, and signed with a key of nobody': forge(otherPen(pen), header, expired) }
  for (const [what, token] of Object.entries(invalid)) await score.attack(`${name}: ${what}`, ask(aim, token), refusedWith('GW_TOKEN_INVALID'))
  const target: Target = { pen, publicJwk, header, claims, nowSeconds: claims.iat }
  for (const { name: what, token, code } of [...unsignedTokens(target), ...confusedKeys(target)]) await score.attack(`${name}: ${what}`, ask(aim, token), refusedWith(code))
  await score.attack(`${name}: expired`, ask(aim, forge(pen, header, expired)), refusedWith('GW_TOKEN_EXPIRED'))
}

function withOtherKeys (range: Range, { issuer, others, key: { pen } }: Case): Record<string, string> {
  const claims = claimsOf(range, issuer)
  const header = headerOf(issuer, pen)
  const strangers = [
    ['our key', range.tokenTarget().pen] as const,
    ...others.flatMap(({ trusted, keys }) => keys.map((key) => [`the ${key.pen.algorithm} key of ${trusted.name}`, key.pen] as const)),
  ]
  return {
    'signed with a key of nobody': forge(otherPen(pen), header, claims),
    ...Object.fromEntries(strangers.flatMap(([what, by]) => [
      [`signed with ${what}, under the kid of that`, forge(by, { ...header, alg: by.algorithm, kid: by.kid }, claims)],
      [`signed with ${what}, under its own kid`, forge(by, { ...header, alg: by.algorithm }, claims)],
      [`signed with its own key, under the kid of ${what}`, forge(pen, { ...header, kid: by.kid }, claims)],
    ])),
    // One RSA key could serve them all: the key says which it is for, and the token may only agree (RFC 8725 §3.1).
    ...Object.fromEntries(otherRsaAlgorithms(pen).map((algorithm) => [`signed with its own key by ${algorithm}`, forge({ ...pen, algorithm }, { ...header, alg: algorithm }, claims)])),
  }
}

function otherRsaAlgorithms ({ algorithm: own }: Pen): Pen['algorithm'][] {
  if (shapes[own].kind !== 'rsa') return []
  return (['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const).filter((algorithm) => algorithm !== own)
}

function inOtherNames (range: Range, { issuer, key: { pen } }: Case): Record<string, string> {
  const { iss } = claimsOf(range, issuer)
  const { claims: ours, pen: { kid } } = range.tokenTarget()
  const header = { ...headerOf(issuer, pen), typ: 'at+jwt' }
  // JSON leaves undefined members out.
  return {
    'its key, in our name': forge(pen, header, ours),
    'its key, in our name and under our kid': forge(pen, { ...header, kid }, ours),
    'its key, in nobody\'s name': signed(range, issuer, pen, { iss: undefined }),
    'its key, in its name and a slash behind it': signed(range, issuer, pen, { iss: `${iss}/` }),
    'its key, in its name in capitals': signed(range, issuer, pen, { iss: iss.toUpperCase() }),
    'its key, in a list of names': signed(range, issuer, pen, { iss: [iss, ours['iss']] }),
    'for another audience': signed(range, issuer, pen, { aud: 'attack-elsewhere' }),
    'for other audiences': signed(range, issuer, pen, { aud: ['attack-elsewhere', 'attack-nowhere'] }),
    'for no audience': signed(range, issuer, pen, { aud: undefined }),
  }
}

/** A subject that reads as one of ours, or as one of another issuer, is neither. */
async function othersSubjects (range: Range, score: Score, { aim, issuer, others, key: { pen } }: Case): Promise<void> {
  const { name, subject: naming } = issuer.trusted
  if (naming === 'prefixed') {
    for (const sub of [ourSubject(range), ...others.map((other) => subjectOf(other, subject))]) await score.attack(`${name}: the subject ${sub}`, ask(aim, signed(range, issuer, pen, { sub })), takenAs(aim, `${name}|${sub}`))
    return
  }
  score.leaveOut(`subjects of ${name} that are ours too: they are one user, as configured`)
  for (const { trusted } of [issuer, ...others]) {
    const sub = `${trusted.name}|${subject}`
    await score.attack(`${name}: the subject ${sub}`, ask(aim, signed(range, issuer, pen, { sub })), refusedWith('GW_TOKEN_INVALID'))
  }
}

/** Roles and scopes that it may not give: no upstream is told of them, and no rule is met by them. */
async function unbelieved (range: Range, score: Score, { aims, issuer, key: { pen } }: Pick<Case, 'issuer' | 'key'> & { readonly aims: readonly Aim[] }): Promise<void> {
  const { name } = issuer.trusted
  for (const kind of ['roles', 'scopes'] as const) {
    const believed = issuer.trusted[kind]
    if (believed === undefined) continue
    const given = (values: readonly string[]) => kind === 'roles' ? { roles: values } : { scope: values.join(' ') }
    const aim = aims.find(tellsOf(kind === 'roles' ? 'roles' : 'scope'))
    if (aim !== undefined) await score.attack(`${name}: ${kind} that it may not give`, ask(aim, signed(range, issuer, pen, given([range.marker]))), both(aim.passes, (outcome) => aim.told(outcome).some(([, value]) => value.includes(range.marker)) ? 'they were told of' : null))
    let demanded = false
    for (const route of range.routes) {
      const { access } = route.config
      const beyond = typeof access === 'string' ? [] : access[kind]?.filter((value) => !believed.includes(value)) ?? []
      if (beyond.length === 0) continue
      demanded = true
      const claims = { ...route.rule, ...claimsOf(range, issuer), ...given(beyond) }
      await score.attack(`${name}: ${kind} that it may not give, where ${route.name} demands them`, ask(route, signed(range, issuer, pen, claims)), refusedAs(403))
    }
    if (aim === undefined && !demanded) score.leaveOut(`${kind} that ${name} may not give: no header and no rule tells of them`)
  }
}

/** A login of ours is not theirs to look at, or to end. */
async function ourSessions (range: Range, score: Score, { issuer, key: { pen } }: Pick<Case, 'issuer' | 'key'>): Promise<void> {
  const { sub, sid } = range.tokenTarget().claims
  const ways: Record<string, Pick<Aim, 'method' | 'path'>> = {
    'the list of sessions of somebody of ours': { method: 'GET', path: '/auth/sessions' },
    'the end of a session of ours': { method: 'DELETE', path: `/auth/sessions/${String(sid)}` },
    'the logout of somebody of ours': { method: 'POST', path: '/auth/logout' },
  }
  for (const [what, way] of Object.entries(ways)) await score.attack(`${issuer.trusted.name}: ${what}`, ask({ ...way, host: range.host }, signed(range, issuer, pen, { sub, sid })), refusedAs(401, 403))
}
