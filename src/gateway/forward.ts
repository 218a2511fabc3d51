/** 5  to the upstream and back: both bodies streamed, every fault → 502, 504 or a cut-off answer. */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../errors.ts'
import type { Route } from '../routes/compile.ts'
import { without, type HeaderNames } from './header-names.ts'
import type { LiveConnection, LiveConnections } from './live-connections.ts'
import { assertLength, hasBody, LimitedBody, type BodyLimits } from './request-body.ts'
import type { RequestHeaders } from './request-headers.ts'
import { responseHead, type ResponseHead } from './response-headers.ts'
import type { AnswerHandler, UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamConnections } from './upstream-connections.ts'
import { upstreamFault, type FaultKind } from './upstream-faults.ts'
import { inTurn, type UpstreamPool } from './upstreams.ts'

/** What the operator sees of one route: made once at boot, told of each answer. */
export interface RouteObserver {
  /** `status` is 499 where the client went away first. */
  answered (status: number, milliseconds: number, request: FastifyRequest): void
  faulted (kind: FaultKind): void
}

export interface ForwardOptions {
  readonly pool: UpstreamPool
  readonly names: HeaderNames
  readonly requestHeaders: RequestHeaders
  readonly live: LiveConnections
  readonly observer: RouteObserver
  /** Milliseconds of silence of the upstream in the middle of an answer. */
  readonly idleTimeout: number
  readonly bodyTimes: Omit<BodyLimits, 'bodyLimit'>
  /** Milliseconds that an event stream outlives its token by. */
  readonly tokenGrace: number
}

export type Forward = (request: FastifyRequest, reply: FastifyReply) => void

export function createForward (route: Route, options: ForwardOptions): Forward {
  const bodyLimits = { ...options.bodyTimes, bodyLimit: route.bodyLimit }
  const nextUpstream = inTurn(route.upstreams.map(options.pool.connectionsTo))
  return function forward (request, reply) {
    const { raw } = request
    let body: Readable | null = null
    if (hasBody(raw)) {
      assertLength(raw, route.bodyLimit)
      // The gateway meets the expectation itself, now that the caller may send: RFC 9110 §10.1.1.
      if (raw.headers.expect !== undefined && raw.httpVersionMinor === 1) reply.raw.writeContinue()
      body = new LimitedBody(raw, bodyLimits)
    }
    const exchange = new Exchange(request, reply, body, options)
    exchange.send(route, nextUpstream, route.upstreams.length)
  }
}

/** The target as the upstream gets it: the same bytes, less a stripped prefix. */
export function upstreamPath (target: string, stripLength: number): string {
  if (stripLength === 0) return target
  const rest = target.slice(stripLength)
  return rest.charCodeAt(0) === 0x2f ? rest : `/${rest}`
}

/** Answers before the answer (1xx). Those that there are come once or twice. */
const MOST_INTERIM = 16

/** One request under way: the upstream's answer comes in, the client's goes out. */
class Exchange implements AnswerHandler {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #response: ServerResponse
  readonly #body: Readable | null
  readonly #options: ForwardOptions
  readonly #startedAt = performance.now()
  #retry: (() => boolean) | null = null
  /** null until the request is sent. */
  #connection: UpstreamConnection | null = null
  #live: (() => void) | null = null
  #reading: NodeJS.Timeout | null = null
  #interims = 0
  /** Bytes of a counted body that have not come yet; Infinity where they are not counted. */
  #missing = Infinity
  /** The chunk that completes a counted body: it leaves together with the end, and for a small answer with the head, in one write. */
  #last: Buffer | null = null
  /** What the upstream has said, as long as nothing of it has been passed on. */
  #head: { readonly status: number, readonly reason: string, readonly head: ResponseHead } | null = null
  /** `waiting` for a head; then `answering`; `over` when nothing more will be sent. */
  #state: 'waiting' | 'answering' | 'over' = 'waiting'

  constructor (request: FastifyRequest, reply: FastifyReply, body: Readable | null, options: ForwardOptions) {
    this.#request = request
    this.#reply = reply
    this.#response = reply.raw
    this.#body = body
    this.#options = options
    this.#response.once('close', () => { this.#onClientClose() })
  }

