/**
 * The one reading of a request target: matched and forwarded byte for byte, or refused. Whatever two parsers could
 * read differently is no path here (GHSA-p224-6x5r-fjpm, GHSA-7x63-xv5r-3p2x, CVE-2026-33805 are what happens else).
 */

/**
 * What a route may let through on purpose, for an upstream that needs it. Each stays refused where any known reading of it has a
 * dot segment or leads to another route.
 */
export const pathAllowances = {
  'encoded-slash': 1,
  'encoded-backslash': 2,
  'double-slash': 4,
  'semicolon': 8,
  'needless-encoding': 16,
  'double-encoding': 32,
} as const

export type PathAllowance = keyof typeof pathAllowances

/** As a number, so that the common request is asked one comparison more. */
export function compileAllowances (names: readonly PathAllowance[]): number {
  return names.reduce((allowed, name) => allowed | pathAllowances[name], 0)
}

/**
 * Why the target of a request (origin-form, RFC 9112 §3.2.1) is refused; null where it has just one reading, or where every
 * reading of what is `allowed` is harmless.
 */
export function pathFault (target: string, allowed = 0): string | null {
  if (target.charCodeAt(0) !== SLASH) return 'target is not a path'
  let segmentStart = 1
  let index = 1
  for (; index < target.length; index++) {
    const code = target.charCodeAt(index)
    if (ORDINARY[code] === 1) continue
    if (code === SLASH) {
      const fault = segmentFault(target, segmentStart, index, allowed)
      if (fault !== null) return fault
      segmentStart = index + 1
    } else if (code === PERCENT) {
      const end = escapeEnd(target, index, allowed)
      if (end < 0) return escapeFaults[-end] ?? 'broken percent-encoding'
      index = end - 1
    } else if (code === QUESTION) {
      break
    } else if (code !== SEMICOLON) {
      return 'character that has no place in a path'
    }
  }
  // The last segment may be empty: `/api/` is a path of its own.
  if (index > segmentStart) {
    const fault = segmentFault(target, segmentStart, index, allowed)
    if (fault !== null) return fault
  }
  const fault = index < target.length ? queryFault(target, index + 1) : null
  return fault ?? (allowed === 0 ? null : readingsFault(target.slice(0, index)))
}

/** The path without its query. */
export function pathOf (target: string): string {
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}

/**
 * How a lenient upstream might read the path: case ignored (Express, IIS; NTFS compares capitals), `;parameters` cut (Servlet),
 * escapes decoded and what then looks like a query cut, compatibility forms folded (NFKC: `／`, `‥`, full-width letters),
 * trailing dots and spaces of a segment dropped (Windows). A request is let through only if this reading leads to the same
 * route as the bytes do; what is forwarded are the bytes.
 */
