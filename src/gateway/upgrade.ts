/**
 * 5' a WebSocket handshake to the upstream and back: 101 only once the upstream has agreed, its refusal as it said it,
 * or nothing, and then the caller answers. Who may is decided before; what follows a 101 is the tunnel's.
 */
import { createHash } from 'node:crypto'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Refusal } from '../errors.ts'
import type { EndReason, LiveConnections } from './live-connections.ts'
import { openTunnel, type TunnelClosed } from './tunnel.ts'
import { passOnAnswer, writeHead } from './upgrade-answer.ts'
import { upstreamFault, type FaultKind } from './upstream-faults.ts'
import { openUpstreamSocket, type UpstreamTls } from './upstream-socket.ts'

export interface UpgradeClient {
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** What came behind the handshake. Never a request, whatever it looks like: it waits for the 101, or is dropped. */
  readonly head: Buffer
}

export interface UpgradeTarget {
  /** http or https. */
  readonly origin: URL
  /** Path and query as they are to arrive; Latin-1. */
  readonly path: string
  /** Flat name, value list, the client's Sec-WebSocket-* among them. Connection, Upgrade and, if missing, Host are added. */
  readonly headers: readonly string[]
  /** Milliseconds until there is a connection; for https a verified one. */
  readonly connectTimeout: number
  /** Milliseconds from there to the head of the answer, and of silence in the middle of one that is no 101. */
  readonly responseTimeout: number
  readonly tls?: UpstreamTls
}

export interface UpgradeOptions {
  readonly live: LiveConnections
  readonly sessionId: string | null
  /** Milliseconds since the epoch; Infinity for never. */
  readonly closeAt: number
  /** What becomes of the upstream's headers (flat name, value list) on their way to the client. */
  readonly responseHeaders?: (rawHeaders: readonly string[]) => readonly string[]
  /** Called after `switched`, when all is over. */
  readonly onClosed?: (closed: TunnelClosed) => void
}

export type UpgradeOutcome =
  /** The 101 was passed on, and the tunnel stands. */
  | { readonly outcome: 'switched' }
  /** Another answer was passed on; `complete` unless it was cut off. The connection is closing. */
  | { readonly outcome: 'answered', readonly status: number, readonly complete: boolean }
  /** Nothing was sent to the client and nothing taken from it: the caller answers, or tries another upstream. */
  | { readonly outcome: 'failed', readonly refusal: Refusal, readonly fault: FaultKind | null }
  /** The client went away first. */
  | { readonly outcome: 'abandoned' }

/**
 * `other` is an upgrade to something else. `malformed` covers what RFC 6455 §4.2.1 asks for, and a body: a handshake
 * that the upstream may read otherwise than the gateway makes a tunnel out of what the upstream takes for requests.
 */
export function readHandshake (request: IncomingMessage): 'websocket' | 'malformed' | 'other' {
  const { headers } = request
  if (!hasToken(headers.upgrade, 'websocket')) return 'other'
  const wellFormed = request.method === 'GET' && request.httpVersion === '1.1' &&
    hasToken(headers.connection, 'upgrade') &&
    // Repeated ones arrive joined by a comma, and fail here too.
    headers['sec-websocket-version'] === '13' && KEY.test(headers['sec-websocket-key'] ?? '') &&
    Number(headers['content-length'] ?? 0) === 0 && headers['transfer-encoding'] === undefined
  return wellFormed ? 'websocket' : 'malformed'
}

/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{22}==$/

/**
 * Never rejects. From the call on the connection is in `live`; that its session ended between the caller's check and
 * the call is noticed there.
 */
export async function forwardUpgrade (client: UpgradeClient, target: UpgradeTarget, options: UpgradeOptions): Promise<UpgradeOutcome> {
  const { request, socket } = client
  const { live, sessionId, closeAt, responseHeaders = asTheyAre, onClosed } = options
  const upstream = connect(target)
  let end = (why: EndReason) => { upstream.destroy(new Refusal(ENDED[why], { reason: 'before the upstream answered' })) }
  const removeLive = live.add({ kind: 'websocket', sessionId, expiresAt: closeAt, end: (why) => { end(why) } })
  const early = holdEarly(client, () => { upstream.destroy(new ClientGone()) })
  try {
    await connected(upstream, target)
    const { response, behind } = await ask(upstream, request, target)
    if (behind === null) {
      early.drop()
      end = () => { socket.destroy() }
      const complete = await passOnAnswer(response, socket, responseHeaders(response.rawHeaders), target.responseTimeout)
      upstream.destroy()
      removeLive()
      return { outcome: 'answered', status: response.statusCode ?? 0, complete }
    }
    writeHead(socket, response, responseHeaders(response.rawHeaders), ['Connection', 'Upgrade', 'Upgrade', 'websocket'])
    const tunnel = openTunnel({
      client: socket,
      upstream,
      early: { fromClient: early.take(), fromUpstream: behind },
      onClosed (closed) {
        removeLive()
        onClosed?.(closed)
      },
    })
    end = tunnel.end
    return { outcome: 'switched' }
  } catch (error) {
    upstream.destroy()
    removeLive()
    if (error instanceof ClientGone) {
      socket.destroy()
      return { outcome: 'abandoned' }
    }
    early.putBack()
    if (error instanceof Refusal) return { outcome: 'failed', refusal: error, fault: null }
    const { refusal, kind } = upstreamFault(error)
    return { outcome: 'failed', refusal, fault: kind }
  }
}

