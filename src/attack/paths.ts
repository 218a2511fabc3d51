/**
 * Paths that lead here to an open route, and to a protected one for another reader: each must be refused, or reach an upstream
 * only as what every reader takes for the same. (GHSA-p224-6x5r-fjpm, GHSA-7x63-xv5r-3p2x, CVE-2026-33805; Orange Tsai,
 * "Breaking Parser Logic", 2018.)
 */
import { both, served, type AttackClass, type Judge } from './attack.ts'
import { readings } from './path-readings.ts'
import type { AimedRoute, Range } from './range.ts'
import { bearer, requestText } from './request-text.ts'
import { namesHost, routesAt, sharedHost } from './routes-of-host.ts'

export const paths: AttackClass = {
  name: 'paths',
  claim: 'without a token nothing reaches an upstream that any reader of the same bytes would take for a protected path',
  async run (range, score) {
    const { routes } = range
    for (const route of routes) {
      const lines = route.isPublic ? [] : [bearer(range.tokenFor(route))]
      for (const target of [route.path, `${route.path}/%20a?../x=%2e%2e`, `${route.path}/AbC.d;e=f~g`]) {
        await score.control(`${route.name}: ${target.slice(route.path.length)}`, requestText({ method: route.method, target, host: route.host, lines }), served(route.upstreamPath(target)))
      }
    }
    const judge = onlyOpenPaths(range)
    for (const { target, host } of targets(routes)) {
      for (const [name, text] of written(target, host)) await score.attack(name, text, judge(target, host))
    }
    for (const route of routes.filter(({ needsToken }) => needsToken)) {
      const { host } = route
      for (const target of [...absoluteForms(route.path, host), ...noPaths(route.path)]) {
        await score.attack(`${route.name}: target ${target}`, requestText({ target, host }), judge(target, host))
      }
      for (const other of strangeHosts(host)) {
        await score.attack(`${route.name}: host ${JSON.stringify(other)}`, `GET http://${host}${route.path} HTTP/1.1\r\n${other}\r\n\r\n`, judge(route.path, host))
      }
    }
  },
}

function * written (target: string, host: string): Generator<[string, string]> {
  yield [target, requestText({ target, host })]
  // Bytes beyond ASCII and white space are for the parser: they may end the request line.
  if (/^[!-~]+$/.test(target)) yield [`absolute ${target}`, requestText({ target: `http://${host}${target}`, host })]
}

/** All ways to each protected path: by itself misspelt, and out of each open route. */
function targets (routes: readonly AimedRoute[]): Iterable<Aim> {
  const guarded = routes.filter(({ needsToken }) => needsToken)
  const open = routes.filter(({ needsToken }) => !needsToken)
  const pairs = guarded.flatMap((route) => [
    ...open.flatMap((other) => {
      const host = sharedHost(route, other)
      return host === undefined ? [] : [{ host, path: route.config.path, entry: other.config.path === '/' ? '' : other.config.path }]
    }),
    { host: route.host, path: route.config.path, entry: '/attack-nowhere' },
  ])
  // Of very many, some of each.
  const step = Math.ceil(pairs.length / MOST_PAIRS)
  const all = [
    ...guarded.flatMap(({ config: { path }, host }) => misspelt(path).map((target) => ({ target, host }))),
    ...pairs.filter((_, index) => index % step === 0).flatMap(({ host, path, entry }) => outOf(entry, path).map((target) => ({ target, host }))),
  ]
  return new Map(all.map((aim) => [`${aim.host} ${aim.target}`, aim])).values()
}

interface Aim {
  readonly target: string
  readonly host: string
}

const MOST_PAIRS = 24

