/** What the routes say of a request that another proxy asks about: whose rule it comes under, and which headers name its caller. */
import { Refusal } from '../errors.ts'
import type { RouteTable } from '../routes/compile.ts'
import type { Identity } from '../tokens/identity.ts'
import { compileHeaderNames } from './header-names.ts'
import { compileIdentityHeaders, type Mapping } from './identity-headers.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

export interface ForwardAuthOptions {
  readonly table: RouteTable
  readonly trustedProxies: TrustedProxies
  /** `headers`: header → claim, where no route says otherwise. */
  readonly identity: { readonly headers: Mapping, readonly reservedPrefixes: readonly string[] }
}

/** `ForwardAuth` of login/verify.ts, which asks it. */
export function compileForwardAuth ({ table, trustedProxies, identity }: ForwardAuthOptions) {
  const byRoute = new Map(table.routes.map((route) => [route, { ...route.access, identityHeaders: identityPairs(route.identityHeaders) }]))
  const names = compileHeaderNames({
    identity: [identity.headers, ...table.routes.map((route) => route.identityHeaders)].flatMap((mapping) => Object.keys(mapping)),
    reservedPrefixes: identity.reservedPrefixes,
  })
  return {
    trustsProxy: trustedProxies.trusts,
    isIdentityHeader: names.isIdentity,
    identityHeaders: identityPairs(identity.headers),
    matchRoute (method: string, uri: string, host: string) {
      const found = table.find(method, uri, host)
      if (found.kind === 'ambiguous') throw new Refusal('GW_PATH_AMBIGUOUS', { reason: found.reason })
      if (found.kind === 'other methods') return 'denied'
      return found.route === null ? null : byRoute.get(found.route) ?? null
    },
  }
}

function identityPairs (mapping: Mapping): (identity: Identity) => [name: string, value: string][] {
  const addIdentityHeaders = compileIdentityHeaders(mapping)
  return function pairs (identity) {
    const flat: string[] = []
    addIdentityHeaders(flat, identity)
    return inPairs(flat)
  }
}

function inPairs (flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let index = 0; index < flat.length; index += 2) pairs.push([flat[index] ?? '', flat[index + 1] ?? ''])
  return pairs
}
