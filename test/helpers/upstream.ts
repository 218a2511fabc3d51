/** A real HTTP server that answers with what it saw, or as a test tells it to. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createNetServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net'

/** What an upstream saw of a request. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly rawHeaders: readonly string[]
  /** Values of a header under exactly this name, in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly trailers: readonly string[]
  /** Latin-1. */
  readonly body: string
}

export interface Upstream {
  readonly url: string
  readonly port: number
  /** Every request so far, in order. */
  readonly seen: readonly Seen[]
  readonly server: Server
  close (): Promise<void>
}

/** Echoes each request as JSON (see Seen), unless `listener` answers. */
export async function startUpstream (listener?: RequestListener): Promise<Upstream> {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const saw: Seen = {
        method: request.method ?? '',
        url: request.url ?? '',
        rawHeaders: request.rawHeaders,
        headers: request.headers,
        trailers: request.rawTrailers,
        body,
      }
      seen.push(saw)
      if (listener !== undefined) listener(request, response)
      else response.setHeader('content-type', 'application/json').end(JSON.stringify(saw))
    }, () => {})
  })
  const port = await listen(server)
  return { url: `http://127.0.0.1:${port}`, port, seen, server, close: () => closeServer(server) }
}

export interface RawUpstream {
  readonly url: string
  readonly port: number
  /** Connections so far. */
  readonly sockets: readonly Socket[]
  close (): Promise<void>
}

/** An upstream that speaks bytes: `onRequest` is called with each connection's text whenever a head is complete. */
export async function startRawUpstream (onRequest: (socket: Socket, head: string, count: number) => void): Promise<RawUpstream> {
  const sockets: Socket[] = []
  let count = 0
  const server = createNetServer((socket) => {
    sockets.push(socket)
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end + 4)
        text = text.slice(end + 4)
        onRequest(socket, head, count++)
      }
    })
  })
  const port = await listen(server)
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    sockets,
    async close () {
      for (const socket of sockets) socket.destroy()
      await closeServer(server)
    },
  }
}

async function readBody (request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString('latin1')
  return body
}

async function listen (server: Server | NetServer): Promise<number> {
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return (server.address() as AddressInfo).port
}

async function closeServer (server: Server | NetServer): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => { resolve() })
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
}
