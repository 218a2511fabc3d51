/** Mints access tokens: JWTs as RFC 9068 has them, signed with the key that the ring says signs now. */
import { randomFillSync } from 'node:crypto'
import { createSigner } from 'fast-jwt'
import { Refusal, StartupFault } from '../errors.ts'
import { withLowerS } from './ecdsa-signature.ts'
import type { KeyRing, SigningKey } from './key-ring.ts'
import { isName, longestLife, registeredClaims } from './own-claims.ts'
import { longestToken } from './strict-jwt.ts'

export interface AccessTokenRequest {
  readonly subject: string
  readonly sessionId: string
  readonly clientId: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** Attributes of the user that an upstream asks for. Names that a token has by itself are passed over. */
  readonly claims: Readonly<Record<string, unknown>>
}

export type MintAccessToken = (request: AccessTokenRequest) => { token: string, expiresInSeconds: number }

export interface AccessTokenMintOptions {
  readonly keyRing: Pick<KeyRing, 'signingKey'>
  readonly issuer: string
  readonly audience: string
  /** Milliseconds; whole seconds count, and at least one. */
  readonly lifetime: number
  readonly now: () => number
  /** Whether a subject is written as those of another issuer are. */
  readonly isForeignSubject?: (subject: string) => boolean
}

type Sign = (payload: Record<string, unknown>) => string

/** The mint throws GW_INTERNAL rather than hand out a token that our own verifier would refuse. */
export function createAccessTokenMint ({ keyRing, issuer, audience, lifetime, now, isForeignSubject = () => false }: AccessTokenMintOptions): MintAccessToken {
  const expiresInSeconds = Math.max(1, Math.floor(lifetime / 1000))
  if (expiresInSeconds > longestLife) throw new StartupFault(`accessToken.lifetime is more than ${longestLife / 86_400} days: an access token is short-lived, and minutes are usual`)
  const signers = new WeakMap<SigningKey, Sign>()
  const tokenId = createTokenIds()

  function signerOf (key: SigningKey): Sign {
    const known = signers.get(key)
    if (known !== undefined) return known
    const { algorithm, kid } = key
    const made: Sign = createSigner<Record<string, unknown>>({ key: key.key, algorithm, header: { alg: algorithm, typ: 'at+jwt', kid } })
    signers.set(key, made)
    return made
  }

  return function mintAccessToken ({ subject, sessionId, clientId, roles, scopes, claims }) {
    if (!isName(subject)) throw new Refusal('GW_INTERNAL', { reason: 'the subject is empty, too long, or has control characters: no token is made for it' })
    // A user who could choose such a name would be somebody else's to every upstream.
    if (isForeignSubject(subject)) throw new Refusal('GW_INTERNAL', { reason: 'the subject is written as that of a trusted issuer: no token is made for it' })
    const iat = Math.floor(now() / 1000)
    const key = keyRing.signingKey()
    const token = withLowerS(signerOf(key)({
      ...extraClaims(claims),
      iss: issuer,
      sub: subject,
      aud: audience,
      exp: iat + expiresInSeconds,
      iat,
      jti: tokenId(),
      sid: sessionId,
      client_id: clientId,
      ...(roles.length > 0 ? { roles } : {}),
      ...(scopes.length > 0 ? { scope: scopes.join(' ') } : {}),
    }), key.algorithm)
    if (token.length > longestToken) throw new Refusal('GW_INTERNAL', { reason: `the access token would be longer than ${longestToken} characters: the subject has too many roles, scopes or attributes` })
    return { token, expiresInSeconds }
  }
}

function extraClaims (claims: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).filter(([name, value]) => value !== undefined && !registeredClaims.has(name)))
}

/** 128 random bits each; drawn in batches, for a system call a token would cost more than the rest of its claims. */
function createTokenIds (): () => string {
  const bytes = 16
  const batch = Buffer.alloc(bytes * 256)
  let at = batch.length
  return function tokenId () {
    if (at === batch.length) {
      randomFillSync(batch)
      at = 0
    }
    at += bytes
    return batch.toString('base64url', at - bytes, at)
  }
}
