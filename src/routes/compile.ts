/** The routes of the configuration as values: resolved, ordered, and findable by path. */
import type { Config, RouteConfig } from '../config/schema.ts'
import { compileAccess, type Access } from './access.ts'
import { compileAllowances, lenientReading, pathFault, readingsOf } from './canonical-path.ts'
import { hostName } from './hosts.ts'

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
  /** Where the router has to mount what, so that it decides as `match` does. */
  readonly mounts: readonly Mount[]
  /** The hosts of one group have the same routes; undefined for a host that no route names. */
  hostGroup (host: string): string | undefined
  /**
   * The route that a method, a path (without query) and a Host lead to: among the routes that name the host the longest path, and
   * where none of those has it, among those without hosts. The path and the host decide; the method may then fail it.
   */
  match (method: string, path: string, host?: string): { readonly route: Route } | { readonly allow: string } | null
  /** Whether a lenient upstream could take the path for one of another route than `matched`. */
  isAmbiguous (path: string, matched: string | null, host?: string): boolean
}

/** Routes that share a path and hosts, and differ in their methods. */
interface Place {
  readonly path: string
  readonly routes: readonly Route[]
}

export interface Mount extends Place {
  /** Where it is mounted: also below its own path, where a route without hosts would else take what is this host's. */
  readonly at: string
  /** null: every host. */
  readonly group: string | null
}

/** RFC 9110 §9.3.8: a TRACE answer would show the client what only the upstream should see. CONNECT is for tunnels. */
export const notForwarded: readonly string[] = ['TRACE', 'CONNECT']

export function compileRoutes (config: Pick<Config, 'routes' | 'timeouts' | 'limits' | 'identity'>): RouteTable {
  const routes = config.routes.map((route) => compileRoute(route, config))
  const everyHost = placesOf(routes.filter(({ hosts }) => hosts === null))
  const { groupOf, groups } = groupHosts(routes)
  const pathsArePlain = routes.every(({ path }) => lenientReading(path) === path)
  const somethingIsAllowed = routes.some(({ allowPath }) => allowPath !== 0)

  const hostGroup = (host: string) => groupOf.size === 0 ? undefined : groupOf.get(hostName(host))
  const find = (reading: 'exact' | 'lenient', path: string, host: string): Place | null => {
    const own = groups.get(hostGroup(host) ?? '')
    return (own === undefined ? null : longestPrefix(own[reading], path)) ?? longestPrefix(everyHost[reading], path)
  }

  return {
    routes,
    mounts: mountsOf(everyHost, groups),
    hostGroup,
    match (method, path, host = '') {
      const found = find('exact', path, host)
      if (found === null) return null
      const route = found.routes.find((one) => takesMethod(one, method))
      return route === undefined ? { allow: allowedMethods(found.routes) } : { route }
    },
    isAmbiguous (path, matched, host = '') {
      if (somethingIsAllowed && pathFault(path) !== null) {
        const readings = readingsOf(path)
        return readings === null || (find('exact', path, host)?.path ?? null) !== matched ||
          [...readings].some((reading) => (find('lenient', reading, host)?.path ?? null) !== matched)
      }
      const reading = lenientReading(path)
      if (reading === path && pathsArePlain) return false
      return (find('lenient', reading, host)?.path ?? null) !== matched
    },
  }
}

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
  const exact = new Map<string, Place>()
  for (const route of routes) exact.set(route.path, { path: route.path, routes: [...exact.get(route.path)?.routes ?? [], route] })
  return { exact: measured(exact), lenient: measured(new Map([...exact.values()].map((place) => [lenientReading(place.path), place]))) }
}

function measured (byPath: ReadonlyMap<string, Place>): PlacesByPath {
  return { byPath, longest: Math.max(0, ...[...byPath.keys()].map((path) => path.length)) }
}

/** Hosts that the same routes name are one group: the router knows groups, and it has room for 30. */
function groupHosts (routes: readonly Route[]): { readonly groupOf: ReadonlyMap<string, string>, readonly groups: ReadonlyMap<string, Places> } {
  const hosts = new Set(routes.flatMap((route) => route.hosts ?? []))
  const groupOf = new Map<string, string>()
  const groups = new Map<string, Places>()
  for (const host of hosts) {
    const named = routes.filter((route) => route.hosts?.includes(host) === true)
    const group = named.map((route) => routes.indexOf(route)).join(',')
    groupOf.set(host, group)
    if (!groups.has(group)) groups.set(group, placesOf(named))
  }
  return { groupOf, groups }
}

/**
 * The router looks for the longest path first, and for the host then; here a host comes first. So the routes of a host are mounted
 * at the longer paths of the routes without hosts too, and are there before them.
 */
function mountsOf (everyHost: Places, groups: ReadonlyMap<string, Places>): Mount[] {
  const mounts: Mount[] = [...everyHost.exact.byPath.values()].map((place) => ({ ...place, at: place.path, group: null }))
  for (const [group, { exact }] of groups) {
    for (const at of new Set([...exact.byPath.keys(), ...everyHost.exact.byPath.keys()])) {
      const place = longestPrefix(exact, at)
      if (place !== null) mounts.push({ ...place, at, group })
    }
  }
  return mounts
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
