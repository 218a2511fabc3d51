/**
 * Routes that name their hosts: whoever makes the gateway read another host out of a request reaches a route by another's rule
 * (RFC 9112 §3.2, RFC 3986 §3.2.2; portswigger.net/web-security/host-header). What a Host leads to is told by `routes-of-host`,
 * and that one upstream is not reached around the rule of another route, by what the upstream saw.
 */
import { hostName } from '../routes/hosts.ts'
import { both, refusedAs, served, type AttackClass, type Judge, type Score } from './attack.ts'
import type { AimedRoute, Range } from './range.ts'
import { valuesOf } from './recording-upstream.ts'
import { bearer, handshakeLines, requestText } from './request-text.ts'
import { namesHost, routesAt, unnamedHost } from './routes-of-host.ts'
import { lacking } from './token-attacks.ts'

export const hosts: AttackClass = {
  name: 'hosts',
  claim: 'a route is reached at the hosts that it names and nowhere else, and by its own rule in every spelling of them',
  async run (range, score) {
    const naming = range.routes.filter(({ config }) => config.hosts !== undefined)
    if (naming.length === 0) return
    for (const route of naming) {
      for (const host of route.config.hosts ?? []) await ownHost(range, score, route, host)
      await noHost(range, score, route)
      await spokenOf(range, score, route)
      await askedAbout(range, score, route)
      for (const host of nearHosts(route.host)) await otherHost(range, score, { route, host })
    }
    const all = [...new Set([...naming.flatMap(({ config }) => config.hosts ?? []), range.host, unnamedHost])]
    const pairs = [...naming, ...range.routes.filter(({ config, needsToken }) => config.hosts === undefined && needsToken)].flatMap((route) => all.map((host) => ({ route, host })))
    const elsewhere = pairs.filter(({ route, host }) => !namesHost(route.config, host))
    // Of very many, some.
    const step = Math.ceil(elsewhere.length / MOST_PAIRS)
    for (const pair of elsewhere.filter((_, index) => index % step === 0)) await otherHost(range, score, pair)
  },
}

const MOST_PAIRS = 500

interface Elsewhere {
  readonly route: AimedRoute
  /** One that the route does not name. */
  readonly host: string
}

/** Case, a port and the dot of the root change nothing: the route serves, and asks for what it asks for. */
async function ownHost (range: Range, score: Score, route: AimedRoute, host: string): Promise<void> {
  const { name, method, path: target } = route
  const caller = callerOf(range, route)
  await score.control(`${name}: at ${host}`, requestText({ method, target, host, lines: caller }), servedBy(route, target))
  for (const spelling of spellings(host)) {
    const ask = (lines: readonly string[]) => requestText({ method, target, host: spelling, lines })
    await score.attack(`${name}: at ${spelling}`, ask(caller), servedBy(route, target))
    await score.attack(`${name}: at ${spelling}, in absolute form`, requestText({ method, target: `http://${spelling}${target}`, host: spelling, lines: caller }), servedBy(route, target))
    if (!route.needsToken) continue
    await score.attack(`${name}: at ${spelling}, without a token`, ask([]), refusedAs(401))
    if (method === 'GET') await score.attack(`${name}: at ${spelling}, a handshake without a token`, ask(handshakeLines), refusedAs(401))
    if (route.rule !== null) await score.attack(`${name}: at ${spelling}, without what it asks for`, ask([bearer(range.token(lacking(route.rule)))]), refusedAs(403))
  }
}

function spellings (host: string): string[] {
  const ports = ['80', '443', '8443', '0']
  if (host.startsWith('[')) return [host.toUpperCase(), allGroups(host), ...ports.map((port) => `${host}:${port}`)]
  const capitals = host.toUpperCase()
  return [capitals, `${host.slice(0, 1).toUpperCase()}${host.slice(1)}`, `${host}.`, `${capitals}.`, ...ports.flatMap((port) => [`${host}:${port}`, `${capitals}.:${port}`])]
}

/** An IPv6 address without `::` (RFC 4291 §2.2). */
function allGroups (host: string): string {
  const [front = [], back = []] = hostName(host).slice(1, -1).split('::').map((groups) => groups === '' ? [] : groups.split(':'))
  return `[${[...front, ...Array.from({ length: 8 - front.length - back.length }, () => '0'), ...back].join(':')}]`
}

