/**
 * One recorder in the place of every upstream: it reads bytes, not HTTP as some library understands it, keeps all that came,
 * and calls by name whatever a stricter or more lenient reader could understand otherwise.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { loopback } from './loopback.ts'

export interface SeenRequest {
  /** The configured origin that it was meant for. */
  readonly origin: string
  readonly method: string
  readonly target: string
  /** As they came: [name, value], in order. */
  readonly headers: readonly (readonly [string, string])[]
  readonly trailers: readonly (readonly [string, string])[]
  readonly body: string
  /** All its bytes, Latin-1. Behind an upgrade what came through the tunnel stands here too. */
  readonly raw: string
  /** What is wrong with its bytes: two readers could take them for different requests. */
  readonly fault: string | null
}

export interface RecordingUpstream {
  /** In the order in which they came, the unfinished ones last. */
  seen (): readonly SeenRequest[]
  /** How many have been seen. */
  count (): number
  /** The origin that stands for a configured one: same name, same recorder, a port of its own. */
  originFor (configured: string): Promise<string>
  readonly ports: () => readonly number[]
  close (): Promise<void>
}

export function openRecordingUpstream (): RecordingUpstream {
  const seen: Exchange[] = []
  const servers = new Map<string, Server>()
  const sockets = new Set<Socket>()
  const portOf = (server: Server) => (server.address() as AddressInfo).port

  return {
    seen: () => seen,
    count: () => seen.length,
    ports: () => [...servers.values()].map(portOf),
    async originFor (configured) {
      let server = servers.get(configured)
      if (server === undefined) {
        server = createServer((socket) => {
          sockets.add(socket)
          socket.once('close', () => { sockets.delete(socket) })
          record(socket, configured, seen)
        })
        servers.set(configured, server)
        await once(server.listen(0, loopback), 'listening')
      }
      return `http://${loopback}:${portOf(server)}`
    },
    async close () {
      for (const socket of sockets) socket.destroy()
      await Promise.all([...servers.values()].map((server) => new Promise((resolve) => { server.close(resolve) })))
    },
  }
}

/** A request while it comes. */
interface Exchange extends SeenRequest {
  method: string
  target: string
  headers: (readonly [string, string])[]
  trailers: (readonly [string, string])[]
  body: string
  raw: string
  fault: string | null
}

/** Reads one connection. A fault ends it: where the next request begins is then anybody's guess. */
function record (socket: Socket, origin: string, seen: Exchange[]): void {
  let text = ''
  let current: Exchange | null = null
  let tunnel: Exchange | null = null
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    if (tunnel !== null) {
      tunnel.raw += text
      text = ''
      return
    }
    while (text !== '') if (!readOn()) return
  })

  /** Whether there may be another request behind. */
  function readOn (): boolean {
    if (current === null) {
      // What has come counts as seen from its first byte on.
      current = { origin, method: '', target: '', headers: [], trailers: [], body: '', raw: '', fault: null }
      seen.push(current)
    }
    const exchange = current
    const end = text.indexOf('\r\n\r\n')
    exchange.raw = text
    if (end < 0) return false
    readHead(exchange, text.slice(0, end))
    const rest = text.slice(end + 4)
    const body = exchange.fault === null ? readBody(exchange, rest) : null
    if (exchange.fault !== null) {
      socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
      socket.removeAllListeners('data').resume()
      return false
    }
    if (body === null) return false
    exchange.body = body.content
    exchange.trailers = body.trailers
    exchange.raw = text.slice(0, end + 4 + body.length)
    text = text.slice(end + 4 + body.length)
    current = null
    if (accepts(exchange)) {
      tunnel = exchange
      tunnel.raw += text
      text = ''
    }
    socket.write(answerTo(exchange, seen.indexOf(exchange)))
    return true
  }
}

function readHead (exchange: Exchange, head: string): void {
  const [requestLine = '', ...lines] = head.split('\r\n')
  const [, method = '', target = ''] = /^([A-Z][A-Z-]*) ([^ ]+) HTTP\/1\.1$/.exec(requestLine) ?? []
  exchange.method = method
  exchange.target = target
  if (method === '') exchange.fault ??= 'a request line that is none'

  if (/[\n\r\0]/.test(lines.join('')) || lines.some((line) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:/.test(line))) exchange.fault ??= 'a header line that is none'
  exchange.headers = lines.map(pairOf)
}

function pairOf (line: string): readonly [string, string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}

interface Body { readonly content: string, readonly length: number, readonly trailers: (readonly [string, string])[] }

/** null: not all of it is there. RFC 9112 §6.3, and no leniency. */
function readBody (exchange: Exchange, rest: string): Body | null {
  const lengths = valuesOf(exchange, 'content-length')
  const codings = valuesOf(exchange, 'transfer-encoding')
  if (lengths.length + codings.length > 1) exchange.fault ??= 'two headers that say where the body ends'
  if (codings.length > 0) {
    if (codings[0] !== 'chunked') exchange.fault ??= 'a transfer coding that is not chunked'
    return readChunks(exchange, rest)
  }
  const [length = '0'] = lengths
  if (!/^\d{1,15}$/.test(length)) exchange.fault ??= 'a length that is none'
  return rest.length < Number(length) ? null : { content: rest.slice(0, Number(length)), length: Number(length), trailers: [] }
}

function readChunks (exchange: Exchange, rest: string): Body | null {
  let content = ''
  for (let at = 0; ;) {
    const lineEnd = rest.indexOf('\r\n', at)
    if (lineEnd < 0) return null
    const line = rest.slice(at, lineEnd)
    if (!/^[0-9a-f]{1,8}$/i.test(line)) {
      exchange.fault ??= 'a chunk size that is none'
      return null
    }
    const size = Number.parseInt(line, 16)
    if (size === 0) {
      const end = rest.indexOf('\r\n\r\n', lineEnd)
      if (end < 0) return null
      const trailers = rest.slice(lineEnd + 2, end + 2).split('\r\n').filter((one) => one !== '').map(pairOf)
      return { content, length: end + 4, trailers }
    }
    at = lineEnd + 2 + size + 2
    if (rest.length < at) return null
    if (rest.slice(at - 2, at) !== '\r\n') {
      exchange.fault ??= 'a chunk of another length than it says'
      return null
    }
    content += rest.slice(lineEnd + 2, at - 2)
  }
}

export function valuesOf (seen: Pick<SeenRequest, 'headers'>, name: string): string[] {
  return seen.headers.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value)
}

/** Whether it takes the handshake: all but those that ask it not to. */
function accepts (exchange: Exchange): boolean {
  return valuesOf(exchange, 'upgrade').length > 0 && !exchange.target.includes('no-upgrade')
}

function answerTo (exchange: Exchange, number: number): string {
  if (accepts(exchange)) {
    const accept = createHash('sha1').update(`${valuesOf(exchange, 'sec-websocket-key')[0] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
  }
  const body = JSON.stringify({ seen: number })
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${exchange.method === 'HEAD' ? '' : body}`
}
