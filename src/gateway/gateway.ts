/** A request's way through: for each route an encapsulated scope that holds its steps, in order. */
import { METHODS } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, HTTPMethods, onRequestHookHandler } from 'fastify'
import { Refusal } from '../errors.ts'
import { pathOf } from '../routes/canonical-path.ts'
import { allowedMethods, notForwarded, type Mount, type Route, type RouteTable } from '../routes/compile.ts'
import type { Verify } from '../tokens/identity.ts'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { createForward, type RouteObserver } from './forward.ts'
import { compileHeaderNames } from './header-names.ts'
import { compileIdentityHeaders } from './identity-headers.ts'
import type { LiveConnections } from './live-connections.ts'
import { compileRequestHeaders } from './request-headers.ts'
import type { TrustedProxies } from './trusted-proxies.ts'
import type { UpstreamPool } from './upstreams.ts'
import { clientUpgrade, createWebSocketForward } from './websocket.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The configured route that a request came to; absent on the gateway's own endpoints. */
    route?: Route
  }
}

export interface GatewayOptions {
  readonly table: RouteTable
  readonly verify: Verify
  readonly pool: UpstreamPool
  readonly live: LiveConnections
  readonly trustedProxies: TrustedProxies
  readonly reservedPrefixes: readonly string[]
  readonly observe: (route: Route) => RouteObserver
  /** Milliseconds. */
  readonly timeouts: { readonly connect: number, readonly idle: number, readonly clientBody: number, readonly clientBodyGrace: number, readonly tokenGrace: number }
  /** Bytes a second. */
  readonly bodyRate: number
}

export const gateway: FastifyPluginAsync<GatewayOptions> = async (app, options) => {
  const { table, verify } = options
  const compile = compileSteps(options)
  const steps = new Map(table.routes.map((route) => [route, compile(route)]))
  app.decorateRequest('identity', null)
  for (const place of table.mounts) {
    for (const route of place.routes) {
      await app.register(async (scope) => {
        scope.addHook('onRequest', onlyThisRoute(table, route))
        if (route.access.token !== 'none') {
          scope.addHook('onRequest', authenticate(verify, route.access.token)) // who is calling?
          scope.addHook('onRequest', authorize(route.access))                  // may they?
        }
        scope.addHook('onRequest', leaveBodyAlone)
        scope.removeAllContentTypeParsers()
        const mounted = mount(route, place, steps.get(route) ?? compile(route))
        // http-proxy parses three URLs for a destination that `handler` does not ask it for, a tenth of what a request costs:
        // the same function is the route's handler directly (docs/decisions/0016).
        scope.addHook('onRoute', (mounting) => { mounting.handler = mounted.handler })
        await scope.register(httpProxy, mounted) // strip, identify, forward
      })
    }
    refuseOtherMethods(app, place)
    // A reload makes this beside the requests: each of hundreds of routes takes milliseconds, and they are not to wait for all.
    await nextTurn()
  }
}

/** Everything that can be known before a request comes, once per route. */
function compileSteps (options: GatewayOptions) {
  const { table, trustedProxies, reservedPrefixes } = options
  const names = compileHeaderNames({
    identity: table.routes.flatMap((route) => Object.keys(route.identityHeaders)),
    reservedPrefixes,
  })
  return function steps (route: Route) {
    const requestHeaders = compileRequestHeaders({
      names,
      trustedProxies,
      identityHeaders: compileIdentityHeaders(route.identityHeaders),
      forwardAuthorization: route.forwardAuthorization,
    })
    const shared = { names, requestHeaders, live: options.live, observer: options.observe(route), tokenGrace: options.timeouts.tokenGrace }
    const forward = createForward(route, {
      ...shared,
      pool: options.pool,
      idleTimeout: options.timeouts.idle,
      bodyTimes: { idleTimeout: options.timeouts.clientBody, leastRate: options.bodyRate, rateGrace: options.timeouts.clientBodyGrace },
    })
    const forwardWebSocket = createWebSocketForward(route, {
      ...shared,
      connectTimeout: options.timeouts.connect,
    })
    return { forward, forwardWebSocket }
  }
}

type Steps = ReturnType<ReturnType<typeof compileSteps>>

/** http-proxy does the mounting: prefix, methods, scope. What happens to a request is `handler`, which is ours. */
function mount (route: Route, place: Mount, { forward, forwardWebSocket }: Steps) {
  const prefix = place.at === '/' ? '' : place.at
  const httpMethods = route.methods ?? forwardable()
  return {
    prefix,
    upstream: route.upstreams[0]?.origin ?? '',
    httpMethods: [...httpMethods],
    config: { route },
    constraints: constraintsOf(place),
    // It is never asked for an upstream's answer: with `http` it opens no agent of undici's for that.
    http: {},
    // The path was read once, by canonical-path; http-proxy would parse the query and write it again.
    preRewrite: () => '/',
    handler (request: FastifyRequest, reply: FastifyReply) {
      const upgrade = clientUpgrade(request.raw)
      if (upgrade === undefined) forward(request, reply)
      else forwardWebSocket(request, reply, upgrade)
    },
  }
}

/** Before any rule: the bytes that were matched must lead here in every reading that an upstream could have. */
function onlyThisRoute (table: RouteTable, route: Route): onRequestHookHandler {
  return function onlyThisRoute (request, _reply, done) {
    if (table.isAmbiguous(pathOf(request.raw.url ?? ''), route.path, request.headers.host)) {
      throw new Refusal('GW_PATH_AMBIGUOUS', { reason: 'a lenient reading of the path leads to another route' })
    }
    done()
  }
}

/**
 * The body is the upstream's, of whatever type. Fastify would refuse a Content-Type that it cannot read, so it is
 * kept from seeing one; what is forwarded are the raw headers, which still have it.
 */
const leaveBodyAlone: onRequestHookHandler = function leaveBodyAlone (request, _reply, done) {
  delete request.raw.headers['content-type']
  done()
}

function constraintsOf ({ group }: Mount) {
  return group === null ? {} : { host: group }
}

/** A method that no route of a path takes is refused there, and never falls through to a shorter path. */
function refuseOtherMethods (app: FastifyInstance, place: Mount): void {
  const taken = place.routes.flatMap((route) => route.methods ?? forwardable())
  const method = supported(app).filter((one) => !taken.includes(one))
  const allow = allowedMethods(place.routes)
  // All that http-proxy mounts: a path that it knows letter by letter comes before one that ends in `*`, whatever the host.
  for (const url of place.at === '/' ? ['/', '/*'] : [place.at, `${place.at}/`, `${place.at}/*`]) {
    app.route({
      url,
      method,
      constraints: constraintsOf(place),
      onRequest: () => { throw new Refusal('GW_METHOD_NOT_ALLOWED', { allow }) },
      handler: () => {},
    })
  }
}

/** Every method that Node can parse, so that Fastify routes them all. Call once, before any route. */
export function supportAllMethods (app: FastifyInstance): void {
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method as HTTPMethods)) app.addHttpMethod(method)
  }
}

function supported (app: FastifyInstance): HTTPMethods[] {
  return app.supportedMethods.filter((method) => method !== 'CONNECT')
}

function forwardable (): string[] {
  return METHODS.filter((method) => !notForwarded.includes(method))
}
