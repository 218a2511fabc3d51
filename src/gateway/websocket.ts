/** 5' the same for WebSockets: a handshake passes the steps of a request, then upgrade.ts tunnels it. */
import { ServerResponse, type IncomingMessage, type RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../errors.ts'
import type { Route } from '../routes/compile.ts'
import { upstreamPath, type RouteObserver } from './forward.ts'
import type { HeaderNames } from './header-names.ts'
import type { LiveConnections } from './live-connections.ts'
import type { RequestHeaders } from './request-headers.ts'
import { forwardUpgrade, readHandshake, type UpgradeOutcome } from './upgrade.ts'
import { inTurn } from './upstreams.ts'

export interface WebSocketForwardOptions {
  readonly names: HeaderNames
  readonly requestHeaders: RequestHeaders
  readonly live: LiveConnections
  readonly observer: RouteObserver
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Milliseconds that a WebSocket outlives its token by. */
  readonly tokenGrace: number
}

export type WebSocketForward = (request: FastifyRequest, reply: FastifyReply, client: ClientUpgrade) => void

/** The connection behind a handshake, which Node has let go of. */
export interface ClientUpgrade {
  readonly socket: Duplex
  /** What the client sent behind the handshake already. */
  readonly head: Buffer
}

const upgrades = new WeakMap<IncomingMessage, ClientUpgrade>()

export function clientUpgrade (request: IncomingMessage): ClientUpgrade | undefined {
  return upgrades.get(request)
}

/** Sends a handshake the way of every request; whatever is answered to it is the last on its connection. */
export function answerUpgrade (request: IncomingMessage, socket: Duplex, head: Buffer, handle: RequestListener): void {
  upgrades.set(request, { socket, head })
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  // The parser is gone: nothing behind the handshake is a request, and nothing of it may be read as one.
  response.assignSocket(request.socket)
  response.once('finish', () => { request.socket.destroySoon() })
  socket.on('error', () => { socket.destroy() })
  handle(request, response)
}

export function createWebSocketForward (route: Route, options: WebSocketForwardOptions): WebSocketForward {
  const nextUpstream = inTurn(route.upstreams)
  return function forwardWebSocket (request, reply, client) {
    if (!route.websocket) throw new Refusal('GW_UPGRADE_REFUSED', { reason: 'the route takes no WebSocket' })
    if (readHandshake(request.raw) !== 'websocket') throw new Refusal('GW_UPGRADE_REFUSED', { reason: 'malformed handshake' })
    const startedAt = performance.now()
    void shakeHands(route, nextUpstream, options, request, client).then((outcome) => {
      if (outcome.outcome === 'failed') {
        if (outcome.fault !== null) options.observer.faulted(outcome.fault)
        reply.send(outcome.refusal)
        return
      }
      // Whatever the answer was, it is on its way; Fastify has nothing to add.
      reply.hijack()
      options.observer.answered(statusOf(outcome), performance.now() - startedAt, request)
    })
  }
}

/** Asks one upstream after the other while none can be reached; anything an upstream says is the answer. */
async function shakeHands (route: Route, nextUpstream: () => URL, options: WebSocketForwardOptions, request: FastifyRequest, client: ClientUpgrade): Promise<UpgradeOutcome> {
  const { raw, identity, id } = request
  const target = {
    path: upstreamPath(raw.url ?? '/', route.stripLength),
    headers: [...route.preserveHost && raw.headers.host !== undefined ? ['Host', raw.headers.host] : [], ...options.requestHeaders(raw, id, identity)],
    connectTimeout: options.connectTimeout,
    responseTimeout: route.timeout,
  }
  const handshake = {
    live: options.live,
    sessionId: identity?.sessionId ?? null,
    closeAt: identity === null ? Infinity : identity.expiresAt * 1000 + options.tokenGrace,
    responseHeaders: (headers: readonly string[]) => ['X-Request-Id', id, ...kept(headers, options.names)],
  }
  for (let left = route.upstreams.length; ; left--) {
    const outcome = await forwardUpgrade({ ...client, request: raw }, { ...target, origin: nextUpstream() }, handshake)
    if (outcome.outcome !== 'failed' || outcome.fault !== 'refused' || left <= 1) return outcome
  }
}

function kept (headers: readonly string[], names: HeaderNames): string[] {
  return headers.filter((_, index) => names.responseFate(headers[index - index % 2] ?? '') === 'keep')
}

function statusOf (outcome: Exclude<UpgradeOutcome, { outcome: 'failed' }>): number {
  switch (outcome.outcome) {
    case 'switched': return 101
    case 'answered': return outcome.status
    case 'abandoned': return 499
  }
}
