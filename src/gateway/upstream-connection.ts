/**
 * One connection to an upstream, over HTTP/1.1: one request at a time, so that a fault can only touch the request that met it;
 * its answer read strictly, and each silence bounded. Why not a library's: docs/decisions/0018.
 */
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { createAnswerParser, type AnswerSink } from './answer-parser.ts'
import { openUpstreamSocket, type UpstreamTls } from './upstream-socket.ts'

export interface UpstreamTarget {
  /** http or https. */
  readonly origin: URL
  /** Milliseconds until there is a connection; for https a verified one. */
  readonly connectTimeout: number
  /** Bytes of the head of an answer. */
  readonly maxHeaderSize: number
  readonly tls?: UpstreamTls | undefined
  /** The one that the next connection to this origin may resume. */
  readonly tlsSession: { last: Buffer | undefined }
}

export interface UpstreamRequest {
  readonly method: string
  readonly path: string
  /** null: the origin's own. */
  readonly host: string | null
  /**
   * Flat name, value list, without Host, Connection and what frames the body. Written as they are: what a strict parser has taken
   * from a client, which leaves no control character in them, or printable ASCII (identity-headers.ts).
   */
  readonly headers: readonly string[]
  readonly body: Readable | null
  /** Bytes that the body has; null where it goes in chunks. */
  readonly bodyLength: number | null
  /** Milliseconds from the last byte of the request to the head of its answer. */
  readonly headTimeout: number
  /** Milliseconds of silence in the body of the answer; 0 for no bound. */
  readonly bodyTimeout: number
}

/** Whoever asked: told in this order, and of nothing behind `onEnd` or `onError`. */
export interface AnswerHandler {
  /** The request is about to be sent; up to here another upstream may be asked instead. Once more if it is sent again. */
  onSend (connection: UpstreamConnection): void
  /** `headers`: flat name, value list; Latin-1. A status below 200 is not the last one. */
  onHead (status: number, reason: string, headers: string[]): void
  /** false: no more until `resume`, but for what has been read already. */
  onBody (chunk: Buffer): boolean
  /** All that has come is told, and it is not the end. */
  onWait (): void
  onEnd (trailers: readonly string[]): void
  onError (error: Error): void
}

export interface UpstreamConnection {
  /** Only while it is free. */
  send (request: UpstreamRequest, handler: AnswerHandler): void
  resume (handler: AnswerHandler): void
  /** Ends the connection, if it is still busy with what this handler asked; the handler is told of `error`. */
  abort (handler: AnswerHandler, error?: Error): void
  /** Ends it now. */
  destroy (): void
}

export interface ConnectionOwner {
  /** It can have another request. */
  onFree (connection: UpstreamConnection): void
  /** It is gone, whatever it was doing. */
  onClose (connection: UpstreamConnection): void
  /**
   * It had been kept, and was closed by the upstream before a byte of the answer: what is safe to be sent twice is to be sent on
   * a fresh one (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
   */
  onStale (request: UpstreamRequest, handler: AnswerHandler): void
}

/** The codes are for the log and for `upstreamFault`. */
function fault (code: 'CONNECT_TIMEOUT' | 'HEAD_TIMEOUT' | 'BODY_TIMEOUT' | 'CLOSED' | 'ABORTED' | 'UNSENDABLE'): Error {
  return Object.assign(new Error(code), { code })
}

