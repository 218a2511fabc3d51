/** Runs a group of twisted tokens against a verifier with one live key of each algorithm that is asked for. */
import type { Test } from 'tap'
import { algorithms, type Algorithm } from '../../src/config/schema.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import type { Verify } from '../../src/tokens/identity.ts'
import { audience, goodClaims, issuer, keyRingOf, makeKey, someTime, validToken } from './tokens.ts'
import type { Target, TwistedToken } from '../../src/attack/forged-tokens.ts'

/** One of each kind of key: what is read is the same for all of a kind. */
export const oneOfAKind = ['ES256', 'EdDSA', 'RS256', 'PS256', 'HS256'] as const satisfies readonly Algorithm[]

export async function refusesAll (t: Test, group: (target: Target) => TwistedToken[], of: readonly Algorithm[] = algorithms): Promise<void> {
  for (const algorithm of of) {
    const { target, verify } = await liveTarget(algorithm)
    const cases = group(target)
    t.strictSame(cases.map((twisted) => wrongly(verify, twisted)).filter((fault) => fault !== null), [], `${algorithm}: all ${cases.length} are refused`)
    t.ok(cases.length > 0)
  }
}

/** A verifier that is known to accept: else it would be no wonder that it refuses. */
export async function liveTarget (algorithm: Algorithm): Promise<{ target: Target, verify: Verify }> {
  const { signing: pen, publicJwk, verifying } = await makeKey(algorithm)
  const verify = createVerifier({ keyRing: keyRingOf({ signing: pen, verifying, publicJwk }), issuer, audience, clockTolerance: 2_000, now: () => someTime })
  verify(validToken(pen, someTime))
  return { verify, target: { pen, publicJwk, claims: goodClaims(someTime), nowSeconds: someTime / 1000 } }
}

/** Null when it is refused with its code. */
function wrongly (verify: Verify, { name, token, code }: TwistedToken): string | null {
  try {
    verify(token)
    return `${name}: accepted`
  } catch (error) {
    const found = error instanceof Error && 'code' in error ? error.code : error
    return found === code ? null : `${name}: ${String(found)}`
  }
}
