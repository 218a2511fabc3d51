/** Access rules that nobody can satisfy: they look like protection, and are an outage, or a rule that was meant otherwise. */
import type { ConfigWarning } from './lint.ts'
import type { AccessConfig, Config } from './schema.ts'

type Rule = Exclude<AccessConfig, string>

/** What the tokens of one source can hold; `any` where others decide it, or the command line. */
interface Giver {
  readonly roles: ReadonlySet<string> | 'any'
  readonly scopes: ReadonlySet<string> | 'any'
  /** undefined: any value. */
  readonly claim: (name: string) => readonly unknown[] | undefined
}

export function lintAccess (config: Config): ConfigWarning[] {
  const givers = [...ownGivers(config), ...foreignGivers(config)]
  return config.routes.flatMap(({ access }, index) => {
    if (typeof access === 'string') return []
    const kinds = (['roles', 'scopes', 'claims'] as const).filter((kind) => access[kind] !== undefined)
    const hopeless = kinds.filter((kind) => !givers.some((giver) => gives(giver, access, kind)))
    const [kind] = hopeless
    if (kind !== undefined) return [{ path: ['routes', index, 'access', kind], message: `Nobody can satisfy this rule: ${whyNot(kind, access, givers)}. Correct it, or add a source that gives them.` }]
    if (givers.some((giver) => kinds.every((one) => gives(giver, access, one)))) return []
    return [{ path: ['routes', index, 'access'], message: `Nobody can satisfy this rule: no source of users gives its ${kinds.join(' and ')} together. Correct it, or add a source that does.` }]
  })
}

function ownGivers ({ credentials, issuer, audience, clients }: Config): Giver[] {
  const fixed: Readonly<Record<string, readonly unknown[]>> = { iss: [issuer], aud: [audience], client_id: ['gatewarden', ...clients.map(({ id }) => id)] }
  const always = new Set(['sub', 'jti', 'sid', 'exp', 'iat', 'roles', 'scope', ...Object.keys(fixed)])
  return credentials.map((source) => source.type === 'htpasswd'
    ? { roles: new Set(source.roles ?? []), scopes: new Set(), claim: (name) => always.has(name) ? valuesOf(fixed, name) : [] }
    : { roles: 'any', scopes: 'any', claim: (name) => valuesOf(fixed, name) })
}

function foreignGivers ({ trustedIssuers }: Config): Giver[] {
  return trustedIssuers.map(({ issuer, roles, scopes }) => ({
    roles: roles === undefined ? 'any' : new Set(roles),
    scopes: scopes === undefined ? 'any' : new Set(scopes),
    claim: (name) => name === 'iss' ? [issuer] : undefined,
  }))
}

function valuesOf (fixed: Readonly<Record<string, readonly unknown[]>>, name: string): readonly unknown[] | undefined {
  return Object.hasOwn(fixed, name) ? fixed[name] : undefined
}

function gives (giver: Giver, rule: Rule, kind: 'roles' | 'scopes' | 'claims'): boolean {
  if (kind !== 'claims') {
    const given = giver[kind]
    return given === 'any' || (rule[kind] ?? []).some((one) => given.has(one))
  }
  return Object.entries(rule.claims ?? {}).every(([name, wanted]) => claimCanBe(giver, name, wanted))
}

function claimCanBe ({ claim }: Giver, name: string, wanted: unknown): boolean {
  const possible = claim(name)
  return possible === undefined || [wanted].flat().some((value) => possible.includes(value))
}

function whyNot (kind: 'roles' | 'scopes' | 'claims', rule: Rule, givers: readonly Giver[]): string {
  if (kind !== 'claims') return `no source of users gives any of the ${kind} ${(rule[kind] ?? []).join(', ')}`
  const [name] = Object.entries(rule.claims ?? {}).find(([one, wanted]) => !givers.some((giver) => claimCanBe(giver, one, wanted))) ?? ['together']
  return `no token has such a claim ${name}`
}
