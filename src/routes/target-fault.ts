/** A request target against the route that it leads to: what that route allows on purpose, and nothing else. */
import { pathFault } from './canonical-path.ts'
import type { Route } from './compile.ts'

/** Why it is refused; null where it is not. Without a route nothing is allowed. */
export function targetFault (target: string, route: Pick<Route, 'allowPath' | 'stripLength'> | null): string | null {
  const fault = pathFault(target)
  if (fault === null || route === null || route.allowPath === 0) return fault
  const rest = target.slice(route.stripLength)
  // What is left once the prefix is cut is a path of its own to the upstream: `/files//host` would become `//host`.
  return pathFault(target, route.allowPath) ?? (rest.startsWith('/') ? pathFault(rest, route.allowPath) : null)
}
