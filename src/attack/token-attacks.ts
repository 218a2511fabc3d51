/** Tokens that prove nothing: none, forged, twisted, of another kind, in the wrong place. Each must be refused, and like the others. */
import { METHODS } from 'node:http'
import { both, refused, refusedAs, served, type AttackClass, type Judge } from './attack.ts'
import { answerOf, type AimedRoute, type Range } from './range.ts'
import { otherSpellingOfSignature, twistedTokens, type Target, type TwistedToken } from './forged-tokens.ts'
import { bearer, handshakeLines, requestText, wire } from './request-text.ts'
import { routesAt, sharedHost } from './routes-of-host.ts'

export const withoutToken: AttackClass = {
  name: 'no token',
  claim: 'a protected route is closed to whoever shows no token, by any method and in any form',
  async run (range, score) {
    const { marker } = range
    const token = range.token()
    for (const route of range.routes.filter(({ needsToken }) => needsToken)) {
      const { method, path, host } = route
      await score.control(`${route.name} with a token`, requestText({ method, target: path, host, lines: [bearer(range.tokenFor(route))] }), served(route.upstreamPath(path)))
      // CONNECT asks for a tunnel and is answered 405; everything else must not get by.
      const open = openMethods(route, range.routes)
      for (const one of [...METHODS.filter((name) => !open.has(name)), 'get', 'Get', 'TRACK', 'DEBUG', 'FOO', 'GE T', 'PRI', '']) {
        await score.attack(`${route.name}: method ${JSON.stringify(one)}`, requestText({ method: one, target: path, host, lines: ['Content-Length: 0'] }), refused)
      }
      const forms: Record<string, readonly string[]> = {
        'an empty Authorization': ['Authorization:'],
        'Bearer without a token': ['Authorization: Bearer'],
        'Bearer and a space': ['Authorization: Bearer '],
        'Basic with a user name': ['Authorization: Basic YWRtaW46YWRtaW4='],
        'Basic with a token': [`Authorization: Basic ${Buffer.from(`x:${token}`).toString('base64')}`],
        'a token without a scheme': [`Authorization: ${token}`],
        'a token of another scheme': [`Authorization: DPoP ${token}`],
        'Token for Bearer': [`Authorization: Token ${token}`],
        'a colon behind the scheme': [`Authorization: Bearer: ${token}`],
        'a tab behind the scheme': [`Authorization: Bearer\t${token}`],
        'nothing behind the scheme': [`Authorization: Bearer${token}`],
        'the scheme twice': [`Authorization: Bearer Bearer ${token}`],
        'a list of credentials': [`Authorization: Basic eDp5, Bearer ${token}`],
        'a good token and another': [`Authorization: Bearer ${token}, Bearer x`],
        'as a parameter': [`Authorization: Bearer token="${token}"`],
        'a good Authorization behind a bad one': ['Authorization: Bearer x.y.z', bearer(token)],
        'a bad Authorization behind a good one': [bearer(token), 'Authorization: Bearer x.y.z'],
        'the same good Authorization twice': [bearer(token), bearer(token)],
        'Basic behind a good Authorization': [bearer(token), 'Authorization: Basic eDp5'],
        'a good Authorization behind Basic': ['Authorization: Basic eDp5', bearer(token)],
        'in Proxy-Authorization': [`Proxy-Authorization: Bearer ${token}`],
        'in X-Authorization': [`X-Authorization: Bearer ${token}`],
        'in another spelling of the header': [`Authorization_: Bearer ${token}`, `HTTP_AUTHORIZATION: Bearer ${token}`],
        'in X-Access-Token': [`X-Access-Token: ${token}`],
        'in a cookie': [`Cookie: access_token=${token}; token=${token}; Authorization=Bearer ${token}; jwt=${token}; session=${token}`],
        'as the protocol of a WebSocket': [...handshakeLines, `Sec-WebSocket-Protocol: bearer, ${token}`],
        'a handshake': handshakeLines,
        'an offer of HTTP/2': ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'],
        'a preflight': ['Origin: https://attacker.test', 'Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: authorization'],
        'who it says it is': [...Object.keys(range.config.identity.headers).map((name) => `${name}: ${marker}`), 'X-Forwarded-User: admin', 'Remote-User: admin'],
        'a client certificate of its own word': ['X-SSL-Client-Verify: SUCCESS', 'X-Client-Cert: x', 'X-Forwarded-Client-Cert: By=spiffe://x'],
        'from the inside': ['X-Forwarded-For: 127.0.0.1', 'X-Real-IP: 127.0.0.1', 'Forwarded: for=127.0.0.1;host=localhost', 'X-Forwarded-Host: localhost', 'X-Forwarded-Proto: https'],
      }
      for (const [form, lines] of Object.entries(forms)) {
        await score.attack(`${route.name}: ${form}`, requestText({ method, target: path, host, lines }), refusedAs(400, 401))
      }
      for (const query of [`access_token=${token}`, `token=${token}`, `jwt=${token}`, `bearer_token=${token}`, `authorization=Bearer%20${token}`]) {
        await score.attack(`${route.name}: in the query`, requestText({ method, target: `${path}?${query}`, host }), refusedAs(401))
      }
      await score.attack(`${route.name}: in a form`, requestText({ method: route.config.methods?.includes('POST') === false ? method : 'POST', target: path, host, lines: ['Content-Type: application/x-www-form-urlencoded'], body: `access_token=${token}` }), refused)
      // Without a Host it is for whoever names none: a route that names its hosts is asked at them.
      if (route.config.hosts === undefined) await score.attack(`${route.name}: HTTP/1.0 without a host`, `${method} ${path} HTTP/1.0\r\n\r\n`, refused)
      else await score.attack(`${route.name}: HTTP/1.0`, `${method} ${path} HTTP/1.0\r\nHost: ${host}\r\n\r\n`, refusedAs(401))
      await score.attack(`${route.name}: behind a request that is open to all`, `${requestText({ target: '/.well-known/jwks.json', host: range.host })}${requestText({ method, target: path, host })}`, refusedSecond, { settle: 30 })
      await score.attack(`${route.name}: in the shadow of one with a token`, `${requestText({ target: '/auth/verify', host: range.host, lines: [bearer(token)] })}${requestText({ method, target: path, host })}`, refusedSecond, { settle: 30 })
    }
  },
}

