/** The interface of whatever knows users: credentials → a verdict, in equal time whoever is asked about. */

export interface Subject {
  /** Stable, and not the name: `sub` of the tokens. Sources other than `store` put their name before it. */
  readonly id: string
  readonly name: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly attributes: Readonly<Record<string, unknown>>
  /** Another one after the password was changed, or the user disabled: a login that was checked before is then void. */
  readonly revision?: number
  /** Of a source that cannot end sessions itself: another one once the password was changed, and then they end at their next refresh. */
  readonly credentialTag?: string
}

export interface Credentials {
  readonly username: string
  readonly password: string
}

export type Verdict =
  /** `foundBy`: what `find` needs beside the id; kept with the session. */
  | { readonly outcome: 'accepted', readonly subject: Subject, readonly foundBy?: string }
  /** Known, and refused; `reason` is for the log. */
  | { readonly outcome: 'refused', readonly reason: string }
  | { readonly outcome: 'unknown' }

export interface CredentialSource {
  /** What sessions remember their source by: unique in a chain, and without a space. */
  readonly name: string
  /** Throws GW_UNAVAILABLE where `check` would be turned away at once, because too many are waiting. */
  assertRoom (): void
  /** `refused` and `unknown` cost the same work. Throws a Refusal when it cannot tell (GW_UNAVAILABLE). */
  check (credentials: Credentials): Promise<Verdict>
  /** The work of one check, and no answer: so that time does not tell which source knew a name. */
  decoy (password: string): Promise<void>
  /** Asked at each refresh: null when the user is gone or disabled. Throws a Refusal when it cannot tell. */
  find (subjectId: string, foundBy?: string): Promise<Subject | null>
  close (): Promise<void>
}