/** Read into by all connections in turn, each copying out what it got before anything else happens. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

export function openUpstreamConnection (target: UpstreamTarget, owner: ConnectionOwner): UpstreamConnection {
  const { origin, connectTimeout, maxHeaderSize } = target
  let request: UpstreamRequest | null = null
  let handler: AnswerHandler | null = null
  let isConnected = false
  let isOver = false
  /** Answers that were had on it. */
  let served = 0
  /** Whether anything of the answer has come. */
  let isAnswered = false
  let isBodySent = true
  let isPaused = false
  /** What the time is for, and until when; of performance.now(). */
  let phase: 'connect' | 'head' | 'body' | 'idle' = 'connect'
  let deadline = Infinity
  let timer: NodeJS.Timeout | null = null
  let timerAt = Infinity
  /** Milliseconds. */
  let idleFor = 0

  const sink: AnswerSink = {
    onHead (status, reason, headers) {
      if (status >= 200) phase = 'body'
      handler?.onHead(status, reason, headers)
    },
    onBody (chunk) {
      if (handler?.onBody(chunk) !== false || isPaused || isOver) return
      isPaused = true
      socket.pause()
    },
    onEnd (trailers, keepFor) {
      const answered = handler
      handler = null
      const isReusable = keepFor > 0 && isBodySent
      stopBody()
      answered?.onEnd(trailers)
      if (!isReusable) {
        destroy()
        return
      }
      request = null
      served++
      if (isPaused) {
        isPaused = false
        socket.resume()
      }
      phase = 'idle'
      idleFor = keepFor
      owner.onFree(connection)
    },
  }
  const parser = createAnswerParser(sink, { maxHeaderSize })

  function onRead (bytes: Buffer): void {
    isAnswered = true
    try {
      parser.read(bytes)
    } catch (error) {
      fail(error as Error)
    }
    if (isOver) return
    if (phase === 'idle') allow('idle', idleFor)
    else if (phase === 'body') allow('body', request?.bodyTimeout ?? 0)
    handler?.onWait()
  }

  const socket = connect(target, onRead)
  socket.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
    isConnected = true
    if (request !== null) write(request)
  })
  socket.on('end', () => {
    try {
      parser.end()
      destroy()
    } catch (error) {
      fail(error as Error)
    }
  })
  socket.on('error', fail)
  socket.on('close', () => { fail(fault('CLOSED')) })
  socket.on('drain', () => { request?.body?.resume() })

  function write (asked: UpstreamRequest): void {
    const { method, body, headTimeout } = asked
    handler?.onSend(connection)
    if (handler === null) return
    let head: string
    try {
      head = requestHead(asked, origin.host)
    } catch (error) {
      fail(error as Error)
      return
    }
    parser.expect(method)
    isAnswered = false
    allow('head', headTimeout)
    if (body === null) {
      socket.write(head, 'latin1')
      return
    }
    // What of the body is here already leaves together with the head.
    socket.cork()
    socket.write(head, 'latin1')
    setImmediate(uncork, socket)
    sendBody(body, asked)
  }

  function sendBody (body: Readable, { bodyLength, headTimeout }: UpstreamRequest): void {
    let sent = 0
    body.on('data', (chunk: Buffer) => {
      if (isOver || isBodySent) return
      if (phase === 'head') allow('head', headTimeout)
      sent += chunk.length
      if (bodyLength !== null && sent > bodyLength) fail(fault('UNSENDABLE'))
      else if (!(bodyLength === null ? writeChunk(chunk) : socket.write(chunk))) body.pause()
    })
    body.once('end', () => {
      if (isOver || isBodySent) return
      if (bodyLength !== null && sent < bodyLength) {
        fail(fault('UNSENDABLE'))
        return
      }
      if (bodyLength === null) socket.write('0\r\n\r\n', 'latin1')
      isBodySent = true
    })
    body.once('close', () => { if (!isBodySent) fail(fault('ABORTED')) })
  }

  /** RFC 9112 §7.1. */
  function writeChunk (chunk: Buffer): boolean {
    socket.cork()
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    socket.write(chunk)
    const hasRoom = socket.write('\r\n', 'latin1')
    socket.uncork()
    return hasRoom
  }

  /** What nobody waits for any more is not sent to its end. */
  function stopBody (): void {
    const body = request?.body
    if (isBodySent || body === null || body === undefined) return
    isBodySent = true
    body.destroy()
  }

  /** One timer a connection: it looks at the deadline when it fires, and is made anew only where it would fire too late. */
  function allow (what: typeof phase, milliseconds: number): void {
    phase = what
    if (milliseconds === 0) {
      deadline = Infinity
      return
    }
    deadline = performance.now() + milliseconds
    if (timerAt <= deadline) return
    if (timer !== null) clearTimeout(timer)
    setTimer(milliseconds)
  }

  function setTimer (milliseconds: number): void {
    timerAt = performance.now() + milliseconds
    timer = setTimeout(onTimer, milliseconds)
  }

  function onTimer (): void {
    timer = null
    timerAt = Infinity
    const missing = deadline - performance.now()
    if (missing === Infinity) return
    if (missing > 0) {
      setTimer(Math.ceil(missing))
      return
    }
    // Not the upstream's silence: it waits for the rest of the request, or we for our client to take what there is.
    const isOurs = phase === 'head' ? !isBodySent && !socket.writableNeedDrain : phase === 'body' && isPaused
    if (isOurs) allow(phase, phase === 'head' ? request?.headTimeout ?? 0 : request?.bodyTimeout ?? 0)
    else if (phase === 'idle') destroy()
    else fail(fault(TIMED_OUT[phase]))
  }

  function fail (error: Error): void {
    if (isOver) return
    const failed = handler
    const asked = request
    const isStale = served > 0 && !isAnswered && phase === 'head' && GONE.has(codeOf(error))
    handler = null
    // Where nothing has been sent yet, it can be sent to another.
    if (isConnected) stopBody()
    destroy()
    if (failed === null || asked === null) return
    if (isStale && asked.body === null && REPEATABLE.has(asked.method)) owner.onStale(asked, failed)
    else failed.onError(error)
  }

  function destroy (): void {
    if (isOver) return
    isOver = true
    parser.stop()
    if (timer !== null) clearTimeout(timer)
    socket.destroy()
    owner.onClose(connection)
  }

  const connection: UpstreamConnection = {
    send (asked, by) {
      request = asked
      handler = by
      isBodySent = asked.body === null
      // From now on: it may fail while the connection is still being made.
      asked.body?.once('error', (error) => { if (request === asked && !isBodySent) fail(error) })
      if (isConnected) write(asked)
    },
    resume (by) {
      if (handler !== by || !isPaused) return
      isPaused = false
      allow('body', request?.bodyTimeout ?? 0)
      socket.resume()
    },
    abort (by, error = fault('ABORTED')) {
      if (handler === by) fail(error)
    },
    destroy,
  }
  allow('connect', connectTimeout)
  return connection
}

