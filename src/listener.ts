/**
 * The public port: the sockets, their bounds, and what is answered before there is a request. It hands every request
 * to whichever application is current, so that a reload changes that one reference and no connection.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Config } from './config/schema.ts'
import { Refusal, StartupFault, type RefusalCode } from './errors.ts'
import { isDoubtful, leaveInDoubt, originForm } from './gateway/admission.ts'
import { afterEarlierAnswers, answerUnderWay, isLast, isOneTooMany } from './gateway/earlier-answers.ts'
import { readHandshake } from './gateway/upgrade.ts'
import { answerUpgrade } from './gateway/websocket.ts'

export interface ListenerOptions {
  readonly listen: Config['listen']
  readonly limits: Config['limits']
  readonly timeouts: Config['timeouts']
  /** A refusal as bytes on a socket, told to the log. */
  readonly refuse: (refusal: Refusal, socket: Duplex) => string
}

export interface Listener {
  readonly address: Address
  /** From now on requests go there. */
  use (application: RequestListener): void
  /** Stops accepting; resolves when the last request under way is answered, or `timeout` milliseconds have passed. */
  drain (timeout: number): Promise<void>
  isDraining (): boolean
}

export async function openListener (options: ListenerOptions): Promise<Listener> {
  let application: RequestListener = (_request, response) => response.writeHead(503).end()
  let draining = false
  const server = createBoundedServer(options)
  const connections = new Set<Socket>()
  server.on('connection', (socket) => {
    // Once more, if it was put back (serveWithoutUpgrade).
    if (connections.has(socket)) return
    connections.add(socket)
    socket.once('close', () => { connections.delete(socket) })
  })

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (isDoubtful(request)) {
      stopReading(request.socket)
      return
    }
    if (isOneTooMany(request, response)) {
      refuseInTurn(request, response, new Refusal('GW_UNAVAILABLE', { reason: 'too many requests in a row without an answer' }))
      return
    }
    // RFC 9110 §9.3.7: a question about the server as a whole, and the one use of this target.
    if (request.url === '*' && request.method === 'OPTIONS') {
      response.writeHead(204).end()
      return
    }
    request.url = originForm(request)
    if (draining) response.shouldKeepAlive = false
    application(request, response)
    // RFC 9112 §9.6: behind an answer that says close, nothing is a request. It may be the body that was not waited for.
    if (response.headersSent && isLast(response)) leaveInDoubt(request)
  }
  /** The last answer of its connection, once those before it are given. */
  const refuseInTurn = (request: IncomingMessage, response: ServerResponse, refusal: Refusal): void => {
    leaveInDoubt(request)
    stopReading(request.socket)
    const answer = () => { endWith(options.refuse(refusal, request.socket), request.socket) }
    // Node gives a response its socket when its turn has come.
    if (response.socket !== null) answer()
    else response.once('socket', answer)
  }
  server.on('request', handle)
  // The gateway says 100 itself, after it has decided that the caller may send.
  server.on('checkContinue', (request, response) => {
    // Node finds it anywhere in the value.
    if (request.headers.expect?.toLowerCase() === '100-continue') handle(request, response)
    else refuseInTurn(request, response, new Refusal('GW_EXPECTATION_FAILED'))
  })
  server.on('checkExpectation', (request, response) => { refuseInTurn(request, response, new Refusal('GW_EXPECTATION_FAILED')) })
  server.on('upgrade', (request, socket, head) => {
    afterEarlierAnswers(socket, () => {
      if (readHandshake(request) === 'other') serveWithoutUpgrade(server, request, socket, head)
      else answerUpgrade(request, socket, head, handle)
    })
  })
  server.on('connect', (_request, socket) => {
    afterEarlierAnswers(socket, () => { endWith(options.refuse(new Refusal('GW_METHOD_NOT_ALLOWED'), socket), socket) })
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    answerClientError(error, socket, options.refuse)
  })

  const address = await bind(server, options.listen)
  return {
    address,
    use (next) {
      application = next
    },
    isDraining: () => draining,
    async drain (timeout) {
      draining = true
      const closed = new Promise<void>((resolve) => { server.close(() => { resolve() }) })
      const sweep = setInterval(() => {
        server.closeIdleConnections()
        // Node counts a connection on which nothing has come yet as busy.
        for (const socket of connections) if (socket.bytesRead === 0) socket.destroy()
      }, 50)
      const giveUp = setTimeout(() => { server.closeAllConnections() }, timeout)
      await closed
      clearInterval(sweep)
      clearTimeout(giveUp)
    },
  }
}

function createBoundedServer ({ limits, timeouts }: ListenerOptions): Server {
  const server = createServer({
    maxHeaderSize: limits.headers,
    headersTimeout: timeouts.clientHeaders,
    // Bodies are timed by their silence (gateway/request-body), not by their length.
    requestTimeout: 0,
    connectionsCheckingInterval: 1_000,
    keepAliveTimeout: timeouts.keepAlive,
    insecureHTTPParser: false,
    // admission.ts asks for one valid Host, which is more.
    requireHostHeader: false,
    noDelay: true,
  })
  // Bounded by their size; Node's own bound on their number drops the rest without a word.
  server.maxHeadersCount = 0
  server.maxConnections = limits.connections
  server.on('connection', lingerOnClose)
  return server
}

