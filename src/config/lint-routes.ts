/** Routes that say something else together than each for itself: what is open though it looks protected, and the other way round. */
import { findAliases, isBelow, isWeaker, shareHost, upstreamsOf, type Shadow } from './lint-aliases.ts'
import type { ConfigWarning } from './lint.ts'
import { isLoopback } from './loopback.ts'
import type { Config, RouteConfig } from './schema.ts'

export function lintRoutes (config: Config): ConfigWarning[] {
  const { routes } = config
  const aliases = findAliases(config)
  return routes.flatMap((route, index) => {
    const warnings: ConfigWarning[] = []
    const warn = (key: keyof RouteConfig, message: string) => { warnings.push({ path: ['routes', index, key], message }) }
    const plain = upstreamsOf(route).find(({ protocol, hostname }) => protocol === 'http:' && !isLoopback(hostname))
    if (plain !== undefined) warn('upstream', `Identity headers travel to ${plain.host} in the clear, and whoever reaches it can write them. Use https, or see that only the gateway reaches it.`)
    if (route.forwardAuthorization) warn('forwardAuthorization', 'The upstream gets tokens with which it could act as its callers. Leave it out unless the upstream needs them.')
    if (route.preserveHost && route.hosts === undefined) warn('preserveHost', 'Whoever calls chooses which virtual host of the upstream answers. Name the hosts of this route.')
    const shadow = aliases[index] ?? shadowOf(route, routes) ?? overrideOf(route, routes)
    if (shadow !== null) warn(shadow.key, shadow.message)
    return warnings
  })
}

/** An open route below a protected one. */
function shadowOf (route: RouteConfig, routes: readonly RouteConfig[]): Shadow | null {
  if (isProtected(route)) return null
  const above = routes.find((other) => isProtected(other) && isBelow(route.path, other.path) && shareHost(route, other))
  return above === undefined ? null : { key: 'access', message: `${route.path} is open, though it lies below ${above.path}, which is not. If that is meant, nothing is wrong.` }
}

/** The headers that would say another method are dropped (gateway/header-names); what a form says is the upstream's. */
function overrideOf (route: RouteConfig, routes: readonly RouteConfig[]): Shadow | null {
  if (route.methods?.includes('POST') !== true) return null
  const other = routes.find((one) => one.path === route.path && shareHost(one, route) && isWeaker(route, one) && one.methods?.some((method) => ['PUT', 'PATCH', 'DELETE'].includes(method)) === true)
  if (other === undefined) return null
  return { key: 'methods', message: `An upstream that takes _method from a form or a query, as Rails and Laravel do, lets whoever may POST here do what ${(other.methods ?? []).join(', ')} ${other.path} asks more for. Give both one rule, or see that the upstream takes none.` }
}

function isProtected ({ access }: RouteConfig): boolean {
  return access !== 'public' && access !== 'optional'
}