export function lenientReading (path: string): string {
  if (PLAIN.test(path)) return path
  const folded = decodeEscapes(decodeEscapes(path).normalize('NFKC')).toUpperCase().toLowerCase()
  const [beforeQuery = ''] = folded.split(/[?#]/)
  const segments: string[] = []
  for (const segment of beforeQuery.split(/[/\\]/)) {
    const name = lenientSegment(segment)
    if (segment === '..') segments.pop()
    // A segment of which nothing is left is no segment to such a server, as in `/%20/admin`.
    else if (name !== '') segments.push(name)
  }
  return `/${segments.join('/')}`
}

/**
 * Every path that some server could take this one for: escapes decoded once, or again and again; what then looks like a query
 * cut, compatibility forms folded, backslashes as slashes, slashes merged, `;parameters` cut, trailing dots and spaces dropped;
 * in any order, each of them or not; in lower case, as routes are compared. null: too many to follow, as no honest path has.
 */
export function readingsOf (path: string): ReadonlySet<string> | null {
  const readings = new Set<string>()
  let characters = 0
  const add = (reading: string): void => {
    if (readings.has(reading)) return
    readings.add(reading)
    characters += reading.length
  }
  add(path.toLowerCase())
  // A Set hands out what is added while it is walked.
  for (const reading of readings) {
    for (const change of lenientChanges) add(change(reading))
    if (characters > MOST_CHARACTERS) return null
  }
  return readings
}

/** Of all readings together: what following them may cost. */
const MOST_CHARACTERS = 65_536

const lenientChanges: readonly ((path: string) => string)[] = [
  (path) => path.includes('%') ? decodeEscapes(path).toLowerCase() : path,
  // IIS.
  (path) => path.replace(/%u([0-9a-f]{4})/g, (_escape, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)).toLowerCase()),
  (path) => path.normalize('NFKC').toUpperCase().toLowerCase(),
  (path) => path.split(/[?#]/, 1)[0] ?? '',
  // The others are what Windows makes slashes of when it fits a name into a code page.
  (path) => path.replace(/[\\\u2044\u2215\u2216]/g, '/'),
  (path) => path.replace(/\/{2,}/g, '/'),
  (path) => path.includes(';') ? path.split('/').map(withoutParameters).join('/') : path,
  (path) => path.split('/').map(withoutTail).join('/'),
]

/**
 * What is allowed on purpose still has no dot segment, no authority (`//host`), no control character and nothing that is no UTF-8
 * (overlong forms among it: to some, `%c0%ae` is a dot), however it is read.
 */
function readingsFault (path: string): string | null {
  const readings = readingsOf(path)
  if (readings === null) return 'percent-encoding upon percent-encoding'
  for (const reading of readings) {
    if (reading.startsWith('//')) return 'empty segment at the start'
    if (DOT_SEGMENT.test(reading)) return 'dot segment behind an encoding'
    if (CONTROL.test(reading)) return 'control character behind an encoding'
  }
  return null
}

const DOT_SEGMENT = /(?:^|[/\\])\.{1,2} *(?:[/\\;]|$)/
// eslint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\0-\x1f\x7f\ufffd]/

const SLASH = 0x2f
const PERCENT = 0x25
const QUESTION = 0x3f
const SEMICOLON = 0x3b
const DOT = 0x2e

/** 1 for what is itself in any reading: everything visible in ASCII but `/ % ? ; # \`. */
const ORDINARY = new Uint8Array(65536)
for (let code = 0x21; code < 0x7f; code++) ORDINARY[code] = 1
for (const character of '/%?;#\\') ORDINARY[character.charCodeAt(0)] = 0

/** Nothing in it that a lenient reading would change. */
const PLAIN = /^(?:[a-z0-9_~/-]|\.(?!\/|$))*$/

function segmentFault (target: string, start: number, end: number, allowed: number): string | null {
  // `//host` at the start would be an authority (RFC 3986 §4.2), whatever is allowed.
  if (end === start) return (allowed & pathAllowances['double-slash']) === 0 || start === 1 ? 'empty segment' : null
  const first = target.charCodeAt(start)
  // Nothing but parameters is an empty segment to a Servlet container.
  if (first === SEMICOLON) return (allowed & pathAllowances.semicolon) === 0 ? 'empty segment' : null
  if (first !== DOT) return null
  // `..;x` is a dot segment to a Servlet container, `..%20` to a Windows file system, and both are names to others.
  const semicolon = target.indexOf(';', start)
  let nameEnd = semicolon >= 0 && semicolon < end ? semicolon : end
  while (nameEnd - 3 > start && target.startsWith('%20', nameEnd - 3)) nameEnd -= 3
  const length = nameEnd - start
  return length === 1 || (length === 2 && target.charCodeAt(start + 1) === DOT) ? 'dot segment' : null
}

const escapeFaults: Record<number, string> = {
  1: 'broken percent-encoding',
  2: 'needless percent-encoding',
  3: 'encoded slash, backslash or control character',
  4: 'double percent-encoding',
  5: 'percent-encoding that is not UTF-8',
}

/** Index behind the escape at `index` (a whole UTF-8 sequence), or minus a number of escapeFaults. */
function escapeEnd (target: string, index: number, allowed: number): number {
  const byte = escapedByte(target, index)
  if (byte < 0) return -1
  if (byte < 0x80) {
    if (byte < 0x20 || byte === 0x7f) return -3
    if (byte === SLASH) return (allowed & pathAllowances['encoded-slash']) === 0 ? -3 : index + 3
    if (byte === 0x5c) return (allowed & pathAllowances['encoded-backslash']) === 0 ? -3 : index + 3
    // RFC 3986 §2.3: an encoded unreserved character is the same as a plain one, and no producer should make it.
    // `~` alone is let through, as old encoders write %7E; no route path depends on it (lenientReading decodes it).
    if (isUnreserved(byte)) return (allowed & pathAllowances['needless-encoding']) === 0 ? -2 : index + 3
    if (byte === PERCENT && /^(?:[0-9a-f]{2}|u[0-9a-f]{4})/i.test(target.slice(index + 3, index + 8))) {
      return (allowed & pathAllowances['double-encoding']) === 0 ? -4 : index + 3
    }
    return index + 3
  }
  return utf8End(target, index, byte)
}

/** RFC 3629 §4: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
function utf8End (target: string, index: number, lead: number): number {
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0
  if (length === 0) return -5
  for (let position = 1; position < length; position++) {
    const byte = escapedByte(target, index + 3 * position)
    if (byte < 0x80 || byte > 0xbf) return -5
    if (position > 1) continue
    if (lead === 0xe0 && byte < 0xa0) return -5
    if (lead === 0xed && byte > 0x9f) return -5
    if (lead === 0xf0 && byte < 0x90) return -5
    if (lead === 0xf4 && byte > 0x8f) return -5
  }
  return index + 3 * length
}

function escapedByte (target: string, index: number): number {
  if (target.charCodeAt(index) !== PERCENT) return -1
  const high = hexValue(target, index + 1)
  const low = hexValue(target, index + 2)
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

function hexValue (target: string, index: number): number {
  const code = target.charCodeAt(index)
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

function isUnreserved (byte: number): boolean {
  const letter = byte | 0x20
  return (letter >= 0x61 && letter <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === DOT || byte === 0x5f
}

/** No rule depends on the query, so it is only held to be one line of one request: no control bytes, space or `#`. */
function queryFault (target: string, start: number): string | null {
  for (let index = start; index < target.length; index++) {
    const code = target.charCodeAt(index)
    if (code <= 0x20 || code === 0x7f || code === 0x23) return 'character that has no place in a query'
  }
  return null
}

function decodeEscapes (path: string): string {
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('utf8'))
}

function lenientSegment (segment: string): string {
  return withoutTail(withoutParameters(segment))
}

function withoutParameters (segment: string): string {
  const semicolon = segment.indexOf(';')
  return semicolon < 0 ? segment : segment.slice(0, semicolon)
}

/** Without the dots and spaces at its end. */
function withoutTail (name: string): string {
  let end = name.length
  while (end > 0 && (name.charCodeAt(end - 1) === DOT || name.charCodeAt(end - 1) === 0x20)) end--
  return name.slice(0, end)
}
