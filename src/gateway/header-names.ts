/** Which headers cross the gateway, told by their names alone; what a name means in any of its spellings. */

/**
 * One name for all spellings that some server folds together: case, `_` for `-` (CGI, WSGI: CVE-2025-64484), dots and
 * the rest (PHP, lighttpd), and a leading `HTTP_`, which CGI puts before each name itself.
 */
export function foldName (name: string): string {
  const folded = name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-/, '')
  return folded.startsWith('http-') ? folded.slice(5) : folded
}

/**
 * Whether a header has this name, told of in lower case and as most write it: in either of the two spellings it is told without
 * making a string, and nearly every other name by its length.
 */
export function isHeader (name: string, lower: string, usual: string): boolean {
  return name.length === lower.length && (name === usual || name === lower || name.toLowerCase() === lower)
}

/** RFC 9110 §7.6.1, and what older proxies treat likewise: for this connection only, dropped in both directions. */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'proxy-authentication-info',
  'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings',
])

/**
 * Names by which a client could tell an upstream of another path, method or caller than the one that was checked.
 * The gateway writes X-Forwarded-For, -Proto and -Host and X-Request-Id itself; the others nobody writes.
 */
export const overriding: ReadonlySet<string> = new Set([
  'forwarded', 'x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'true-client-ip', 'x-original-url', 'x-original-uri',
  'x-original-host', 'x-original-forwarded-for', 'x-rewrite-url', 'x-host', 'x-http-host-override', 'x-http-method',
  'x-http-method-override', 'x-method-override', 'x-request-id', 'remote-user', 'x-remote-user', 'proxy',
])

export type Fate = 'keep' | 'drop' | 'connection'

export interface HeaderNames {
  /** What becomes of a request header on its way to the upstream. */
  requestFate (name: string): Fate
  /** Whether it could tell an upstream who is calling. */
  isIdentity (name: string): boolean
  /** What becomes of a response header on its way to the client. Trailers likewise. */
  responseFate (name: string): Fate
}

export interface HeaderNameOptions {
  /** Names that identity is written to, on any route: nobody else writes them, on no route. */
  readonly identity: readonly string[]
  readonly reservedPrefixes: readonly string[]
}

export function compileHeaderNames ({ identity, reservedPrefixes }: HeaderNameOptions): HeaderNames {
  const identityNames = new Set(identity.map((name) => withoutEnd(foldName(name))))
  const prefixes = reservedPrefixes.map((prefix) => foldName(prefix))
  const isIdentity = (folded: string) => prefixes.some((prefix) => folded.startsWith(prefix)) || isNamed(folded, identityNames)
  const isReserved = (folded: string) => isIdentity(folded) || folded.startsWith('x-forwarded-') || isNamed(folded, overriding)

  return {
    requestFate: remembered((name) => {
      const lower = name.toLowerCase()
      if (lower === 'connection') return 'connection'
      if (hopByHop.has(lower) || framing.has(lower)) return 'drop'
      const folded = foldName(name)
      // `Content_Length` frames nothing here, and a request to an upstream that folds names.
      return isReserved(folded) || overriding.has(folded) || hopByHop.has(folded) || framing.has(folded) ? 'drop' : 'keep'
    }),
    isIdentity: remembered((name) => isIdentity(foldName(name))),
    responseFate: remembered((name) => {
      const lower = name.toLowerCase()
      if (lower === 'connection') return 'connection'
      return hopByHop.has(lower) || lower === 'x-request-id' || isNamed(foldName(name), identityNames) ? 'drop' : 'keep'
    }),
  }
}

/** A separator at the end makes no other name to whoever drops it. A prefix ends with one, so it is no part of folding. */
function isNamed (folded: string, names: ReadonlySet<string>): boolean {
  return names.has(withoutEnd(folded))
}

function withoutEnd (folded: string): string {
  return folded.endsWith('-') ? folded.slice(0, -1) : folded
}

/** Written anew for the upstream's connection: the length as the body is framed, the host as the route says. */
export const framing: ReadonlySet<string> = new Set(['host', 'content-length', 'expect'])

const REMEMBERED = 1024

/** Clients spell names in few ways, so the answer is remembered by spelling; an attacker's thousands are not. */
function remembered<Answer extends Fate | boolean> (answerFor: (name: string) => Answer): (name: string) => Answer {
  const answers = new Map<string, Answer>()
  return function remembered (name) {
    let known = answers.get(name)
    if (known === undefined) {
      known = answerFor(name)
      if (answers.size < REMEMBERED && name.length <= 64) answers.set(name, known)
    }
    return known
  }
}

/** Names that `Connection` nominates (RFC 9110 §7.6.1), lower-case; null where it only says keep-alive or close. */
export function nominated (connection: string): readonly string[] | null {
  if (connection === 'keep-alive' || connection === 'close') return null
  const names = connection.toLowerCase().split(',').map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'keep-alive' && name !== 'close')
  return names.length === 0 ? null : names
}

/** The flat name, value list without those names. */
export function without (headers: readonly string[], names: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? ''
    if (!names.includes(name.toLowerCase())) kept.push(name, headers[index + 1] ?? '')
  }
  return kept
}
