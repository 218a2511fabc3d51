/** Anything thrown → one JSON shape and one log line; what is refused, and why, is decided where it is thrown. */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { fastifyPlugin } from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import { Refusal, type RefusalCode } from '../errors.ts'
import { refusalResponse } from './refusal-response.ts'

export interface RefuseOptions {
  /** Names the protection space in the challenges: the issuer. */
  readonly realm: string
  /** What the log calls the route: a pattern from the configuration, never what a client sent. Fastify's by default. */
  readonly routeOf?: (request: FastifyRequest) => string | null
  readonly subjectOf?: (request: FastifyRequest) => string | null
  /** Told of each refusal once it is decided; seconds since the request came. */
  readonly onRefused?: (request: FastifyRequest, status: number, seconds: number) => void
}

/** Answers a request with a refusal and logs it. Fits Fastify's `setErrorHandler` and its `frameworkErrors` option. */
export type Refuse = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => void

/** What the log line of a refusal says; raw sockets, which have no Fastify request, fill in what they know. */
interface RefusedRequest {
  readonly request_id: string
  readonly method: string | null
  readonly route: string | null
  readonly subject: string | null
  readonly address: string | null
  readonly duration_ms: number
}

export interface ErrorHandlerOptions {
  readonly refuse: Refuse
}

const refused = new WeakSet<FastifyRequest>()

/** Whether a request has had its line already: the access log leaves those out. */
export const wasRefused = (request: FastifyRequest): boolean => refused.has(request)

export const errorHandler: FastifyPluginCallback<ErrorHandlerOptions> = fastifyPlugin<ErrorHandlerOptions>(
  (app, { refuse }, done) => {
    app.setErrorHandler((thrown, request, reply) => { refuse(thrown, request, reply) })
    app.setNotFoundHandler((request, reply) => { refuse(new Refusal('GW_ROUTE_NOT_FOUND'), request, reply) })
    done()
  },
  { name: 'error-handler', fastify: '5.x' }
)

export function createRefuse ({ realm, routeOf = fastifyRoute, subjectOf = () => null, onRefused }: RefuseOptions): Refuse {
  return function refuse (thrown, request, reply) {
    const refusal = toRefusal(thrown, request)
    refused.add(request)
    onRefused?.(request, refusal.statusCode, reply.elapsedTime / 1000)
    logRefusal(request.server.log, refusal, {
      request_id: request.id,
      method: request.method,
      route: routeOf(request),
      subject: subjectOf(request),
      address: request.ip ?? null,
      duration_ms: milliseconds(reply.elapsedTime),
    })
    // The answer has begun: all that is left to say is that it is not whole.
    if (reply.raw.headersSent) {
      reply.raw.destroy()
      return
    }
    const { status, headers, body } = refusalResponse(refusal, request.id, realm)
    reply.code(status)
    for (const [name, value] of headers) reply.header(name, value)
    if (leavesMuchUnread(request)) reply.header('Connection', 'close')
    reply.send(body)
  }
}

/** A refusal before there is a request for Fastify: logged like the others, and as bytes. */
export function refuseOnSocket (refusal: Refusal, socket: Duplex, { requestId, realm, log }: { readonly requestId: string, readonly realm: string, readonly log: FastifyBaseLogger }): string {
  const address = 'remoteAddress' in socket && typeof socket.remoteAddress === 'string' ? socket.remoteAddress : null
  logRefusal(log, refusal, { request_id: requestId, method: null, route: null, subject: null, address, duration_ms: 0 })
  const { status, headers, body } = refusalResponse(refusal, requestId, realm)
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines}Connection: close\r\n\r\n${body}`
}

/** One line for each refused (info) or failed (error) request. */
function logRefusal (log: FastifyBaseLogger, refusal: Refusal, request: RefusedRequest): void {
  const line = { ...request, status: refusal.statusCode, code: refusal.code, reason: refusal.details.reason ?? null }
  if (refusal.statusCode < 500) log.info(line, 'request refused')
  else if (refusal.details.cause === undefined) log.error(line, 'request failed')
  // A fault nobody foresaw is shown with its stack; one that was foreseen carries its cause for its code alone.
  else if (refusal.code === 'GW_INTERNAL') log.error({ ...line, err: refusal.details.cause }, 'request failed')
  else log.error({ ...line, cause: refusal.details.cause }, 'request failed')
}

export function toRefusal (thrown: unknown, request: Pick<FastifyRequest, 'raw'>): Refusal {
  if (thrown instanceof Refusal) return thrown
  if (request.raw.destroyed && !request.raw.complete) return new Refusal('GW_REQUEST_INVALID', { reason: 'the client went away' })
  const code = isFastifys(thrown) ? byFastifyCode[thrown.code] ?? byStatus[thrown.statusCode ?? 500] : undefined
  if (code !== undefined && isFastifys(thrown)) return new Refusal(code, { reason: thrown.code })
  return new Refusal('GW_INTERNAL', { cause: thrown })
}

/** Fastify's own codes (lib/errors.js) that its status alone would put in the wrong place. */
const byFastifyCode: Readonly<Record<string, RefusalCode>> = {
  FST_ERR_CTP_EMPTY_JSON_BODY: 'GW_BODY_INVALID',
  FST_ERR_CTP_INVALID_JSON_BODY: 'GW_BODY_INVALID',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'GW_BODY_INVALID',
  FST_ERR_VALIDATION: 'GW_BODY_INVALID',
  FST_ERR_BAD_URL: 'GW_PATH_AMBIGUOUS',
  FST_ERR_MAX_PARAM_LENGTH: 'GW_ROUTE_NOT_FOUND',
}

const byStatus: Readonly<Record<number, RefusalCode>> = {
  400: 'GW_REQUEST_INVALID',
  404: 'GW_ROUTE_NOT_FOUND',
  408: 'GW_REQUEST_TIMEOUT',
  413: 'GW_BODY_TOO_LARGE',
  414: 'GW_URI_TOO_LONG',
  415: 'GW_MEDIA_TYPE_UNSUPPORTED',
  503: 'GW_UNAVAILABLE',
}

/** Only Fastify's own errors are believed about their status: a stray `statusCode` on another's would be the caller's to steer. */
function isFastifys (thrown: unknown): thrown is Error & { code: string, statusCode?: number } {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' && thrown.code.startsWith('FST_ERR_')
}

/**
 * Whether more of the body may still come than is worth reading for nothing. Node reads and drops what is left so that
 * the connection can serve again; without an end in sight that is a free ride for whoever is refused (RFC 9112 §9.3).
 */
function leavesMuchUnread ({ raw }: FastifyRequest): boolean {
  if (raw.complete) return false
  if (raw.headers['transfer-encoding'] !== undefined) return true
  return Number(raw.headers['content-length'] ?? 0) > 65_536
}

function fastifyRoute (request: FastifyRequest): string | null {
  return request.routeOptions.url ?? null
}

const milliseconds = (elapsed: number) => Math.round(elapsed * 1000) / 1000
