/** The texts of config.yaml that mean something: how each is written, and what it is once loaded. */
import { isIP } from 'node:net'

export interface Format {
  readonly matches: (text: string) => boolean
  /** What would be right, as the end of a sentence. */
  readonly expected: string
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const sizeUnits: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }

/** Ten years, in milliseconds: more is a slip of the pen. */
const LONGEST = 3_650 * 86_400_000

/** Milliseconds; null for what is no duration. */
export function parseDuration (text: string): number | null {
  return parseQuantity(text, durationUnits, LONGEST)
}

/** Bytes; null for what is no size. */
export function parseSize (text: string): number | null {
  return parseQuantity(text, sizeUnits, 1024 ** 4)
}

function parseQuantity (text: string, units: Readonly<Record<string, number>>, largest: number): number | null {
  const match = /^(\d{1,12})([a-z]{1,2})$/.exec(text)
  const unit = Object.hasOwn(units, match?.[2] ?? '') ? units[match?.[2] ?? ''] : undefined
  if (match === null || unit === undefined) return null
  const quantity = Number(match[1]) * unit
  return quantity <= largest ? quantity : null
}

export const formats: Readonly<Record<string, Format>> = {
  'duration': { matches: (text) => parseDuration(text) !== null, expected: 'a whole number and a unit, as in 500ms, 30s, 5m, 12h or 30d' },
  'size': { matches: (text) => parseSize(text) !== null, expected: 'a whole number and a unit, as in 512b, 64kb, 10mb or 1gb' },
  'route-path': { matches: isRoutePath, expected: 'a plain path such as / or /api: no slash at its end, no empty or dot segments, no percent-encoding, no `;`' },
  'host': { matches: isHostName, expected: 'a host name or an address, without a port and without wildcards, as in api.example.com or [::1]' },
  'upstream': { matches: isUpstream, expected: 'http:// or https://, a host and a port, as in http://127.0.0.1:3000, without a path, a query or a user' },
  'issuer': { matches: isIssuer, expected: 'an http or https URL without a query, a fragment, a user or a slash at its end, as in https://login.example.com' },
  'issuer-name': { matches: (text) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text), expected: 'at most 64 letters, digits, dots, underscores and hyphens, as in corp' },
  'storage': { matches: (text) => /^sqlite:.+/.test(text) || isPostgresUrl(text), expected: 'sqlite: and the path of a file, as in sqlite:./data/gatewarden.db; or postgres://user:password@host:5432/database' },
  'postgres-url': { matches: isPostgresUrl, expected: 'postgres://user:password@host:5432/database' },
  'sql-name': { matches: (text) => /^[a-z_][a-z0-9_]{0,39}$/.test(text) && !text.startsWith('pg_'), expected: 'a plain name in lower case, as in gatewarden' },
  'source-name': { matches: (text) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text), expected: 'at most 64 letters, digits, dots, underscores and hyphens, as in staff' },
  // A secret: what stands in for one that could not be read is no fault of its own.
  'user-database': { matches: (text) => /^(?:sqlite:|postgres(?:ql)?:\/\/).|^\0/s.test(text), expected: 'postgres://user:password@host:5432/database, or sqlite: and the path of a file' },
  'endpoint': { matches: isEndpoint, expected: 'an http or https URL without a user or a fragment, as in https://accounts:3000/internal/check' },
  'cidr': { matches: isCidr, expected: 'an address or a network, as in 10.0.0.0/8 or fd00::/8' },
  'header-name': { matches: (text) => /^[A-Za-z0-9!#$%&'*+.^`|~-]+$/.test(text), expected: 'a header name without underscores, as in X-User-Id' },
  'method': { matches: (text) => /^[A-Z][A-Z-]{0,31}$/.test(text) && text !== 'CONNECT', expected: 'an HTTP method in capitals, as in GET' },
  'path': { matches: (text) => !text.includes('\0'), expected: 'the path of a file' },
}

function isRoutePath (text: string): boolean {
  if (text === '/') return true
  return /^(?:\/[A-Za-z0-9._~!$&'()*+,=:@-]+)+$/.test(text) && !/\/\.{1,2}(?:\/|$)/.test(text)
}

function isHostName (text: string): boolean {
  if (text.startsWith('[')) return text.endsWith(']') && isIP(text.slice(1, -1)) === 6
  return text.length <= 254 && /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?$/.test(text) && !text.includes('..')
}

function isUpstream (text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null
  return url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/' && !/[?#@]/.test(text) && url.hostname !== ''
}

/** The rest is read when it is opened, by who knows how to tell of it without a password. */
function isPostgresUrl (text: string): boolean {
  return /^postgres(?:ql)?:\/\/[^/]/.test(text)
}

function isEndpoint (text: string): boolean {
  return URL.canParse(text) && /^https?:\/\/[^/?#@]+(?:[/?]|$)/.test(text) && !/[#\s]/.test(text) && new URL(text).username === ''
}

function isIssuer (text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null
  return url !== null && /^https?:$/.test(url.protocol) && !/[?#@]|\/$|\s/.test(text)
}

function isCidr (text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const family = isIP(address)
  return family !== 0 && rest.length === 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)))
}
