/** What the gateway believes about a caller, and the type of the function that comes to believe it. */

export interface Identity {
  /** The user's id as upstreams see it. */
  readonly subject: string
  readonly issuer: string
  /** The session that the token lives and dies with; null for tokens of other issuers. */
  readonly sessionId: string | null
  /** The token's `exp`: seconds since the epoch. */
  readonly expiresAt: number
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** Of the token's claims those that somebody asks for, deeply frozen: one object serves many requests, and all who claim the same. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** undefined for a claim that the token does not have. */
export function claimOf (identity: Identity, claim: string): unknown {
  // The id as upstreams see it, which for other issuers' users is not what the token says.
  if (claim === 'sub') return identity.subject
  return Object.hasOwn(identity.claims, claim) ? identity.claims[claim] : undefined
}

/** Turns a token into the identity it proves, or throws a Refusal. Synchronous: it runs on every request. */
export type Verify = (token: string) => Identity