/** Two segments, or what some server takes for two dots and a slash. */
const dots = ['..', '%2e%2e', '.%2e', '%2E.', '%252e%252e', '..;', '..;x=y', '..%00', '..%20', '.%00.', '%c0%ae%c0%ae', '%u002e%u002e', '%ef%bc%8e%ef%bc%8e', '%e3%80%82%e3%80%82', '...', '\u00ae\u00ae']
const slashes = ['/', '%2f', '%2F', '%5c', '\\', '%252f', '%255c', '//', '/./', '/;/', '/;x/', '%c0%af', '%ef%bc%8f', '/%2e/', '%u2215', '/\t']

function outOf (entry: string, path: string): string[] {
  const depth = Math.max(1, entry.split('/').length - 1)
  const rest = `${path === '/' ? '' : path.slice(1)}/attack-probe`
  const climbs = dots.flatMap((dot) => slashes.map((slash) => `${entry}${slash}${`${dot}${slash}`.repeat(depth)}${rest}`))
  return [
    ...climbs,
    `${entry}/${rest}`, `${entry}//${rest}`, `${entry}/x/../..${path}`, `${entry}/x/..;/..;${path}`, `${entry}..${path}`, `${entry}.${path}`, `${entry};/..${path}`, `${entry}/..`, `${entry}/%2e%2e`,
    `${entry}?/..${path}`, `${entry}#/..${path}`, `${entry}%23/..${path}`, `${entry}%3f/..${path}`, `${entry}/.${'/..'.repeat(depth)}${path}`, `${entry}/..${path}?x#y`, `${entry}/....//..${path}`, `${entry}/..\\..${path}`,
  ].map((target) => target === '' ? '/' : target)
}

/** Names of a protected route that are not its name, and are to some server. */
function misspelt (path: string): string[] {
  const probe = `${path === '/' ? '' : path}/attack-probe`
  const first = path.slice(1).split('/')[0] ?? ''
  const rest = probe.slice(1 + first.length)
  const encoded = (text: string) => Buffer.from(text).toString('hex').replace(/../g, '%$&')
  const names = first === ''
    ? []
    : [
        first.toUpperCase(), `${first.slice(0, 1).toUpperCase()}${first.slice(1)}`, `${first.slice(0, -1)}${first.slice(-1).toUpperCase()}`, encoded(first), `${encoded(first.slice(0, 1))}${first.slice(1)}`, `${first.slice(0, -1)}${encoded(first.slice(-1))}`,
        encoded(first).replaceAll('%', '%25'), `${first}.`, `${first}..`, `${first}%2e`, `${first}%20`, `${first}%09`, `${first};`, `${first};x=y`, `${first}%3b`, `${first}%3Bx`, `${first}%00`, `${first}%00.png`, `${first}%0a`, `${first}%0d%0a`, `${first}%23`, `${first}%3f`,
        `${first}::$DATA`, `${first}~1`, first.replace(/s/, 'ſ'), first.replace(/k/, 'K'), first.replace(/i/, 'ı'), first.replace(/s/, '%c5%bf'), [...first].map((letter) => `%ef%bc%${(0x80 + letter.charCodeAt(0) - 0x60 + 0x20).toString(16)}`).join(''),
        `%u00${Buffer.from(first.slice(0, 1)).toString('hex')}${first.slice(1)}`, `%${first}`, `${first}%`, `${first}%2`, `${first}%zz`, `${first}%c3`, `${first}\u0000`, `${first}\t`, `\u00a0${first}`,
      ].map((name) => `/${Buffer.from(name, 'utf8').toString('latin1')}${rest}`)
  return [
    ...names, `/${probe}`, `//${probe}`, `/.${probe}`, `/./.${probe}`, `/.//${probe.slice(1)}`, `/;${probe}`, `/;x${probe}`, `/%20${probe}`, `/%2e${probe}`, `/x/..${probe}`, `/x/%2e%2e${probe}`, `/%2f${probe.slice(1)}`, `/%5c${probe.slice(1)}`, `/\\${probe.slice(1)}`, `\\${probe.slice(1)}`,
    probe.replaceAll('/', '\\'), probe.replaceAll('/', '%2f'), probe.replaceAll('/', '//'), probe.replaceAll('/', '/./'), probe.replaceAll('/', '/;/'), `${probe}/..`, `${probe}/.`, `${path}/`, `${path}//`, `${path}?`, `${path}#`, `${path}/;`, `${path};`, path, `/%00${probe}`, `/?${probe}`, `/x%3f/..${probe}`, `/%3b%3f${probe}`, `/%3b%23${probe}`, `/%20%3f${probe}`,
  ]
}

