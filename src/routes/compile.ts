/** The routes of the configuration as values: resolved, ordered, and findable by path. */
import type { Config, RouteConfig } from '../config/schema.ts'
import { compileAccess, type Access } from './access.ts'
import { lenientReading } from './canonical-path.ts'

export interface Route {
  readonly path: string
  /** How logs and metrics call it: `/admin`, or `GET,POST /admin` where it names methods. */
  readonly name: string
  /** null: every method but TRACE and CONNECT. */
  readonly methods: readonly string[] | null
  readonly upstreams: readonly URL[]
  readonly access: Access
  /** Characters cut from the front of the path before it is forwarded. */
  readonly stripLength: number
  readonly preserveHost: boolean
  readonly forwardAuthorization: boolean
  readonly websocket: boolean
  /** Milliseconds until the head of the answer. */
  readonly timeout: number
  /** Bytes. */
  readonly bodyLimit: number
  /** Header → claim or user attribute. */
  readonly identityHeaders: Readonly<Record<string, string>>
}

export interface RouteTable {
  readonly routes: readonly Route[]
  /** The route that a method and a path (without query) lead to; the path alone decides, the method may then fail it. */
  match (method: string, path: string): { readonly route: Route } | { readonly allow: string } | null
  /** Whether a lenient upstream could take the path for one of another route than `matched`. */
  isAmbiguous (path: string, matched: string | null): boolean
}

/** RFC 9110 §9.3.8: a TRACE answer would show the client what only the upstream should see. CONNECT is for tunnels. */
export const notForwarded: readonly string[] = ['TRACE', 'CONNECT']

export function compileRoutes (config: Pick<Config, 'routes' | 'timeouts' | 'limits' | 'identity'>): RouteTable {
  const routes = config.routes.map((route) => compileRoute(route, config))
  const byPath = new Map<string, Route[]>()
  for (const route of routes) byPath.set(route.path, [...byPath.get(route.path) ?? [], route])
  const byLenientPath = new Map([...byPath.keys()].map((path) => [lenientReading(path), path]))
  const pathsArePlain = [...byLenientPath].every(([lenient, path]) => lenient === path)

  return {
    routes,
    match (method, path) {
      const found = byPath.get(longestPrefix(byPath, path) ?? '')
      if (found === undefined) return null
      const route = found.find((one) => takesMethod(one, method))
      return route === undefined ? { allow: allowedMethods(found) } : { route }
    },
    isAmbiguous (path, matched) {
      const reading = lenientReading(path)
      if (reading === path && pathsArePlain) return false
      const lenient = longestPrefix(byLenientPath, reading)
      return (lenient === null ? null : byLenientPath.get(lenient) ?? null) !== matched
    },
  }
}

/** `Allow` of a 405. */
export function allowedMethods (routes: readonly Route[]): string {
  return [...new Set(routes.flatMap((route) => route.methods ?? []))].join(', ')
}

function takesMethod (route: Route, method: string): boolean {
  return route.methods === null ? !notForwarded.includes(method) : route.methods.includes(method)
}

function compileRoute (route: RouteConfig, config: Pick<Config, 'timeouts' | 'limits' | 'identity'>): Route {
  const methods = route.methods === undefined ? null : withHead(route.methods)
  const upstreams = typeof route.upstream === 'string' ? [route.upstream] : route.upstream
  return {
    path: route.path,
    name: route.methods === undefined ? route.path : `${route.methods.join(',')} ${route.path}`,
    methods,
    upstreams: upstreams.map((upstream) => new URL(upstream)),
    access: compileAccess(route.access),
    stripLength: route.stripPrefix && route.path !== '/' ? route.path.length : 0,
    preserveHost: route.preserveHost,
    forwardAuthorization: route.forwardAuthorization,
    websocket: route.websocket,
    timeout: route.timeout ?? config.timeouts.upstream,
    bodyLimit: route.limits?.body ?? config.limits.body,
    identityHeaders: route.identity?.headers ?? config.identity.headers,
  }
}

function withHead (methods: readonly string[]): string[] {
  return methods.includes('GET') && !methods.includes('HEAD') ? [...methods, 'HEAD'] : [...methods]
}

/** `/api` holds `/api` and `/api/…`, never `/apix`; `/` holds everything. */
function longestPrefix (paths: ReadonlyMap<string, unknown>, path: string): string | null {
  for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
    const prefix = path.slice(0, end)
    if (paths.has(prefix)) return prefix
  }
  return paths.has('/') ? '/' : null
}
