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

/** Turns a token into the identity it proves, or throws a Refusal. Synchronous: it runs on every request. */
export type Verify = (token: string) => Identity