const TIMED_OUT = { connect: 'CONNECT_TIMEOUT', head: 'HEAD_TIMEOUT', body: 'BODY_TIMEOUT' } as const

/** How a connection that the upstream has given up looks to whoever writes to it. */
const GONE: ReadonlySet<string> = new Set(['CLOSED', 'ANSWER_CUT_OFF', 'ECONNRESET', 'EPIPE'])

/** RFC 9110 §9.2.2: what may be sent twice without a harm. */
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

function codeOf (error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

function connect ({ origin, tls, tlsSession }: UpstreamTarget, onRead: (bytes: Buffer) => void): Socket {
  const onread = {
    buffer: readBuffer,
    callback (length: number, buffer: Uint8Array): boolean {
      onRead(Buffer.from(buffer.subarray(0, length)))
      return true
    },
  }
  const socket = openUpstreamSocket(origin, { tls, session: tlsSession.last, either: { onread } })
  socket.setNoDelay(true)
  socket.setKeepAlive(true)
  return socket.on('session', (session: Buffer) => { tlsSession.last = session })
}

/** Throws for a path that would be read as something else than it says: nothing of it leaves then. */
function requestHead ({ method, path, host, headers, body, bodyLength }: UpstreamRequest, ownHost: string): string {
  if (!PATH.test(path)) throw fault('UNSENDABLE')
  let head = `${method} ${path} HTTP/1.1\r\nHost: ${host ?? ownHost}\r\nConnection: keep-alive\r\n`
  for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`
  if (body !== null) head += bodyLength === null ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${bodyLength}\r\n`
  // RFC 9110 §8.6: where a body is usual, none is said to be none.
  else if (USUALLY_WITH_BODY.has(method)) head += 'Content-Length: 0\r\n'
  return `${head}\r\n`
}

function uncork (socket: Socket): void {
  socket.uncork()
}

const PATH = /^[\x21-\x7e\x80-\xff]+$/
const USUALLY_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])