/** The same path may be open to other methods. */
function openMethods ({ config: { path }, host }: AimedRoute, routes: readonly AimedRoute[]): Set<string> {
  const open = routesAt(routes, host, path).filter(({ needsToken }) => !needsToken).flatMap(({ config: { methods } }) => methods ?? METHODS)
  return new Set(open.includes('GET') ? [...open, 'HEAD'] : open)
}

const refusedSecond: Judge = ({ text, seen }) => {
  if (seen.length > 0) return 'it reached the upstream'
  return / 401 /.test(text) || !/HTTP\/1\.1 200[\s\S]*HTTP\/1\.1 200/.test(text) ? null : 'both were answered 200'
}

export const forgedTokens: AttackClass = {
  name: 'forged tokens',
  claim: 'a token is believed only if it is ours, untouched, of the right kind, for here, and now; all others are refused alike',
  async run (range, score) {
    const asked = range.routes.filter(({ isPublic }) => !isPublic).map((route) => ({ name: route.name, method: route.method, path: route.path, host: route.host, good: range.tokenFor(route) }))
    // The last is always there, whatever the routes are. One verifier serves all: the first gets the whole corpus.
    const aims = [...asked, { name: '/auth/verify', method: 'GET', path: '/auth/verify', host: range.host, good: range.token() }]
    const target = range.tokenTarget()
    const tokens = [...twistedTokens(target).filter(isOnTheWire), ...range.config.keys.directory === undefined ? otherSignatures(target, range.token()) : []]
    for (const [index, { name, method, path, host, good }] of aims.entries()) {
      const passes: Judge = ({ answer }) => answer.status === 200 ? null : `it was answered ${answer.status}`
      await score.control(`${name}: a token that the forger's pen wrote without a twist`, requestText({ method, target: path, host, lines: [bearer(good)] }), passes)
      const answers = new Map<string, string>()
      const some = index === 0 ? tokens : tokens.filter((_, place) => place % 23 === 0)
      for (const twisted of some) await score.attack(`${name}: ${twisted.name}`, requestText({ method, target: path, host, lines: [bearer(wire(twisted.token))] }), refusedLike(twisted, answers))
      await score.control(`${name}: and again after all of them`, requestText({ method, target: path, host, lines: [bearer(good)] }), passes)
    }
  },
}

/** White space around a header's value is not part of it (RFC 9110 §5.5), and an empty line behind it ends the head. */
function isOnTheWire ({ token }: TwistedToken): boolean {
  return token === token.replace(/^[ \t]+|[ \t\r\n]+$/g, '')
}

/** A key that was brought in from outside must take both, for others may sign with it too. */
function otherSignatures ({ pen }: Target, good: string): TwistedToken[] {
  return pen.algorithm.startsWith('ES') ? [{ name: 'the other signature that verifies', token: otherSpellingOfSignature(good, pen.algorithm), code: 'GW_TOKEN_INVALID' }] : []
}