const ENDED = { expired: 'GW_TOKEN_EXPIRED', revoked: 'GW_SESSION_ENDED', shutdown: 'GW_DRAINING' } as const

const asTheyAre = (rawHeaders: readonly string[]): readonly string[] => rawHeaders

class ClientGone extends Error {}

/** A fault of the upstream that has no name of the system's: `code` goes to the log. */
function fault (code: string): Error {
  return Object.assign(new Error(code), { code })
}

function connect ({ origin, tls }: UpgradeTarget): Socket {
  // The end of one direction is passed on by the tunnel.
  const socket = openUpstreamSocket(origin, { tls, either: { allowHalfOpen: true } })
  // For good: whatever happens to it later, somebody listens.
  return socket.on('error', () => {})
}

/** Only now is anything sent: an upstream whose certificate is wrong learns nothing. */
async function connected (upstream: Socket, { origin, connectTimeout }: UpgradeTarget): Promise<void> {
  const timer = setTimeout(() => { upstream.destroy(fault('ETIMEDOUT')) }, connectTimeout)
  try {
    await new Promise<void>((resolve, reject) => {
      upstream.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', resolve)
      upstream.once('error', reject)
      upstream.once('close', () => { reject(fault('ECONNRESET')) })
    })
  } finally {
    clearTimeout(timer)
  }
}

interface Answer {
  readonly response: IncomingMessage
  /** After a 101 that agrees: what came behind it. Else null. */
  readonly behind: Buffer | null
}

/** Sends the handshake and waits for the head of the final answer; interim ones (1xx) say nothing about it. */
async function ask (upstream: Socket, { headers: { 'sec-websocket-key': key } }: IncomingMessage, target: UpgradeTarget): Promise<Answer> {
  const timer = setTimeout(() => { upstream.destroy(fault('ETIMEDOUT')) }, target.responseTimeout)
  try {
    return await new Promise((resolve, reject) => {
      const request = httpRequest({
        createConnection: () => upstream,
        path: target.path,
        headers: requestHead(target),
        maxHeaderSize: HEAD_LIMIT,
        insecureHTTPParser: false,
      })
      // Bounded by their size; Node's own bound on their number drops the rest without a word.
      request.maxHeadersCount = 0
      request.once('upgrade', (response, _socket, behind: Buffer) => {
        if (agrees(response, key ?? '')) resolve({ response, behind })
        else reject(fault('a 101 that does not answer the handshake'))
      })
      request.once('response', (response) => {
        if (isPlainAnswer(response)) resolve({ response, behind: null })
        else reject(fault('an answer that is none'))
      })
      request.on('error', reject)
      upstream.once('close', () => { reject(fault('ECONNRESET')) })
      request.end()
    })
  } finally {
    clearTimeout(timer)
  }
}

/** Bytes of the head of an answer. */
const HEAD_LIMIT = 16_384

function requestHead ({ origin, headers }: UpgradeTarget): string[] {
  const hasHost = headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === 'host')
  return [...(hasHost ? [] : ['Host', origin.host]), ...headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket']
}

/**
 * RFC 6455 §4.1. An upstream may be made to answer 101 without having switched (a status that it took from elsewhere);
 * the accept value shows that it understood, so that what follows is not requests on its connection.
 */
function agrees ({ httpVersion, headers }: IncomingMessage, key: string): boolean {
  return httpVersion === '1.1' && headers.upgrade?.toLowerCase() === 'websocket' && hasToken(headers.connection, 'upgrade') &&
    headers['sec-websocket-accept'] === createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** A 101 comes here when it lacks Upgrade or Connection. A coding beneath chunked could not be passed on. */
function isPlainAnswer ({ statusCode = 0, httpVersionMajor, headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding']
  return statusCode >= 200 && httpVersionMajor === 1 && (coding === undefined || coding.toLowerCase() === 'chunked')
}

function hasToken (list: string | undefined, token: string): boolean {
  return list !== undefined && list.split(',').some((item) => item.trim().toLowerCase() === token)
}

/** Bytes that a client may send ahead of the answer before it is made to wait. */
const EARLY_LIMIT = 65_536

/** Reads on while the upstream is asked, since only who reads learns that the client has gone. */
function holdEarly ({ socket, head }: UpgradeClient, onGone: () => void) {
  const chunks: Buffer[] = []
  let length = 0
  function onData (chunk: Buffer): void {
    chunks.push(chunk)
    length += chunk.length
    if (length >= EARLY_LIMIT) socket.pause()
  }
  function release (): void {
    socket.off('data', onData).off('end', onGone).off('close', onGone).pause()
  }
  // For good, as above.
  socket.on('error', () => {})
  socket.on('data', onData).on('end', onGone).on('close', onGone)
  socket.resume()
  return {
    take (): Buffer {
      release()
      return Buffer.concat([head, ...chunks])
    },
    putBack (): void {
      release()
      if (length > 0) socket.unshift(Buffer.concat(chunks))
    },
    drop (): void {
      release()
      socket.resume()
    },
  }
}
