/** What the claims of our own access tokens must look like (RFC 9068 §2.2, RFC 7519 §4.1); time is judged by the verifier. */
import { badForGood } from './bad-token.ts'
import type { Identity } from './identity.ts'

export interface ReadClaims {
  readonly identity: Identity
  /** Seconds since the epoch, as is `identity.expiresAt`. */
  readonly issuedAt: number
  readonly notBefore: number | null
}

/** Set by the mint alone: no user attribute may take the place of one. */
export const registeredClaims: ReadonlySet<string> = new Set([
  'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'sid', 'client_id', 'roles', 'scope', '__proto__',
])

/** Those without which a token is none. */
export const requiredClaims = ['iss', 'sub', 'aud', 'exp', 'iat', 'sid'] as const

/** Seconds: no access token lives for longer. A time in milliseconds fails by this, and so does one that means "for ever". */
export const longestLife = 366 * 24 * 3600

const longestText = 512
/** Control characters, line and paragraph separators, lone surrogates: no name has them, and headers and logs break on them. */
// eslint-disable-next-line no-control-regex -- they are what is looked for
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]|\p{Cs}/u

/** Throws a BadToken when a claim is absent, of another type or of another issuer or audience. */
export function readOwnClaims (claims: Readonly<Record<string, unknown>>, expected: { issuer: string, audience: string }): ReadClaims {
  // Own members only: `constructor` is no claim of anybody's.
  for (const name of requiredClaims) {
    if (!Object.hasOwn(claims, name)) throw badForGood(`${name} is absent`)
  }
  const { iss, sub, aud, exp, iat, nbf, sid, jti, client_id: clientId, roles, scope } = claims
  if (iss !== expected.issuer) throw badForGood('iss is another issuer')
  // Our tokens carry one audience, as a string; a list of them is not one of ours (RFC 8725 §3.9).
  if (aud !== expected.audience) throw badForGood('aud is another audience')
  if (!isName(sub)) throw badForGood('sub is no usable text')
  if (!isName(sid)) throw badForGood('sid is no usable text')
  if (!isTime(exp)) throw badForGood('exp is no time in whole seconds')
  if (!isTime(iat)) throw badForGood('iat is no time in whole seconds')
  if (nbf !== undefined && !isTime(nbf)) throw badForGood('nbf is no time in whole seconds')
  if (exp - iat > longestLife) throw badForGood('exp is too far from iat')
  if (jti !== undefined && !isName(jti)) throw badForGood('jti is no usable text')
  if (clientId !== undefined && !isName(clientId)) throw badForGood('client_id is no usable text')
  if (roles !== undefined && !isListOfText(roles)) throw badForGood('roles is no list of text')
  if (scope !== undefined && typeof scope !== 'string') throw badForGood('scope is no text')

  return {
    identity: Object.freeze({
      subject: sub,
      // The one text for all tokens, not one for each.
      issuer: expected.issuer,
      sessionId: sid,
      expiresAt: exp,
      roles: Object.freeze(roles ?? []),
      scopes: Object.freeze(scope === undefined ? [] : scope.split(' ').filter((word) => word !== '')),
      claims: deepFreeze(claims),
    }),
    issuedAt: iat,
    notBefore: nbf ?? null,
  }
}

/** Text that may name a subject or a session: not empty, of bounded length, printable. */
export function isName (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= longestText && !unprintable.test(value)
}

/** RFC 7519 allows fractions and our mint writes none. 1e400 is Infinity once parsed, and no safe integer. */
export function isTime (value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0
}

export function isListOfText (value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

/** One object serves every request of the token: what one handler changed, the next request would believe. */
export function deepFreeze<Value> (value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) deepFreeze(member)
  return Object.freeze(value)
}
