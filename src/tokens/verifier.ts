/** A Verify over the key ring: a strict reading of our own first, then the signature by one prepared verifier a key, then the time. */
import { createPublicKey } from 'node:crypto'
import { createVerifier as createSignatureVerifier } from 'fast-jwt'
import { shapes } from './algorithms.ts'
import { Refusal } from '../errors.ts'
import { badForGood, badForNow, BadToken } from './bad-token.ts'
import { ecdsaFault } from './ecdsa-signature.ts'
import type { Identity, Verify } from './identity.ts'
import type { KeyRing, VerifyingKey } from './key-ring.ts'
import { requiredForeignClaims } from './foreign-token.ts'
import { isListOfText, readOwnClaims, requiredClaims } from './own-claims.ts'
import { readStrictJwt, type ReadForeign } from './strict-jwt.ts'

export interface VerifierOptions {
  readonly keyRing: Pick<KeyRing, 'verifyingKey'>
  readonly issuer: string
  readonly audience: string
  /** Milliseconds. */
  readonly clockTolerance: number
  readonly now: () => number
  /** Claims that an identity keeps: what no header and no rule asks for would only take memory. All of them, where nothing is said. */
  readonly claimsInUse?: readonly string[]
  /** How the tokens of another trusted issuer are read, by their `iss`; undefined for everybody else's. */
  readonly foreignReader?: (iss: unknown) => ReadForeign | undefined
}

interface PreparedKey {
  readonly signatureBytes: number
  /** Throws when the signature is not that of the key. */
  readonly check: (token: string) => unknown
}

/**
 * Strict, and remembers nothing of any token. Throws GW_TOKEN_EXPIRED for a token that was good, GW_TOKEN_INVALID for every
 * other one, and GW_KEYS_UNAVAILABLE where nobody can tell, for another issuer's keys are not known.
 */
export function createVerifier ({ keyRing, issuer, audience, clockTolerance, now, claimsInUse, foreignReader }: VerifierOptions): Verify {
  // By the key's own object: one that left the ring takes its verifier with it.
  const prepared = new WeakMap<VerifyingKey, PreparedKey>()
  const keyOf = (kid: string): VerifyingKey | undefined => keyRing.verifyingKey(kid)
  const expected = { issuer, audience }
  const keep = claimsInUse === undefined ? (identity: Identity) => identity : createKeeper(claimsInUse)

  function preparedFor (key: VerifyingKey, iss: string | null): PreparedKey {
    const known = prepared.get(key)
    if (known !== undefined) return known
    // A key is of one issuer and serves its tokens alone.
    const made = iss === null ? prepare(key, { allowedIss: issuer, allowedAud: audience, requiredClaims: [...requiredClaims], checkTyp: 'at+jwt' }) : prepare(key, { allowedIss: iss, requiredClaims: [...requiredForeignClaims] })
    prepared.set(key, made)
    return made
  }

  function verify (token: string): Identity {
    const { key, payload, signature, foreign } = readStrictJwt(token, keyOf, foreignReader)
    const { signatureBytes, check } = preparedFor(key, foreign === null ? null : foreign.claims.identity.issuer)
    if (signature.length !== signatureBytes) throw badForGood('signature of the wrong length')
    const fault = ecdsaFault(signature, key.algorithm, key.signers === 'gateway' ? 'lower-s' : 'any-s')
    if (fault !== null) throw badForGood(fault)
    const { identity, issuedAt, notBefore } = foreign === null ? readOwnClaims(payload, expected) : foreign.claims
    checkSignature(check, token)
    // Integrity first, then time: who learns that a token has expired has held a real one.
    const time = now()
    if (issuedAt * 1000 > time + clockTolerance) throw badForNow('issued in the future')
    if (notBefore !== null && notBefore * 1000 > time + clockTolerance) throw badForNow('not valid yet')
    if (hasExpired(identity, time, clockTolerance)) throw new BadToken('expired', { code: 'GW_TOKEN_EXPIRED', forGood: false })
    return keep(identity)
  }

  return function verifyOrRefuse (token) {
    try {
      return verify(token)
    } catch (error) {
      if (error instanceof Refusal) throw error
      // Whatever a library throws on some token, it is the token that is refused, not the request that fails.
      throw new BadToken('cannot be verified', { forGood: false, cause: error })
    }
  }
}

/** Of what many tokens say alike: so much is held at once. */
const mostShared = 1_000

/**
 * An identity without the claims that nobody asks for. Who says the same as others shares it with them: of a hundred thousand tokens
 * that are remembered most differ in their users and sessions alone.
 */
function createKeeper (claimsInUse: readonly string[]): (identity: Identity) => Identity {
  // Of `sub` an identity has the subject.
  const names = claimsInUse.filter((name) => name !== 'sub')
  const shared = new Map<string, Pick<Identity, 'roles' | 'scopes' | 'claims'>>()

  function share (said: Pick<Identity, 'roles' | 'scopes' | 'claims'>): typeof said {
    if (!Object.values(said.claims).every(isTextOrList)) return said
    const text = JSON.stringify(said)
    const known = shared.get(text)
    if (known !== undefined) return known
    if (shared.size === mostShared) shared.clear()
    shared.set(text, said)
    return said
  }

  return function keep ({ subject, issuer, sessionId, expiresAt, ...all }) {
    const kept = names.filter((name) => Object.hasOwn(all.claims, name)).map((name) => [name, all.claims[name]] as const)
    const { roles, scopes, claims } = share({ roles: all.roles, scopes: all.scopes, claims: Object.freeze(Object.fromEntries(kept)) })
    return Object.freeze({ subject, issuer, sessionId, expiresAt, roles, scopes, claims })
  }
}

/** Of these JSON tells any two apart; not so of numbers: 1e400 is written as null. */
function isTextOrList (claim: unknown): boolean {
  return typeof claim === 'string' || isListOfText(claim)
}

/** RFC 7519 §4.1.4: on or after `exp` it is over; the tolerance is for clocks that differ. Times in ms. */
export function hasExpired (identity: Identity, time: number, clockTolerance: number): boolean {
  return time >= identity.expiresAt * 1000 + clockTolerance
}

/**
 * fast-jwt checks iss and aud only where they are present (nearform/fast-jwt#182), so all that is constrained is required.
 * Its clock is fixed when it is made, so time is judged above; its cache is off, and ours is verifier-cache.ts.
 */
function prepare (key: VerifyingKey, constraints: { allowedIss: string, allowedAud?: string, requiredClaims: string[], checkTyp?: string }): PreparedKey {
  const check = createSignatureVerifier<string>({
    ...constraints,
    key: key.key,
    algorithms: [key.algorithm],
    ignoreExpiration: true,
    ignoreNotBefore: true,
    cache: false,
  })
  return { check, signatureBytes: signatureBytesOf(key) }
}

function signatureBytesOf (key: VerifyingKey): number {
  const shape = shapes[key.algorithm]
  if (shape.kind !== 'rsa') return shape.signatureBytes
  return Math.ceil((createPublicKey(key.key).asymmetricKeyDetails?.modulusLength ?? 0) / 8)
}

function checkSignature (check: PreparedKey['check'], token: string): void {
  try {
    check(token)
  } catch {
    throw badForGood('the signature is not that of the key')
  }
}
