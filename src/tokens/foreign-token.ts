/** What the tokens of another issuer must look like, once their form is known to be sound; whether one is true is the verifier's. */
import type { TrustedIssuerConfig } from '../config/schema.ts'
import { badForGood } from './bad-token.ts'
import { deepFreeze, isListOfText, isName, isTime, longestLife, type ReadClaims } from './own-claims.ts'

type Members = Readonly<Record<string, unknown>>

export const requiredForeignClaims = ['iss', 'sub', 'aud', 'exp', 'iat'] as const

/**
 * `x5t` names a certificate and brings none: Entra and ADFS send it beside `kid`, and nothing hangs on it here. All others are
 * refused as in our own tokens: they bring keys (jwk, jku, x5u, x5c), another reading (crit, b64) or another format.
 */
const passedOver: ReadonlySet<string> = new Set(['x5t', 'x5t#S256'])

export interface ForeignHeader {
  readonly kid: string
  readonly algorithm: string
}

/** Throws a BadToken. */
export function readForeignHeader (header: Members, { tokenTypes, algorithms }: TrustedIssuerConfig): ForeignHeader {
  for (const name of Object.keys(header)) {
    if (name !== 'alg' && name !== 'typ' && name !== 'kid' && !passedOver.has(name)) throw badForGood('a header parameter that an access token does not have')
  }
  const { alg, typ, kid } = header
  const type = tokenType(typ)
  if (type === null || !tokenTypes.includes(type)) throw badForGood('typ is not one that is taken of this issuer')
  if (typeof alg !== 'string' || !algorithms.some((algorithm) => algorithm === alg)) throw badForGood('alg is not one that is taken of this issuer')
  if (!isName(kid)) throw badForGood('kid is no usable text')
  return { kid, algorithm: alg }
}

/** RFC 7515 §4.1.9: a media type, in any case, `application/` left out or not. */
function tokenType (typ: unknown): 'at+jwt' | 'JWT' | 'untyped' | null {
  if (typ === undefined) return 'untyped'
  if (typeof typ !== 'string') return null
  switch (typ.toLowerCase().replace(/^application\//, '')) {
    case 'at+jwt': return 'at+jwt'
    case 'jwt': return 'JWT'
    default: return null
  }
}

/** Throws a BadToken. `subjectOf` makes of `sub` what upstreams see. */
export function readForeignClaims (claims: Members, trusted: TrustedIssuerConfig, subjectOf: (sub: string) => string): ReadClaims {
  for (const name of requiredForeignClaims) {
    if (!Object.hasOwn(claims, name)) throw badForGood(`${name} is absent`)
  }
  const { iss, sub, aud, exp, iat, nbf, jti, client_id: clientId, cnf } = claims
  if (iss !== trusted.issuer) throw badForGood('iss is another issuer')
  if (!isForUs(aud, trusted.audience)) throw badForGood('aud is another audience')
  if (!isName(sub)) throw badForGood('sub is no usable text')
  if (!isTime(exp)) throw badForGood('exp is no time in whole seconds')
  if (!isTime(iat)) throw badForGood('iat is no time in whole seconds')
  if (nbf !== undefined && !isTime(nbf)) throw badForGood('nbf is no time in whole seconds')
  if (exp - iat > longestLife) throw badForGood('exp is too far from iat')
  if (jti !== undefined && !isName(jti)) throw badForGood('jti is no usable text')
  if (clientId !== undefined && !isName(clientId)) throw badForGood('client_id is no usable text')
  // Bound to a key that its sender must show (RFC 7800, DPoP, mutual TLS). Taken as a bearer token, it would serve a thief (RFC 9449 §7.1).
  if (cnf !== undefined) throw badForGood('bound to a key of its sender, which is not checked here')
  const mark = markOfAnotherKind(claims, trusted)
  if (mark !== null) throw badForGood(mark)

  const subject = subjectOf(sub)
  if (!isName(subject)) throw badForGood('sub is too long with the name of its issuer')
  const roles = believed(rolesOf(claims), trusted.roles)
  const scopes = believed(scopesOf(claims), trusted.scopes)
  // What an upstream or a rule may ask for says what is believed, not what was claimed; `sid` is a session elsewhere, never one of ours.
  const { sid: _sid, roles: _roles, scope: _scope, scp: _scp, ...others } = claims
  return {
    identity: Object.freeze({
      subject,
      issuer: trusted.issuer,
      sessionId: null,
      expiresAt: exp,
      roles: Object.freeze(roles),
      scopes: Object.freeze(scopes),
      claims: deepFreeze({
        ...others,
        sub: subject,
        ...(roles.length === 0 ? {} : { roles }),
        ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      }),
    }),
    issuedAt: iat,
    notBefore: nbf ?? null,
  }
}

/** RFC 7519 §4.1.3: one text, or a list of texts. */
function isForUs (aud: unknown, audience: string | readonly string[]): boolean {
  const wanted = typeof audience === 'string' ? [audience] : audience
  const named = typeof aud === 'string' ? [aud] : aud
  return isListOfText(named) && named.some((one) => wanted.includes(one))
}

/**
 * An ID token says to a client who has logged in, and opens no API (RFC 9068 §4, RFC 8725 §3.11). A `typ` of `JWT` does not
 * tell the two apart, so their marks do: those of OpenID Connect Core §2 and §3.3.2.11, and those that Keycloak, Cognito and
 * Entra write. `events` makes a logout token or a security event (RFC 8417).
 */
function markOfAnotherKind (claims: Members, { tokenTypes }: TrustedIssuerConfig): string | null {
  if (Object.hasOwn(claims, 'events')) return 'a security event, not an access token'
  for (const [name, value] of [['typ', claims['typ']], ['token_use', claims['token_use']], ['token_type', claims['token_type']]] as const) {
    if (value === undefined) continue
    const kind = String(value).toLowerCase()
    if (kind === 'id' && tokenTypes.includes('id-token')) continue
    if (!accessTokenKinds.has(kind)) return `the claim ${name} says that it is no access token`
  }
  if (tokenTypes.includes('id-token')) return null
  const mark = idTokenMarks.find((name) => Object.hasOwn(claims, name))
  return mark === undefined ? null : `an ID token, by its ${mark}`
}

const idTokenMarks = ['nonce', 'at_hash', 'c_hash', 's_hash'] as const
const accessTokenKinds: ReadonlySet<string> = new Set(['access', 'bearer', 'access_token', 'at+jwt', 'jwt'])

function rolesOf ({ roles = [] }: Members): string[] {
  if (!isListOfText(roles)) throw badForGood('roles is no list of text')
  return roles
}

/** RFC 9068 §2.2.3: text with spaces. Others write a list, and Entra and Okta call it `scp`. */
function scopesOf (claims: Members): string[] {
  const { scope = claims['scp'] ?? [] } = claims
  const scopes = typeof scope === 'string' ? scope.split(' ').filter((word) => word !== '') : scope
  if (!isListOfText(scopes)) throw badForGood('scope is no text and no list of text')
  return scopes
}

function believed (texts: readonly string[], only: readonly string[] | undefined): string[] {
  return texts.filter((text) => only === undefined || only.includes(text))
}
