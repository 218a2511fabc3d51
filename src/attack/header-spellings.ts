/**
 * Headers by which a client would speak for somebody, or of another path or method than the one that was checked, in every
 * spelling that some server folds into the real one (CVE-2025-64484, CVE-2026-33805; CGI: RFC 3875 §4.1.18).
 */
import { both, nothingOf, refused, type AttackClass, type Judge, type Score } from './attack.ts'
import type { AimedRoute, Range } from './range.ts'
import { valuesOf } from './recording-upstream.ts'
import { bearer, handshakeLines, requestText } from './request-text.ts'

/** Header names that are tokens to HTTP (RFC 9110 §5.1), and the given one to somebody. */
export function spellings (name: string): string[] {
  const camel = name.split('-')
  const separators = ['_', '.', '~', '!', '#', '$', '%', '&', "'", '*', '+', '^', '`', '|', '--', '-_', '__']
  const singles = camel.slice(1).map((_, place) => camel.reduce((text, part, index) => `${text}${index === place + 1 ? '_' : '-'}${part}`))
  return [...new Set([
    name, name.toLowerCase(), name.toUpperCase(), [...name].map((letter, index) => index % 2 === 0 ? letter.toLowerCase() : letter.toUpperCase()).join(''),
    ...separators.map((separator) => camel.join(separator)), ...singles, ...separators.slice(0, 2).map((separator) => camel.join(separator).toUpperCase()),
    `${name}-`, `${name}_`, `${name}.`, `-${name}`, `_${name}`, `_HTTP_${camel.join('_')}`, `HTTP_${camel.join('_').toUpperCase()}`, `HTTP-${name}`, `http_${camel.join('_').toLowerCase()}`, `Http.${name}`,
  ])]
}

/** Lines that no parser should take: white space and bytes that have no place in a name. */
function malformed (name: string, value: string): string[] {
  return [
    `${name} : ${value}`, `${name}\t: ${value}`, ` ${name}: ${value}`, `\t${name}: ${value}`, `${name}\u0000: ${value}`, `${name}\u000b: ${value}`, `${name}\u00ad: ${value}`, `${name}\u00a0: ${value}`, `${name.replaceAll('-', ' ')}: ${value}`, `${name.replaceAll('-', '\u00ad')}: ${value}`,
    `"${name}": ${value}`, `${name}; x: ${value}`, `${name}`, `:${name}: ${value}`, `: ${value}`, `${name}(x): ${value}`, `\u00ff${name}: ${value}`, `X-A: b\r${name}: ${value}`, `X-A: b\n${name}: ${value}`, `X-A: b\r\n ${name}: ${value}`, `X-A: b\r\r\n${name}: ${value}`, `X-A: b\u0000\r\n${name}: ${value}`,
  ]
}

export const identityHeaders: AttackClass = {
  name: 'identity headers',
  claim: 'an upstream learns who is calling from the gateway alone, on every route and in every spelling',
  async run (range, score) {
    const { marker } = range
    const names = identityNames(range)
    for (const route of range.routes) {
      const callers: [string, readonly string[], Judge][] = []
      if (!route.needsToken) callers.push(['nobody', [], saysNothing(range, route)])
      if (!route.isPublic) callers.push(['a user', [bearer(range.tokenFor(route))], saysWho(range, route)])
      else callers.push(['a user', [bearer(range.token())], saysNothing(range, route)])
      for (const [caller, lines, judge] of callers) {
        const ask = (more: readonly string[], body?: string) => requestText({ method: route.method, target: route.path, host: route.host, lines: [...lines, ...more], ...body === undefined ? {} : { body } })
        const holds = both(nothingOf(marker), judge)
        await score.control(`${route.name}, ${caller}: without any of it`, ask(['X-Other: kept']), both(reaches, judge, keeps('x-other', 'kept')))
        for (const name of names) {
          for (const spelling of spellings(name)) await score.attack(`${route.name}, ${caller}: ${spelling}`, ask([`${spelling}: ${marker}`]), holds)
          for (const line of malformed(name, marker)) await score.attack(`${route.name}, ${caller}: ${JSON.stringify(line)}`, ask([line]), holds)
        }
        const all = names.flatMap(spellings).map((spelling) => `${spelling}: ${marker}`)
        for (const [way, text] of ways(route, range, lines, all)) await score.attack(`${route.name}, ${caller}: ${way}`, text, holds)
        for (const nominated of [...names, names.join(', '), `close, ${names[0] ?? ''}`, 'X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Host', 'Authorization']) {
          await score.attack(`${route.name}, ${caller}: Connection: ${nominated}`, ask([`Connection: ${nominated}`]), both(holds, reaches, writtenByTheGateway))
        }
      }
      if (!route.isPublic) {
        for (const [what, line] of [['a forged token', bearer('x.y.z')], ['an expired token', bearer(range.token({ iat: 1, exp: 2 }))], ['an empty token', 'Authorization: Bearer']] as const) {
          await score.attack(`${route.name}: ${what} and who they say they are`, requestText({ method: route.method, target: route.path, host: route.host, lines: [line, ...names.map((name) => `${name}: ${marker}`)] }), refused)
        }
      }
    }
    await askedAbout(range, score, names)
  },
}