  send (route: Route, nextUpstream: () => UpstreamConnections, attempts: number): void {
    const { raw, identity } = this.#request
    const length = raw.headers['content-length']
    const request = {
      method: raw.method ?? '',
      path: upstreamPath(raw.url ?? '/', route.stripLength),
      host: route.preserveHost ? raw.headers.host ?? null : null,
      headers: this.#options.requestHeaders(raw, this.#request.id, identity),
      body: this.#body,
      // A counted body stays a counted one: an upstream that knows no chunks, as many behind WSGI, would take them for the next request.
      bodyLength: length === undefined ? null : Number(length),
      headTimeout: route.timeout,
      // An event stream may be silent for as long as it likes.
      bodyTimeout: raw.headers.accept?.includes('text/event-stream') === true ? 0 : this.#options.idleTimeout,
    }
    if (attempts > 1) {
      let left = attempts - 1
      this.#retry = () => left-- > 0 && (nextUpstream().send(request, this), true)
    }
    nextUpstream().send(request, this)
  }

  onSend (connection: UpstreamConnection): void {
    this.#retry = null
    this.#connection = connection
    if (this.#state === 'over') connection.abort(this)
  }

  onHead (status: number, reason: string, rawHeaders: string[]): void {
    if (this.#state === 'over') return
    const head = responseHead(rawHeaders, this.#options.names, this.#request.id)
    if (status < 200) {
      this.#interim(status, head)
      return
    }
    this.#head = { status, reason, head }
  }

  /** Passes the head on. From here on the answer is the upstream's, and nobody else's. */
  #begin (): void {
    if (this.#head === null) return
    const { status, reason, head } = this.#head
    const { raw } = this.#request
    // RFC 9110 §8.6: a 204 has no length, and a client that believed one would wait for it, or read the next answer as it.
    const headers = status === 204 && head.length !== null ? without(head.headers, ['content-length']) : head.headers
    const hasBody = raw.method !== 'HEAD' && status !== 204 && status !== 304
    if (head.trailer !== null && hasBody && mayTrail(raw, head)) headers.push('Trailer', head.trailer)
    // The rest of a body that nobody will read: this connection cannot be used again.
    if (this.#body !== null && !raw.complete) headers.push('Connection', 'close')

    this.#response.writeHead(status, safeReason(status, reason), headers)
    this.#head = null
    this.#reply.hijack()
    this.#state = 'answering'
    if (head.length !== null) this.#missing = head.length
    else if (hasBody) this.#liveWith(head)
  }

  /** Head and body leave together if they came together; else the head does not wait for the body. */
  onWait (): void {
    if (this.#head === null || this.#state !== 'waiting') return
    try {
      this.#begin()
      this.#response.flushHeaders()
    } catch (error) {
      this.#connection?.abort(this, error as Error)
    }
  }

  onBody (chunk: Buffer): boolean {
    if (this.#state === 'waiting') this.#begin()
    if (this.#state !== 'answering') return true
    this.#missing -= chunk.length
    if (this.#missing === 0) {
      this.#last = chunk
      return true
    }
    if (this.#response.write(chunk)) return true
    this.#response.once('drain', () => { this.#connection?.resume(this) })
    this.#watchReader()
    return false
  }

  /** A client that takes nothing of its answer for `idleTimeout` holds a connection on both sides, and is cut off. */
  #watchReader (): void {
    this.#reading?.refresh()
    this.#reading ??= setTimeout(() => {
      if (this.#response.writableNeedDrain || this.#state === 'over') this.#response.destroy()
    }, this.#options.idleTimeout)
  }

  onEnd (trailers: readonly string[]): void {
    if (this.#state === 'waiting') this.#begin()
    if (this.#state !== 'answering') return
    if (trailers.length > 0) this.#trail(trailers)
    this.#end()
  }

  onError (error: Error): void {
    if (this.#state === 'over') return
    if (this.#state === 'answering') {
      // Half an answer must look like half an answer: no last chunk, or fewer bytes than announced.
      this.#options.observer.faulted(upstreamFault(error).kind)
      this.#request.log.warn({ request_id: this.#request.id, reason: upstreamFault(error).refusal.details.reason }, 'the answer of the upstream broke off')
      this.#over(this.#response.statusCode)
      // What was written in this turn leaves with its end.
      process.nextTick(destroyAnswer, this.#response)
      return
    }
    if (error instanceof Refusal) return this.#refuse(error)
    if (this.#retry?.() === true) return
    const { kind, refusal } = upstreamFault(error)
    this.#options.observer.faulted(kind)
    this.#refuse(refusal)
  }

  /** Through Fastify, so that every refusal has its one shape; the error handler counts and logs it. */
  #refuse (refusal: Refusal): void {
    this.#state = 'over'
    this.#body?.destroy()
    if (this.#body !== null && !this.#request.raw.complete) this.#reply.header('connection', 'close')
    this.#reply.send(refusal)
  }

  #interim (status: number, { headers }: ResponseHead): void {
    // The client's connection does not hold them back.
    if (++this.#interims > MOST_INTERIM) {
      this.#connection?.abort(this, Object.assign(new Error('interim answers without end'), { code: 'INTERIM_FLOOD' }))
      return
    }
    if (this.#request.raw.httpVersionMinor === 0) return
    if (status === 102) this.#response.writeProcessing()
    if (status !== 103) return
    const links = headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === 'link')
    try {
      this.#response.writeEarlyHints({ link: links })
    } catch {
      // A hint that Node finds malformed is a hint not given.
    }
  }

  /** An answer without an end in sight lives no longer than its session, an event stream no longer than its token. */
  #liveWith ({ isEventStream }: ResponseHead): void {
    const { identity } = this.#request
    if (identity === null) return
    const connection: LiveConnection = {
      kind: 'stream',
      sessionId: identity.sessionId,
      expiresAt: isEventStream ? identity.expiresAt * 1000 + this.#options.tokenGrace : Infinity,
      end: () => {
        // An event stream ends cleanly, so that its client comes back and learns why; anything else is cut off.
        if (isEventStream) this.#end()
        else this.#response.destroy()
        this.#connection?.abort(this)
      },
    }
    this.#live = this.#options.live.add(connection)
  }

  #trail (trailers: readonly string[]): void {
    if (!this.#response.chunkedEncoding) return
    const { headers } = responseHead(trailers, this.#options.names, this.#request.id)
    const pairs: [string, string][] = []
    // From 2: responseHead begins with the request id, which the head has carried already.
    for (let index = 2; index < headers.length; index += 2) pairs.push([headers[index] ?? '', headers[index + 1] ?? ''])
    try {
      this.#response.addTrailers(pairs)
    } catch {
      // RFC 9110 §6.5.1: trailers may be discarded, and a malformed one is.
    }
  }

  #end (): void {
    this.#over(this.#response.statusCode)
    this.#response.end(this.#last)
    // Not all of it has left; nothing more will be heard of it but `close`.
    if (this.#response.writableLength > 0) this.#watchReader()
  }

  #onClientClose (): void {
    if (this.#reading !== null) clearTimeout(this.#reading)
    if (this.#state === 'over') {
      this.#live?.()
      return
    }
    this.#over(499)
    this.#body?.destroy()
    this.#connection?.abort(this)
  }

  #over (status: number): void {
    this.#state = 'over'
    this.#live?.()
    this.#options.observer.answered(status, performance.now() - this.#startedAt, this.#request)
  }
}

/** Node writes trailers, and accepts a Trailer header, on chunked answers alone: anything else throws, uncaught. */
function mayTrail (request: IncomingMessage, { length }: ResponseHead): boolean {
  return length === null && request.httpVersionMinor === 1
}

function destroyAnswer (response: ServerResponse): void {
  response.destroy()
}

/** Node would refuse to write what its own parser takes. */
function safeReason (status: number, reason: string): string {
  return reason === STATUS_CODES[status] || VISIBLE.test(reason) ? reason : STATUS_CODES[status] ?? ''
}

const VISIBLE = /^[\t\x20-\x7e]*$/
