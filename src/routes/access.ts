/** What a route demands of its caller: access from the configuration → a decision over an identity. */
import type { AccessConfig } from '../config/schema.ts'
import type { Identity } from '../tokens/identity.ts'

export interface Access {
  /** Whether a token is needed (`required`), used if there is one (`optional`), or not looked at (`none`). */
  readonly token: 'none' | 'optional' | 'required'
  readonly allows: (identity: Identity) => boolean
  /** As the operator wrote it: for explain, and for the log. */
  readonly description: string
  /** The scopes that would do, for the challenge of a 403 (RFC 6750 §3.1). */
  readonly scope: string | null
}

type Rule = Exclude<AccessConfig, string>
type Requirement = (identity: Identity) => boolean

export function compileAccess (access: AccessConfig): Access {
  if (access === 'public') return { token: 'none', allows: anybody, description: access, scope: null }
  if (access === 'optional') return { token: 'optional', allows: anybody, description: access, scope: null }
  if (access === 'authenticated') return { token: 'required', allows: anybody, description: access, scope: null }
  const requirements = ruleRequirements(access)
  return {
    token: 'required',
    allows: (identity) => requirements.every((holds) => holds(identity)),
    description: JSON.stringify(access),
    scope: access.scopes?.join(' ') ?? null,
  }
}

const anybody = () => true

/** All named kinds must hold; of a kind, any value does. */
function ruleRequirements ({ roles, scopes, claims }: Rule): Requirement[] {
  const requirements: Requirement[] = []
  if (roles !== undefined) requirements.push((identity) => roles.some((role) => identity.roles.includes(role)))
  if (scopes !== undefined) requirements.push((identity) => scopes.some((scope) => identity.scopes.includes(scope)))
  for (const [claim, wanted] of Object.entries(claims ?? {})) {
    const values = Array.isArray(wanted) ? wanted : [wanted]
    requirements.push((identity) => claimMatches(identity, claim, values))
  }
  return requirements
}

function claimMatches (identity: Identity, claim: string, wanted: readonly unknown[]): boolean {
  const value = claimOf(identity, claim)
  return Array.isArray(value) ? value.some((one) => wanted.includes(one)) : wanted.includes(value)
}

/** undefined for a claim that the token does not have. */
export function claimOf (identity: Identity, claim: string): unknown {
  // The id as upstreams see it, which for other issuers' users is not what the token says.
  if (claim === 'sub') return identity.subject
  return Object.hasOwn(identity.claims, claim) ? identity.claims[claim] : undefined
}
