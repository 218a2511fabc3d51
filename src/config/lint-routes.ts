/** Routes that say something else together than each for itself: what is open though it looks protected, and the other way round. */
import { hostName } from '../routes/hosts.ts'
import type { ConfigWarning } from './lint.ts'
import { isLoopback } from './loopback.ts'
import type { Config, RouteConfig } from './schema.ts'

export function lintRoutes ({ routes }: Config): ConfigWarning[] {
  return routes.flatMap((route, index) => {
    const warnings: ConfigWarning[] = []
    const warn = (key: keyof RouteConfig, message: string) => { warnings.push({ path: ['routes', index, key], message }) }
    const plain = upstreamsOf(route).find(({ protocol, hostname }) => protocol === 'http:' && !isLoopback(hostname))
    if (plain !== undefined) warn('upstream', `Identity headers travel to ${plain.host} in the clear, and whoever reaches it can write them. Use https, or see that only the gateway reaches it.`)
    if (route.forwardAuthorization) warn('forwardAuthorization', 'The upstream gets tokens with which it could act as its callers. Leave it out unless the upstream needs them.')
    if (route.preserveHost && route.hosts === undefined) warn('preserveHost', 'Whoever calls chooses which virtual host of the upstream answers. Name the hosts of this route.')
    const shadow = shadowOf(route, routes) ?? hostShadowOf(route, routes) ?? aliasOf(route, routes)
    if (shadow !== null) warn(shadow.key, shadow.message)
    return warnings
  })
}

interface Shadow { readonly key: keyof RouteConfig, readonly message: string }

/** An open route below a protected one. */
function shadowOf (route: RouteConfig, routes: readonly RouteConfig[]): Shadow | null {
  if (isProtected(route)) return null
  const above = routes.find((other) => isProtected(other) && isBelow(route.path, other.path) && shareHost(route, other))
  return above === undefined ? null : { key: 'access', message: `${route.path} is open, though it lies below ${above.path}, which is not. If that is meant, nothing is wrong.` }
}

/** Whoever calls says the Host: with this one they come to the same upstream by a weaker rule. */
function hostShadowOf (route: RouteConfig, routes: readonly RouteConfig[]): Shadow | null {
  if (route.hosts === undefined) return null
  const hidden = routes.find((other) => other.hosts === undefined && isWeaker(route, other) && (other.path === route.path || isBelow(other.path, route.path)) && shareUpstream(route, other))
  if (hidden === undefined) return null
  return { key: 'hosts', message: `At these hosts ${hidden.path} is not protected as it is elsewhere: this route comes before it, and leads to the same upstream by a weaker rule. Repeat ${hidden.path} with these hosts.` }
}

/** `/public` with stripPrefix makes `/admin` of `/public/admin`: if its upstream serves `/admin` to another route too, that rule is walked around. */
function aliasOf (route: RouteConfig, routes: readonly RouteConfig[]): Shadow | null {
  if (!route.stripPrefix || route.path === '/') return null
  const reached = routes.find((other) => other !== route && isWeaker(route, other) && !other.stripPrefix && other.path !== '/' && shareUpstream(route, other) && !isBelow(other.path, route.path))
  if (reached === undefined) return null
  return { key: 'stripPrefix', message: `${route.path}${reached.path} arrives at the same upstream as ${reached.path}, by a weaker rule than that route has. Give them upstreams of their own, or leave the prefix on.` }
}

function isProtected ({ access }: RouteConfig): boolean {
  return access !== 'public' && access !== 'optional'
}

/** Whether somebody could pass `route` and not `other`, as far as the kind of rule tells. */
function isWeaker (route: RouteConfig, other: RouteConfig): boolean {
  const strength = ({ access }: RouteConfig) => access === 'public' || access === 'optional' ? 0 : access === 'authenticated' ? 1 : 2
  return strength(route) < strength(other) || (strength(route) === 2 && strength(other) === 2 && JSON.stringify(route.access) !== JSON.stringify(other.access))
}

function isBelow (path: string, above: string): boolean {
  return path !== above && (above === '/' || path.startsWith(`${above}/`))
}

function shareHost (one: RouteConfig, other: RouteConfig): boolean {
  if (one.hosts === undefined || other.hosts === undefined) return one.hosts === other.hosts
  const hosts = other.hosts.map(hostName)
  return one.hosts.some((host) => hosts.includes(hostName(host)))
}

function shareUpstream (one: RouteConfig, other: RouteConfig): boolean {
  const origins = upstreamsOf(other).map(({ origin }) => origin)
  return upstreamsOf(one).some(({ origin }) => origins.includes(origin))
}

function upstreamsOf ({ upstream }: RouteConfig): URL[] {
  return [upstream].flat().map((text) => new URL(text))
}