/** Throws a StartupFault. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly url: string
}

/** Throws a StartupFault that says what to do. */
export async function bind (server: Server, { host, port }: Config['listen']): Promise<Address> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => { reject(bindFault(error, host, port)) })
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return { host: bound.address, port: bound.port, url: `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}` }
}

function bindFault (error: NodeJS.ErrnoException, host: string, port: number): StartupFault {
  const reasons: Record<string, string> = {
    EADDRINUSE: 'it is in use; stop what listens there, or choose another port (0 takes a free one)',
    EACCES: 'that is not allowed; choose a port above 1023',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'the host name is unknown',
  }
  return new StartupFault(`cannot listen on ${host}:${port}: ${reasons[error.code ?? ''] ?? error.code ?? 'unknown fault'}`, { cause: error })
}

/**
 * RFC 9110 §7.8: an Upgrade that is not taken is no fault; Java's HTTP client offers h2c on every first request. Node
 * has let go of the connection by now, so the request is put back in front of it without the offer, and read again.
 */
function serveWithoutUpgrade (server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  let text = `${request.method} ${request.url} HTTP/${request.httpVersion}\r\n`
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? ''
    const value = request.rawHeaders[index + 1] ?? ''
    const lower = name.toLowerCase()
    if (lower === 'upgrade' || lower === 'http2-settings') continue
    text += lower === 'connection' ? `${name}: ${withoutOffer(value)}\r\n` : `${name}: ${value}\r\n`
  }
  socket.unshift(Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]))
  // What Node leaves on a socket that it lets go, and puts on it anew: with each offer of a connection it would be more.
  for (const event of ['timeout', 'pause', 'resume']) socket.removeAllListeners(event)
  server.emit('connection', socket)
}

function withoutOffer (connection: string): string {
  return connection.split(',').map((option) => option.trim())
    .filter((option) => !['upgrade', 'http2-settings'].includes(option.toLowerCase())).join(', ')
}

/** What Node's parser, or its clock, refuses before there is a request. */
function answerClientError (error: NodeJS.ErrnoException, socket: Duplex, refuse: ListenerOptions['refuse']): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const answer = answerUnderWay(socket)
  if (answer !== null) {
    stopReading(socket)
    // Garbage in the body of that request: who waits for the rest of it is told that there is none.
    if (!answer.req.complete && answer.req.listenerCount('error') > 0) answer.req.emit('error', new Refusal('GW_REQUEST_INVALID', { reason: error.code ?? 'unknown' }))
    // Garbage behind it: the answers due are given, nothing more is read.
    closeAfterAnswers(socket)
    return
  }
  const codes: Record<string, RefusalCode> = {
    HPE_HEADER_OVERFLOW: 'GW_HEADERS_TOO_LARGE',
    ERR_HTTP_REQUEST_TIMEOUT: 'GW_REQUEST_TIMEOUT',
  }
  endWith(refuse(new Refusal(codes[error.code ?? ''] ?? 'GW_REQUEST_INVALID', { reason: error.code ?? 'unknown' }), socket), socket)
}

function endWith (answer: string, socket: Duplex): void {
  socket.end(answer, 'latin1')
  socket.on('error', () => {})
  linger(socket)
}

const LINGER_MILLISECONDS = 1_000

/**
 * RFC 9112 §9.6: closing while the client still sends resets the connection, and the reset may overtake the answer.
 * So Node's way of closing (destroySoon) is stretched: half-close, read on for a while, and then destroy.
 */
function lingerOnClose (socket: Socket): void {
  socket.destroySoon = function destroySoon () {
    if (socket.writable) socket.end()
    linger(socket)
  }
}

function linger (socket: Duplex): void {
  stopReading(socket)
  if (socket.readableEnded) {
    socket.destroy()
    return
  }
  const timer = setTimeout(() => { socket.destroy() }, LINGER_MILLISECONDS)
  timer.unref()
  socket.once('end', () => { socket.destroy() })
  socket.once('close', () => { clearTimeout(timer) })
}

/**
 * What still comes is thrown away unread: a request behind the last answer must never be served. Adding a listener
 * makes Node's parser let go of the handle; then the parser's own listener goes.
 */
function stopReading (socket: Duplex): void {
  const parserListeners = socket.listeners('data') as ((chunk: Buffer) => void)[]
  socket.on('data', () => {})
  for (const listener of parserListeners) socket.off('data', listener)
  socket.resume()
}

function closeAfterAnswers (socket: Duplex): void {
  const answer = answerUnderWay(socket)
  if (answer === null) (socket as Socket).destroySoon()
  // The client has ended in the middle of a body: it will never be whole, and an upstream waits for it.
  else if (socket.readableEnded && !answer.req.complete) socket.destroy()
  else answer.once('finish', () => setImmediate(closeAfterAnswers, socket))
}
