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
import { readOwnClaims, requiredClaims } from './own-claims.ts'
import { readStrictJwt, type ReadForeign } from './strict-jwt.ts'

export interface VerifierOptions {
  readonly keyRing: Pick<KeyRing, 'verifyingKey'>
  readonly issuer: string
  readonly audience: string
  /** Milliseconds. */
  readonly clockTolerance: number
  readonly now: () => number
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
export function createVerifier ({ keyRing, issuer, audience, clockTolerance, now, foreignReader }: VerifierOptions): Verify {
  // By the key's own object: one that left the ring takes its verifier with it.
  const prepared = new WeakMap<VerifyingKey, PreparedKey>()
  const keyOf = (kid: string): VerifyingKey | undefined => keyRing.verifyingKey(kid)
  const expected = { issuer, audience }

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
    return identity
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
