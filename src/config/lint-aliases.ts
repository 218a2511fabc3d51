/** One path of an upstream that two routes lead to by different rules: whoever calls takes the weaker way. */
import { compileRoutes } from '../routes/compile.ts'
import { hostName } from '../routes/hosts.ts'
import type { Config, RouteConfig } from './schema.ts'

export interface Shadow { readonly key: keyof RouteConfig, readonly message: string }

/** For each route, in order: how it leads around the rule of another, or null. */
export function findAliases (config: Config): (Shadow | null)[] {
  const { routes } = config
  const table = compileRoutes(config)
  /** The index of the route that serves a request; a Host that no route names is the empty one. */
  const serving = (method: string, path: string, host: string): number => {
    const found = table.find(method, path, host)
    return found.kind === 'route' ? table.routes.indexOf(found.route) : -1
  }

  const origins = routes.map((route) => upstreamsOf(route).map(({ origin }) => origin))

  return routes.map((route, index) => {
    for (const [otherIndex, other] of routes.entries()) {
      if (other === route || !isWeaker(route, other) || origins[index]?.some((origin) => origins[otherIndex]?.includes(origin)) !== true) continue
      // The upstream may well tell hosts apart where it sees them.
      if (route.preserveHost && other.preserveHost && !shareHost(route, other)) continue
      const method = sharedMethod(route, other)
      if (method === undefined) continue
      const host = route.hosts?.[0] ?? ''
      const upstreamPath = other.stripPrefix ? (route.stripPrefix ? '/' : route.path) : other.path
      const way = route.stripPrefix ? below(route.path, upstreamPath) : upstreamPath
      // A route for just that path may stand in between, with a rule of its own.
      if (serving(method, way, host) !== index) continue
      const usual = other.stripPrefix ? below(other.path, upstreamPath) : upstreamPath
      if (serving(method, usual, other.hosts?.[0] ?? '') !== otherIndex) continue
      return aliasBy(route, other, { way, usual })
    }
    return null
  })
}

function aliasBy (route: RouteConfig, other: RouteConfig, { way, usual }: { readonly way: string, readonly usual: string }): Shadow {
  if (way === usual && route.hosts !== undefined) {
    return { key: 'hosts', message: `At these hosts ${usual} is not protected as it is elsewhere: this route comes before it, and leads to the same upstream by a weaker rule. Repeat ${other.path} with these hosts.` }
  }
  if (way === usual) {
    return { key: 'access', message: `With another Host than ${other.hosts?.join(', ') ?? ''} a call of ${usual} comes here, to the same upstream by a weaker rule than ${other.path} has. Repeat ${other.path} without hosts, or give this route hosts too.` }
  }
  const key = route.stripPrefix ? 'stripPrefix' : 'access'
  return { key, message: `${way} arrives at the same upstream as ${usual}, by a weaker rule than that route has. Give them upstreams of their own, or ${route.stripPrefix ? 'leave the prefix on' : `see that ${other.path} strips no prefix`}.` }
}

/** A path of the upstream's as it is called where the prefix is stripped. */
function below (prefix: string, path: string): string {
  return prefix === '/' ? path : `${prefix}${path}`
}

/** undefined where both name methods, and none of them is in both. */
function sharedMethod (one: RouteConfig, other: RouteConfig): string | undefined {
  const [first = 'GET'] = one.methods ?? other.methods ?? []
  return one.methods === undefined || other.methods === undefined ? first : one.methods.find((method) => other.methods?.includes(method))
}

/** Whether somebody could pass `route` and not `other`. */
export function isWeaker ({ access }: RouteConfig, { access: stronger }: RouteConfig): boolean {
  if (stronger === 'public' || stronger === 'optional') return false
  if (access === 'public' || access === 'optional') return true
  if (stronger === 'authenticated') return false
  return access === 'authenticated' || !implies(access, stronger)
}

type Rule = Exclude<RouteConfig['access'], string>

/** Whether all who meet the one rule meet the other: it asks for each of its kinds, and takes no value that the other does not. */
function implies (rule: Rule, other: Rule): boolean {
  const within = (values: unknown, allowed: unknown) => values !== undefined && [values].flat().every((value) => [allowed].flat().includes(value))
  return (other.roles === undefined || within(rule.roles, other.roles)) &&
    (other.scopes === undefined || within(rule.scopes, other.scopes)) &&
    Object.entries(other.claims ?? {}).every(([claim, allowed]) => Object.hasOwn(rule.claims ?? {}, claim) && within(rule.claims?.[claim], allowed))
}

export function isBelow (path: string, above: string): boolean {
  return path !== above && (above === '/' || path.startsWith(`${above}/`))
}

export function shareHost (one: RouteConfig, other: RouteConfig): boolean {
  if (one.hosts === undefined || other.hosts === undefined) return one.hosts === other.hosts
  const hosts = other.hosts.map(hostName)
  return one.hosts.some((host) => hosts.includes(hostName(host)))
}

export function upstreamsOf ({ upstream }: RouteConfig): URL[] {
  return [upstream].flat().map((text) => new URL(text))
}
