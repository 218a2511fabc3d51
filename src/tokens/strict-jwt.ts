/** A signed JWT in compact form, read in one way only, before any of it is believed: RFC 7515 §3.1, RFC 8725 §3. */
import type { VerifyingKey } from './key-ring.ts'
import { badForGood, badForNow } from './bad-token.ts'
import type { ReadClaims } from './own-claims.ts'
import { readStrictJson } from './strict-json.ts'

/** Characters. A request's headers may hold no more than `limits.headers`; a token that is longer is none of ours. */
export const longestToken = 8192

export interface StrictJwt {
  readonly key: VerifyingKey
  readonly payload: Readonly<Record<string, unknown>>
  readonly signature: Buffer
  /** Null for a token that must be one of ours: its claims are yet to be read. */
  readonly foreign: ForeignReading | null
}

/** What another issuer's token says, and what of it is checked again with its signature. */
export interface ForeignReading {
  readonly key: VerifyingKey
  readonly claims: ReadClaims
}

/** Reads the token of one other issuer by the rules of that issuer. Throws a BadToken, or that its keys are unknown. */
export type ReadForeign = (header: Readonly<Record<string, unknown>>, payload: Readonly<Record<string, unknown>>) => ForeignReading

/**
 * Throws a BadToken for anything but three canonical base64url parts, a header of exactly `alg`, `typ` and `kid`, a kid that
 * is one of ours, the very algorithm of that key, and a payload that is a JSON object. The signature is not checked here.
 * `iss` decides by whose rules and keys a token is to be judged, and nothing else: until then it is but a claim.
 */
export function readStrictJwt (token: string, keyOf: (kid: string) => VerifyingKey | undefined, foreignReader?: (iss: unknown) => ReadForeign | undefined): StrictJwt {
  if (typeof token !== 'string') throw badForNow('not a string')
  if (token.length > longestToken) throw badForNow('longer than a token may be')
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  // Five parts are a JWE (RFC 7516 §3.1).
  if (first < 0 || second < 0 || token.includes('.', second + 1)) throw badForGood('not three parts')

  const header = objectIn('header', token.slice(0, first))
  const signature = bytesIn('signature', token.slice(second + 1))
  const payload = objectIn('payload', token.slice(first + 1, second))
  const foreign = foreignReader?.(payload['iss'])?.(header, payload) ?? null
  return { key: foreign === null ? readHeader(header, keyOf) : foreign.key, payload, signature, foreign }
}

/**
 * Every parameter but the three is refused, known or not: jwk, jku, x5u and x5c would bring a key, crit and b64 another
 * reading, zip and enc another format, and ours has none of them.
 */
function readHeader (header: Readonly<Record<string, unknown>>, keyOf: (kid: string) => VerifyingKey | undefined): VerifyingKey {
  for (const name of Object.keys(header)) {
    if (name !== 'alg' && name !== 'typ' && name !== 'kid') throw badForGood('a header parameter that our tokens do not have')
  }
  // RFC 9068 §4 also takes application/at+jwt and any case; our tokens are written in this one way.
  if (header['typ'] !== 'at+jwt') throw badForGood('typ is not at+jwt')
  const kid = header['kid']
  if (typeof kid !== 'string') throw badForGood('kid is not a string')
  const key = keyOf(kid)
  if (key === undefined) throw badForNow('no key of that kid')
  // The key says how its tokens are signed, and the token may only agree (RFC 8725 §3.1).
  if (header['alg'] !== key.algorithm) throw badForGood('alg is not that of the key')
  return key
}

function objectIn (part: 'header' | 'payload', segment: string): Readonly<Record<string, unknown>> {
  const json = readStrictJson(bytesIn(part, segment))
  if ('fault' in json) throw badForGood(`${part}: ${json.fault}`)
  if (!isObject(json.value)) throw badForGood(`${part}: not an object`)
  return json.value
}

/**
 * Of all texts that decode to the same bytes only one is taken: no padding, no white space, no `+` or `/`, no bits set behind
 * the last byte (RFC 4648 §3.5). Else one token would have many spellings.
 */
function bytesIn (part: string, segment: string): Buffer {
  const bytes = Buffer.from(segment, 'base64url')
  if (bytes.length === 0) throw badForGood(`${part}: empty`)
  if (bytes.toString('base64url') !== segment) throw badForGood(`${part}: not canonical base64url`)
  return bytes
}

function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