/** Another proxy forwards the request that it asks about: what the answer does not replace, the upstream sees (docs/decisions/0022). */
async function askedAbout (range: Range, score: Score, names: readonly string[]): Promise<void> {
  const user = bearer(range.token())
  const ask = (lines: readonly string[]) => requestText({ target: '/auth/verify', host: range.host, lines: [user, ...lines] })
  await score.control('/auth/verify: a user', ask([]), ({ answer }) => answer.status === 200 ? null : `it was answered ${answer.status}`)
  for (const spelling of names.flatMap(spellings)) await score.attack(`/auth/verify: ${spelling}`, ask([`${spelling}: ${range.marker}`]), replaces(spelling))
}

function replaces (name: string): Judge {
  return ({ answer }) => answer.status !== 200 || answer.headers.some(([one]) => one.toLowerCase() === name.toLowerCase()) ? null : `the answer lets it through, and replaces ${name} by nothing`
}

/** Every way for a head to reach an upstream that goes through other code than a plain GET. */
function * ways (route: AimedRoute, range: Range, caller: readonly string[], lines: readonly string[]): Generator<[string, string]> {
  const { marker } = range
  const { path: target, method, host } = route
  const few = lines.slice(0, 12)
  const request = (more: readonly string[], body?: string, of = method) => requestText({ method: of, target, host, lines: [...caller, ...more], ...body === undefined ? {} : { body } })
  // All at once, but no more than the gateway takes.
  yield ['all spellings at once', request(lines.slice(0, Math.floor(range.config.limits.headers / 64)))]
  yield ['each twice', request(few.flatMap((line) => [line, line]))]
  yield ['before and behind the caller', requestText({ method, target, host, lines: [...few, ...caller, ...few] })]
  yield ['behind very many headers', request([...Array.from({ length: Math.floor(range.config.limits.headers / 16) }, (_, index) => `${index}:`), ...few])]
  yield ['nominated, and there', request([`Connection: ${few.map((line) => line.split(':')[0]).join(', ')}`, ...few])]
  yield ['with Expect', request(['Expect: 100-continue', ...few], 'x')]
  yield ['with an offer of HTTP/2', request(['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA', ...few])]
  yield ['in absolute form', requestText({ method, target: `http://${host}${target}`, host, lines: [...caller, ...few] })]
  yield ['by HTTP/1.0', request(few).replace(' HTTP/1.1\r\n', ' HTTP/1.0\r\n')]
  yield ['of an event stream', request(['Accept: text/event-stream', ...few])]
  if (method === 'GET') {
    yield ['by HEAD', request(few, undefined, 'HEAD')]
    yield ['in a WebSocket handshake', request([...handshakeLines, ...few])]
    yield ['in a WebSocket handshake, nominated', request([...handshakeLines.slice(1), `Connection: Upgrade, ${few[0]?.split(':')[0] ?? ''}`, ...few])]
    yield ['in a WebSocket handshake that is refused', requestText({ target: `${target}/no-upgrade`, host, lines: [...caller, ...handshakeLines, ...few] })]
  }
  const trailers = few.join('\r\n')
  for (const announced of [['Trailer: X-User-Id, X_User_Id'], [], ['TE: trailers', 'Connection: TE']]) {
    yield [`in trailers${announced.length === 0 ? ', unannounced' : ''}`, `${request(['Transfer-Encoding: chunked', ...announced])}2\r\nhi\r\n0\r\n${trailers}\r\n\r\n`]
  }
  yield ['in a chunk extension', `${request(['Transfer-Encoding: chunked'])}2;X-User-Id=${marker}\r\nhi\r\n0;X-User-Id: ${marker}\r\n\r\n`]
}