/** RFC 9112 §3.2: the forms that are not a path, and what is near to them. */
function absoluteForms (path: string, host: string): string[] {
  return [
    `http://${host}${path}`, `HTTP://${host}${path}`, `https://${host}${path}`, `http://${host.toUpperCase()}${path}`, `http://${host}//${path.slice(1)}`, `http://${host}/.${path}`, `http://${host}/x/..${path}`, `http://attacker.test${path}`,
    `http://${host}@attacker.test${path}`, `http://attacker.test@${host}${path}`, `http://${host}:99${path}`, `http://${path}`, `http:///${path.slice(1)}`, `http:${path}`, `http:/${path}`, `http:\\\\${host}${path}`, `//${host}${path}`, `ftp://${host}${path}`, `ws://${host}${path}`,
    `file://${path}`, `http://${host}${path}#x`, `http://${host}#${path}`, `http://${host}?${path}`, `http://${host};${path}`, `http://${host}\\${path.slice(1)}`, `h2c://${host}${path}`, `javascript://${host}${path}`,
  ]
}

function noPaths (path: string): string[] {
  return [path.slice(1), `.${path}`, `*${path}`, '*', '?', '#', ':', `:${path}`, `@${path}`, ` ${path}`, `${path} `, `${path} x`, `\u000b${path}`]
}

function strangeHosts (host: string): string[] {
  return ['Host: attacker.test', 'Host: ', `Host: ${host}\r\nHost: attacker.test`, `Host: attacker.test\r\nHost: ${host}`, `Host: ${host}, attacker.test`, `Host: ${host}@attacker.test`, `Host: ${host}/x`, `Host: ${host}:x`, `Host : ${host}`, ` Host: ${host}`, 'Host: [::1', `X: y\r\n Host: ${host}`]
}

/** What came through must be an open path in every reading: of what was sent, and of what the upstream saw. */
function onlyOpenPaths ({ routes }: Range): (sent: string, host: string) => Judge {
  return (sent, host) => both(({ answer, seen }) => seen.length === 0 && answer.status >= 500 ? `it was answered ${answer.status}` : null, ({ seen }) => {
    const open = routes.filter(({ needsToken, config }) => !needsToken && (config.hosts === undefined || namesHost(config, host)))
    for (const { target, origin } of seen) {
      const leading = open.filter(({ origins }) => origins.includes(origin))
      if (leading.length === 0) return `an upstream saw it that only protected routes lead to: ${origin}`
      const there = routes.filter(({ origins, config }) => origins.includes(origin) && !config.stripPrefix)
      const guarded = guardedBy(readings(sent), routes, host) ?? guardedBy(readings(target), there, host)
      if (guarded !== null) return `the upstream saw ${target}, which can be read as ${guarded.reading}: the route ${guarded.route.name} protects that${leading.some(({ config }) => config.stripPrefix) ? ', and an open route with stripPrefix leads to the same upstream' : ''}`
    }
    return null
  })
}

/** The protected route that one of the readings leads to. */
function guardedBy (all: readonly string[], routes: readonly AimedRoute[], host: string): { readonly route: AimedRoute, readonly reading: string } | null {
  for (const reading of all) {
    const there = routesAt(routes, host, reading)
    const [route] = there
    // With several rules for one path the method decides; one of them open is enough for a path to be open.
    if (route !== undefined && there.every(({ needsToken }) => needsToken)) return { route, reading }
  }
  return null
}
