/** A request's way through: its steps, in order. */
import { METHODS } from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, HTTPMethods, onRequestHookHandler } from 'fastify'
import type { Route, RouteTable } from '../routes/compile.ts'
import type { Verify } from '../tokens/identity.ts'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { findRoute } from './find-route.ts'
import { createForward, type RouteObserver } from './forward.ts'
import { compileHeaderNames } from './header-names.ts'
import { compileIdentityHeaders } from './identity-headers.ts'
import type { LiveConnections } from './live-connections.ts'
import { compileRequestHeaders } from './request-headers.ts'
import type { TrustedProxies } from './trusted-proxies.ts'
import type { UpstreamPool } from './upstreams.ts'
import { clientUpgrade, createWebSocketForward } from './websocket.ts'

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
  app.decorateRequest('identity', null)
  app.decorateRequest('route', null)
  app.addHook('onRequest', findRoute(options.table))      // where does it lead?
  app.addHook('onRequest', authenticate(options.verify))  // who is calling?
  app.addHook('onRequest', authorize)                     // may they?
  app.addHook('onRequest', leaveBodyAlone)
  app.removeAllContentTypeParsers()
  const handler = compileLastStep(options)
  // http-proxy parses three URLs for a destination that `handler` does not ask it for, a tenth of what a request costs:
  // the same function is the route's handler directly (docs/decisions/0016).
  app.addHook('onRoute', (mounting) => { mounting.handler = handler })
  // Mounted once, for all that is not the gateway's own: which route that is, the route table says (docs/decisions/0023).
  await app.register(httpProxy, {
    handler, // identify, strip, forward
    httpMethods: app.supportedMethods.filter((method) => method !== 'CONNECT'),
    config: { forwards: true },
    // Asked for nothing: it has to be there, and with `http` no agent of undici's is opened for it.
    upstream: 'http://upstream.invalid',
    http: {},
  })
}

type LastStep = (request: FastifyRequest, reply: FastifyReply) => void

/** Everything that can be known before a request comes, once per route. */
function compileLastStep (options: GatewayOptions): LastStep {
  const { table, trustedProxies, reservedPrefixes, timeouts } = options
  const names = compileHeaderNames({
    identity: table.routes.flatMap((route) => Object.keys(route.identityHeaders)),
    reservedPrefixes,
  })

  function compile (route: Route): LastStep {
    const requestHeaders = compileRequestHeaders({
      names,
      trustedProxies,
      addIdentityHeaders: compileIdentityHeaders(route.identityHeaders),
      forwardAuthorization: route.forwardAuthorization,
    })
    const shared = { names, requestHeaders, live: options.live, observer: options.observe(route), tokenGrace: timeouts.tokenGrace }
    const forward = createForward(route, {
      ...shared,
      pool: options.pool,
      idleTimeout: timeouts.idle,
      bodyTimes: { idleTimeout: timeouts.clientBody, leastRate: options.bodyRate, rateGrace: timeouts.clientBodyGrace },
    })
    const forwardWebSocket = createWebSocketForward(route, {
      ...shared,
      connectTimeout: timeouts.connect,
    })
    return function lastStep (request, reply) {
      const upgrade = clientUpgrade(request.raw)
      if (upgrade === undefined) forward(request, reply)
      else forwardWebSocket(request, reply, upgrade)
    }
  }

  const lastSteps = new Map<Route | null, LastStep>(table.routes.map((route) => [route, compile(route)]))
  return function lastStep (request, reply) {
    const step = lastSteps.get(request.route)
    if (step === undefined) throw new Error('a request without a route has passed every step')
    step(request, reply)
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

/** Every method that Node can parse, so that Fastify routes them all. Call once, before any route. */
export function supportAllMethods (app: FastifyInstance): void {
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method as HTTPMethods)) app.addHttpMethod(method)
  }
}
