/** Which routes a Host can lead to: those that name it, and only where none of them has the path those without hosts (docs/decisions/0008). */
import type { RouteConfig } from '../config/schema.ts'
import { hostName } from '../routes/hosts.ts'

interface Aimed {
  readonly config: Pick<RouteConfig, 'path' | 'hosts'>
  readonly host: string
}

/** A host that nobody has (RFC 6761 §6.4), and so no route names. */
export const unnamedHost = 'attack.invalid'

/** Where to aim at a route: at the first host that it names; without hosts at `usual`, unless the routes that name that one take its path. */
export function aimedHost ({ path, hosts }: RouteConfig, routes: readonly RouteConfig[], usual: string): string {
  if (hosts !== undefined) return hosts[0] ?? usual
  return routes.some((one) => namesHost(one, usual) && isUnder(path, one.path)) ? unnamedHost : usual
}

export function namesHost ({ hosts = [] }: Pick<RouteConfig, 'hosts'>, host: string): boolean {
  return hosts.some((one) => hostName(one) === hostName(host))
}

/** One at which both could be asked; undefined where there is none. */
export function sharedHost (one: Aimed, other: Aimed): string | undefined {
  if (one.config.hosts === undefined) return other.config.hosts === undefined && one.host === unnamedHost ? unnamedHost : other.host
  return other.config.hosts === undefined ? one.host : one.config.hosts.find((host) => namesHost(other.config, host))
}

/** The routes that could serve the path at that host, most of all by their path: with several rules for it the method decides. */
export function routesAt <Route extends Aimed> (routes: readonly Route[], host: string, path: string): readonly Route[] {
  const named = longest(routes.filter(({ config }) => namesHost(config, host)), path)
  return named.length > 0 ? named : longest(routes.filter(({ config: { hosts } }) => hosts === undefined), path)
}

function longest <Route extends Aimed> (routes: readonly Route[], path: string): readonly Route[] {
  const under = routes.filter(({ config }) => isUnder(path, config.path))
  const length = Math.max(...under.map(({ config }) => config.path.length))
  return under.filter(({ config }) => config.path.length === length)
}

/** As a reader takes it to whom letters are one in both cases: an upstream may be such a one. */
function isUnder (path: string, above: string): boolean {
  return above === '/' || path.toLowerCase() === above.toLowerCase() || path.toLowerCase().startsWith(`${above.toLowerCase()}/`)
}
