/** The routes of the configuration as values: resolved, ordered, and findable by path. */
import type { Config, RouteConfig } from '../config/schema.ts'
import { compileAccess, type Access } from './access.ts'
import { compileAllowances, lenientReading, pathFault, pathOf, readingsOf } from './canonical-path.ts'
import { hostName } from './hosts.ts'
import { targetFault } from './target-fault.ts'

export interface Route {
  readonly path: string
  /** How logs and metrics call it: `/admin`, `GET,POST /admin` where it names methods, `api.example.com/admin` where hosts. */
  readonly name: string
  /** As `hostName` reads them; null: every host that is not another route's. */
  readonly hosts: readonly string[] | null
  /** What `pathFault` lets through here: pathAllowances, added. */
  readonly allowPath: number
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
  /**
   * Where a request leads by its method, target (origin-form, query included) and Host: among the routes that name the host to the
   * longest path, and where none of those has it, among those without hosts. The path and the host decide; the method may then
   * fail it. The bytes of the target must lead there in every reading that an upstream could have.
   */
  find (method: string, target: string, host?: string): Found
}

export type Found =
  | { readonly kind: 'route', readonly route: Route }
  /** The path is served, but not by this method; `allow` is for the header of that name. `route` is one of those there. */
  | { readonly kind: 'other methods', readonly route: Route | null, readonly allow: string }
  /** The target can be read in two ways, whatever it leads to. */
  | { readonly kind: 'ambiguous', readonly route: Route | null, readonly reason: string }
  | { readonly kind: 'nowhere', readonly route: null }

/** Routes that share a path and hosts, and differ in their methods. */
interface Place {
  readonly path: string
  readonly byMethod: ReadonlyMap<string, Found>
  readonly byOthers: Found
}

/** RFC 9110 §9.3.8: a TRACE answer would show the client what only the upstream should see. CONNECT is for tunnels. */
const notForwarded: readonly string[] = ['TRACE', 'CONNECT']

const nowhere: Found = { kind: 'nowhere', route: null }

export function compileRoutes (config: Pick<Config, 'routes' | 'timeouts' | 'limits' | 'identity'>): RouteTable {
  const routes = config.routes.map((route) => compileRoute(route, config))
  const everyHost = placesOf(routes.filter(({ hosts }) => hosts === null))
  const byHost = placesByHost(routes)
  const pathsArePlain = routes.every(({ path }) => lenientReading(path) === path)
  const somethingIsAllowed = routes.some(({ allowPath }) => allowPath !== 0)

  function placeAt (reading: 'exact' | 'lenient', path: string, host: string): Place | null {
    const own = byHost.size === 0 ? undefined : byHost.get(hostName(host))
    return (own === undefined ? null : longestPrefix(own[reading], path)) ?? longestPrefix(everyHost[reading], path)
  }

  /** Whether a lenient upstream could take the path for one of another place. */
  function isAmbiguous (path: string, place: Place, host: string): boolean {
    const reading = lenientReading(path)
    if (reading === path && pathsArePlain && !somethingIsAllowed) return false
    const leadsElsewhere = (one: string) => placeAt('lenient', one, host) !== place
    if (leadsElsewhere(reading)) return true
    if (!ENCODED_QUERY.test(path) && !(somethingIsAllowed && pathFault(path) !== null)) return false
    const readings = readingsOf(path)
    return readings === null || [...readings].some(leadsElsewhere)
  }

  return {
    routes,
    find (method, target, host = '') {
      const path = pathOf(target)
      const place = placeAt('exact', path, host)
      const found = place === null ? nowhere : place.byMethod.get(method) ?? place.byOthers
      const fault = targetFault(target, found.kind === 'route' ? found.route : null)
      if (fault !== null) return { kind: 'ambiguous', route: found.route, reason: fault }
      if (place !== null && isAmbiguous(path, place, host)) return { kind: 'ambiguous', route: found.route, reason: 'a lenient reading of the path leads to another route' }
      return found
    },
  }
}

/** Behind it one server reads a query, and another the rest of the path: `lenientReading` is one of them. */
const ENCODED_QUERY = /%(?:3f|23)/i

interface Places {
  readonly exact: PlacesByPath
  /** By the lenient reading of their paths. */
  readonly lenient: PlacesByPath
}

interface PlacesByPath {
  readonly byPath: ReadonlyMap<string, Place>
  /** Characters of the longest path: beyond them nothing is looked for. */
  readonly longest: number
}

function placesOf (routes: readonly Route[]): Places {
  const byPath = new Map<string, Route[]>()
  for (const route of routes) byPath.set(route.path, [...byPath.get(route.path) ?? [], route])
  const places = [...byPath].map(([path, there]) => placeOf(path, there))
  return {
    exact: measured(new Map(places.map((place) => [place.path, place]))),
    lenient: measured(new Map(places.map((place) => [lenientReading(place.path), place]))),
  }
}

function placeOf (path: string, routes: readonly Route[]): Place {
  const allow = [...new Set(routes.flatMap(({ methods }) => methods ?? []))].join(', ')
  const refused: Found = { kind: 'other methods', route: routes[0] ?? null, allow }
  const byMethod = new Map<string, Found>(notForwarded.map((method) => [method, refused]))
  let byOthers: Found = refused
  for (const route of routes) {
    const found: Found = { kind: 'route', route }
    if (route.methods === null) byOthers = found
    else for (const method of route.methods) byMethod.set(method, found)
  }
  return { path, byMethod, byOthers }
}

function measured (byPath: ReadonlyMap<string, Place>): PlacesByPath {
  return { byPath, longest: Math.max(0, ...[...byPath.keys()].map((path) => path.length)) }
}

function placesByHost (routes: readonly Route[]): ReadonlyMap<string, Places> {
  const naming = new Map<string, Route[]>()
  for (const route of routes) {
    for (const host of new Set(route.hosts)) naming.set(host, [...naming.get(host) ?? [], route])
  }
  return new Map([...naming].map(([host, named]) => [host, placesOf(named)]))
}

function compileRoute (route: RouteConfig, config: Pick<Config, 'timeouts' | 'limits' | 'identity'>): Route {
  const methods = route.methods === undefined ? null : withHead(route.methods)
  const upstreams = typeof route.upstream === 'string' ? [route.upstream] : route.upstream
  const place = `${route.hosts?.join(',') ?? ''}${route.path}`
  return {
    path: route.path,
    name: route.methods === undefined ? place : `${route.methods.join(',')} ${place}`,
    hosts: route.hosts?.map(hostName) ?? null,
    allowPath: compileAllowances(route.allowPath ?? []),
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
function longestPrefix ({ byPath, longest }: PlacesByPath, path: string): Place | null {
  // Of a path of ten thousand slashes every prefix would be cut and hashed: time by the square of what a client sends.
  let end = path.length <= longest ? path.length : path.lastIndexOf('/', longest)
  for (; end > 0; end = path.lastIndexOf('/', end - 1)) {
    const place = byPath.get(path.slice(0, end))
    if (place !== undefined) return place
  }
  return byPath.get('/') ?? null
}