/** With the one code there is for it, and with the same words each time. */
function refusedLike ({ code }: TwistedToken, answers: Map<string, string>): Judge {
  return both(refusedAs(400, 401, 431), ({ answer }) => {
    if (answer.status !== 401) return null
    const { code: found, body } = answerOf({ answer, text: '', seen: [] }, '')
    if (found !== code) return `it was called ${String(found)}, not ${code}`
    const { request_id: _, ...said } = body
    const words = JSON.stringify({ said, challenge: answer.header('www-authenticate') })
    const before = answers.get(code) ?? words
    answers.set(code, before)
    return before === words ? null : `the answer tells it apart: ${words}`
  })
}

export const roles: AttackClass = {
  name: 'rules',
  claim: 'a route with a rule is open to those alone who meet all of it',
  async run (range, score) {
    for (const route of range.routes) {
      if (route.rule === null) continue
      const { method, path, host } = route
      const ask = (claims: Readonly<Record<string, unknown>>) => requestText({ method, target: path, host, lines: [bearer(range.token(claims))] })
      await score.control(`${route.name}: who meets it`, ask(route.rule), served(route.upstreamPath(path)))
      for (const [name, claims] of Object.entries(almost(route.rule))) await score.attack(`${route.name}: ${name}`, ask(claims), refusedAs(403))
      // A real login may well have a claim that is asked for, such as its client; roles and scopes it has none.
      if (!Object.hasOwn(route.rule, 'roles') && !Object.hasOwn(route.rule, 'scope')) continue
      await score.attack(`${route.name}: a login without any role`, requestText({ method, target: path, host, lines: [bearer((await range.logIn(range.users.plain)).access_token)] }), refusedAs(403))
      await score.attack(`${route.name}: a role in a header`, requestText({ method, target: path, host, lines: [bearer(range.token()), 'X-User-Roles: admin', `X-Roles: ${JSON.stringify(route.rule['roles'] ?? [])}`] }), refusedAs(403))
      await score.attack(`${route.name}: a role in the query`, requestText({ method, target: `${path}?roles=${encodeURIComponent(String(route.rule['roles'] ?? 'admin'))}&scope=${encodeURIComponent(String(route.rule['scope'] ?? ''))}`, host, lines: [bearer(range.token())] }), refusedAs(403))
    }
    await throughOtherRoutes(range, score)
  },
}

/** What has nothing of what it takes. */
export function lacking (rule: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.keys(rule).map((kind) => [kind, kind === 'roles' ? [] : kind === 'scope' ? '' : 'another']))
}

/** What has almost what it takes. */
function almost (rule: Readonly<Record<string, unknown>>): Record<string, Readonly<Record<string, unknown>>> {
  const cases: Record<string, Readonly<Record<string, unknown>>> = { 'nothing of it': lacking(rule) }
  for (const kind of Object.keys(rule)) {
    if (Object.keys(rule).length > 1) cases[`all but ${kind}`] = { ...rule, ...lacking({ [kind]: rule[kind] }) }
    const value = String(Array.isArray(rule[kind]) ? rule[kind][0] : rule[kind])
    for (const near of [value.toUpperCase(), value.toLowerCase(), `${value} `, ` ${value}`, `${value}x`, `x${value}`, value.slice(0, -1), `${value},${value}`, `not-${value}`, '*', '.*', `${value}/x`, `${value}:x`]) {
      if (near === value || near === '' || (kind === 'scope' && near.split(' ').includes(value))) continue
      cases[`${kind} ${JSON.stringify(near)}`] = { ...rule, [kind]: kind === 'roles' ? [near] : near }
    }
    if (kind === 'roles') Object.assign(cases, { 'the role as a scope': { ...rule, roles: [], scope: value }, 'the role as a group': { ...rule, roles: [], groups: [value], role: value, authorities: [value] } })
  }
  return cases
}

/** A caller who meets the rule of one route does not get by it to another that asks for more. */
async function throughOtherRoutes (range: Range, score: Parameters<AttackClass['run']>[1]): Promise<void> {
  const strict = range.routes.filter(({ rule }) => rule !== null)
  for (const route of strict) {
    for (const other of range.routes.filter((one) => one !== route && one.rule === null)) {
      const host = sharedHost(route, other)
      if (host === undefined) continue
      const token = range.token({ roles: [] })
      const prefix = other.config.path === '/' ? '' : other.config.path
      for (const way of [`${prefix}/..${route.path}`, `${prefix}/%2e%2e${route.path}`, `${prefix}/..;${route.path}`, `${prefix}/..%2f${route.path.slice(1)}`, `${prefix}\\..${route.path}`, `${prefix}/${route.path}`]) {
        await score.attack(`${route.name} by way of ${other.name}`, requestText({ method: other.method, target: way, host, lines: [bearer(token)] }), refused)
      }
    }
  }
}