/** What is no Host, or two: nobody is to guess which was meant (RFC 9112 §3.2). */
async function noHost (range: Range, score: Score, route: AimedRoute): Promise<void> {
  const { name, method, path, host } = route
  const caller = callerOf(range, route)
  const request = (target: string, lines: readonly string[], version = '1.1') => `${[`${method} ${target} HTTP/${version}`, ...lines, ...caller].join('\r\n')}\r\n\r\n`
  const other = unnamedHost
  const values = [
    '', ' ', `${host}, ${other}`, `${other}, ${host}`, `${other} ${host}`, `${host} ${other}`, `user@${host}`, `${host}@${other}`, `${other}@${host}`, `${host}/`, `${host}/${other}`, `${host}:`, `${host}:x`, `${host}:80:80`, `${host}:999999`, `${host}:-80`, `${host}\\`, `${host}#`, `${host}?`,
    `${host};`, `"${host}"`, `<${host}>`, `.${host}`, `-${host}`, `${host}%00`, `${host}%2e`, `%2e${host}`, `${host}\u0000`, `\u00ef${host}`, `${host}\u00a0`, `http://${host}`, `//${host}`, `${host}\r\n ${other}`, `${other}\r\n ${host}`, '*', `*.${host}`,
  ]
  for (const value of values) await score.attack(`${name}: Host: ${JSON.stringify(value)}`, request(path, [`Host: ${value}`]), refusedAs(400))
  const forms: Record<string, readonly string[]> = {
    'no Host': [],
    'another Host behind its own': [`Host: ${host}`, `Host: ${other}`],
    'another Host before its own': [`Host: ${other}`, `Host: ${host}`],
    'another Host in small letters': [`Host: ${host}`, `host: ${other}`],
    'its own Host twice': [`Host: ${host}`, `Host: ${host}`],
    'its own Host, and an empty one': [`Host: ${host}`, 'Host:'],
    'white space before the colon': [`Host : ${host}`],
    'white space before the name': ['X: y', ` Host: ${host}`],
  }
  for (const [what, lines] of Object.entries(forms)) await score.attack(`${name}: ${what}`, request(path, lines), refusedAs(400))
  for (const [authority, sent] of [[host, other], [other, host], [`${host}@${other}`, host], [`${other}@${host}`, host], [`${host}:99`, host], [`${host}.`, host], ['', host]] as const) {
    await score.attack(`${name}: a target of ${JSON.stringify(authority)}, and Host: ${sent}`, request(`http://${authority}${path}`, [`Host: ${sent}`]), refusedAs(400))
  }
  await score.attack(`${name}: a target of its host by HTTP/1.0, and no Host`, request(`http://${host}${path}`, [], '1.0'), refusedAs(400))
}

/** Only the Host decides, whoever else tells of one: also a proxy that is believed in other things. */
async function spokenOf (range: Range, score: Score, route: AimedRoute): Promise<void> {
  const { name, method, path: target, host } = route
  const { caller, judge } = expected(range, { route, host: unnamedHost })
  const headers = ['X-Forwarded-Host', 'X-Host', 'X-Original-Host', 'X-HTTP-Host-Override', 'X-Forwarded-Server', 'Host_', 'HTTP_HOST', 'X_Forwarded_Host'].map((header) => `${header}: ${host}`)
  for (const line of [...headers, `Forwarded: host=${host}`, `Forwarded: for=127.0.0.1;host="${host}"`, `X-Original-URL: http://${host}${target}`, `X-Forwarded-Uri: http://${host}${target}`, `Origin: http://${host}`, `Referer: http://${host}${target}`, `:authority: ${host}`]) {
    // A name that begins with a colon is none.
    await score.attack(`${name}: ${line}`, requestText({ method, target, host: unnamedHost, lines: [...caller, line] }), line.startsWith(':') ? refusedAs(400) : judge)
  }
  await score.attack(`${name}: HTTP/1.0 without a host`, `${[`${method} ${target} HTTP/1.0`, ...caller].join('\r\n')}\r\n\r\n`, judge)
}