export const overridingHeaders: AttackClass = {
  name: 'overrides',
  claim: 'no header tells an upstream of another path, method, host or address than those that were checked',
  async run (range, score) {
    const { marker, isTrustedProxy } = range
    const names = overriding.filter((name) => !isTrustedProxy || !believedOfProxies.test(name))
    for (const route of range.routes) {
      const caller = route.needsToken ? [bearer(range.tokenFor(route))] : []
      const ask = (lines: readonly string[]) => requestText({ method: route.method, target: route.path, host: route.host, lines: [...caller, ...lines] })
      await score.control(`${route.name}: without any of it`, ask([]), both(reaches, writtenByTheGateway))
      for (const name of names) {
        for (const spelling of [name, name.replaceAll('-', '_'), name.toLowerCase().replaceAll('-', '.')]) {
          await score.attack(`${route.name}: ${spelling}`, ask([`${spelling}: /${marker}`]), both(nothingOf(marker), reaches))
        }
      }
    }
  },
}

/** What frameworks, balancers and CDNs believe when they are told. */
const overriding = [
  'X-Original-URL', 'X-Original-URI', 'X-Rewrite-URL', 'X-Original-Host', 'X-Original-Forwarded-For', 'X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override', 'X-HTTP-Host-Override', 'X-Host', 'Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto',
  'X-Forwarded-Port', 'X-Forwarded-Prefix', 'X-Forwarded-Server', 'X-Forwarded-User', 'X-Forwarded-Email', 'X-Forwarded-Groups', 'X-Forwarded-Preferred-Username', 'X-Forwarded-Access-Token', 'X-Forwarded-Scheme', 'X-Forwarded-Uri', 'X-Forwarded-Method', 'X-Forwarded-Client-Cert', 'X-Forwarded-Ssl',
  'X-Real-IP', 'X-Client-IP', 'X-Cluster-Client-IP', 'True-Client-IP', 'Remote-User', 'X-Remote-User', 'Proxy', 'Proxy-Authorization', 'X-Request-Id',
]

/** What contract and documents let a trusted proxy say. */
const believedOfProxies = /^X-Forwarded-(?:For|Host|Proto|Port|Prefix)$|^X-Request-Id$/i

export function identityNames ({ config, routes }: Range): string[] {
  const mapped = [config.identity.headers, ...routes.flatMap(({ config: { identity } }) => identity === undefined ? [] : [identity.headers])].flatMap((headers) => Object.keys(headers))
  return [...new Set([...mapped, ...config.identity.reservedPrefixes.map((prefix) => `${prefix.replace(/-$/, '')}-Attack`)])]
}

/** One name for all that any server folds together. */
function folded (name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '').replace(/^http/, '')
}

function mappingOf ({ config }: Range, route: AimedRoute): Readonly<Record<string, string>> {
  return route.config.identity?.headers ?? config.identity.headers
}

/** Nobody was shown, so nothing says who. */
function saysNothing (range: Range, route: AimedRoute): Judge {
  const names = new Set(Object.keys(mappingOf(range, route)).map(folded))
  return ({ seen }) => {
    const found = seen.flatMap(({ headers }) => headers).find(([name]) => names.has(folded(name)))
    return found === undefined ? null : `the upstream saw ${found[0]} where nobody was shown`
  }
}

/** Once each, and the subject is that of the token. */
function saysWho (range: Range, route: AimedRoute): Judge {
  const subject = route.rule !== null && typeof route.rule['sub'] === 'string' ? route.rule['sub'] : String(range.tokenTarget().claims['sub'])
  const mapping = Object.entries(mappingOf(range, route))
  return ({ seen }) => {
    for (const { headers } of seen) {
      for (const [name, claim] of mapping) {
        const values = headers.filter(([one]) => folded(one) === folded(name)).map(([, value]) => value)
        if (values.length > 1) return `the upstream saw ${name} ${values.length} times`
        if (claim === 'sub' && values[0] !== subject) return `the upstream saw ${name}: ${values[0] ?? '(none)'}`
      }
    }
    return null
  }
}

const reaches: Judge = ({ answer, seen }) => seen.length === 1 ? null : `the upstream saw ${seen.length} requests; it was answered ${answer.status}`

function keeps (name: string, value: string): Judge {
  return ({ seen: [first] }) => first !== undefined && valuesOf(first, name).includes(value) ? null : `the upstream did not see ${name}`
}

/** Connection may name away what the client sent, and nothing of this. */
const writtenByTheGateway: Judge = ({ seen }) => {
  for (const one of seen) {
    for (const name of ['host', 'x-request-id', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']) {
      if (valuesOf(one, name).length !== 1) return `the upstream saw ${name} ${valuesOf(one, name).length} times`
    }
  }
  return null
}