/** Another proxy asks about the host that it says, and is told by the same rules; of anybody else's word nothing is taken. */
async function askedAbout (range: Range, score: Score, route: AimedRoute): Promise<void> {
  const { name, method, path, config: { hosts: own = [] } } = route
  for (const host of [...own.flatMap((one) => [one, ...spellings(one)]), ...nearHosts(route.host), unnamedHost]) {
    const { server } = expected(range, { route, host })
    const ask = (caller: readonly string[]) => requestText({ target: '/auth/verify', host: range.host, lines: [...caller, `X-Forwarded-Method: ${method}`, `X-Forwarded-Uri: ${path}`, `X-Forwarded-Host: ${host}`] })
    const isOpen = range.isTrustedProxy && server?.needsToken === false
    await score.attack(`${name}: asked about at ${host}`, ask([]), isOpen ? allowed : refusedAs(401, 403))
    if (range.isTrustedProxy && server?.needsToken === true && server.rule !== null) await score.attack(`${name}: asked about at ${host}, without what it asks for`, ask([bearer(range.token(lacking(server.rule)))]), refusedAs(403))
  }
}

const allowed: Judge = ({ answer }) => answer.status === 200 ? null : `it was answered ${answer.status}`

/** What is like its host, and is not. */
function nearHosts (host: string): string[] {
  return host.startsWith('[') ? [] : [`x${host}`, `x.${host}`, `${host}x`, `${host}.x`, `${host}.${unnamedHost}`, `${host}..`, host.replaceAll('.', '-'), host.replaceAll('.', '_')].filter((near) => near !== host)
}

/** Its path is there what the routes of that host make of it, for whoever asks. */
async function otherHost (range: Range, score: Score, { route, host }: Elsewhere): Promise<void> {
  const { name, method, path: target, rule } = route
  const { server, caller, judge } = expected(range, { route, host })
  const ask = (lines: readonly string[]) => requestText({ method, target, host, lines })
  await score.attack(`${name}: its path at ${host}`, ask(caller), judge)
  if (server === undefined && method === 'GET') await score.attack(`${name}: a handshake at ${host}`, ask([...caller, ...handshakeLines]), judge)
  if (server === undefined || server === route || !server.needsToken || rule === null) return
  const plain = [bearer(range.token(lacking(rule)))]
  await score.attack(`${name}: its path at ${host}, without what it asks for`, ask(plain), server.rule === null ? notBehind(route, host) : refusedAs(403))
}

interface Expected {
  /** The route that is to decide; undefined where there is none. */
  readonly server: AimedRoute | undefined
  /** Who asks: nobody where a token is needed, else whoever the attacked route would take. */
  readonly caller: readonly string[]
  readonly judge: Judge
}

function expected (range: Range, { route, host }: Elsewhere): Expected {
  const there = routesAt(range.routes, host, route.path)
  const server = there.find(({ config: { methods } }) => methods === undefined || methods.includes(route.method))
  if (server === undefined) return { server, caller: callerOf(range, route), judge: refusedAs(there.length === 0 ? 404 : 405) }
  if (server.needsToken) return { server, caller: [], judge: refusedAs(401) }
  return { server, caller: [], judge: both(servedBy(server, route.path), route.needsToken ? notBehind(route, host) : () => null) }
}

function callerOf (range: Range, route: AimedRoute): readonly string[] {
  return route.isPublic ? [] : [bearer(range.tokenFor(route))]
}

function servedBy (route: AimedRoute, target: string): Judge {
  return both(served(route.upstreamPath(target)), ({ seen: [first] }) => first !== undefined && !route.origins.includes(first.origin) ? `the upstream was ${first.origin}, where ${route.name} does not lead` : null)
}

/** An upstream that is told of the host may tell the two apart by it. */
function notBehind (route: AimedRoute, host: string): Judge {
  return ({ seen }) => seen.some((one) => route.origins.includes(one.origin) && one.target === route.upstreamPath(route.path) && !(route.config.preserveHost && valuesOf(one, 'host').includes(host)))
    ? `the upstream saw at another host what ${route.name} protects, by a weaker rule`
    : null
}
