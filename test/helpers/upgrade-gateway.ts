/** A gateway that knows nothing but WebSockets: what stands in front of upgrade.ts elsewhere, in twenty lines. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createLiveConnections, type LiveConnections } from '../../src/gateway/live-connections.ts'
import type { TunnelClosed } from '../../src/gateway/tunnel.ts'
import { forwardUpgrade, readHandshake, type UpgradeOptions, type UpgradeOutcome, type UpgradeTarget } from '../../src/gateway/upgrade.ts'

export interface UpgradeGateway {
  readonly port: number
  readonly url: string
  readonly live: LiveConnections
  readonly server: Server
  /** Outcomes and ends so far, in order. */
  readonly outcomes: readonly UpgradeOutcome[]
  readonly ends: readonly TunnelClosed[]
  /** Resolves when there are so many. */
  outcome (count?: number): Promise<UpgradeOutcome>
  closed (count?: number): Promise<TunnelClosed>
  close (): Promise<void>
}

export type GatewayChoices = Partial<UpgradeTarget> & Partial<UpgradeOptions> & {
  readonly isEnded?: (sessionId: string) => boolean
  readonly beforeForward?: (request: IncomingMessage, socket: Duplex) => void
}

/** Everything that is no WebSocket handshake is answered 200 "plain"; a failed one gets a status line and its code. */
export async function startUpgradeGateway (origin: string, choices: GatewayChoices = {}): Promise<UpgradeGateway> {
  const { isEnded = () => false, beforeForward, ...given } = choices
  const live = given.live ?? createLiveConnections({ now: Date.now, isEnded })
  const outcomes: UpgradeOutcome[] = []
  const ends: TunnelClosed[] = []
  const sockets = new Set<Socket>()
  const waiters = new Set<() => void>()
  const told = () => { for (const waiter of waiters) waiter() }

  const server = createServer((_request, response) => { response.end('plain') })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => { sockets.delete(socket) })
  })
  server.on('upgrade', (request, socket, head) => {
    beforeForward?.(request, socket)
    if (readHandshake(request) !== 'websocket') {
      socket.on('error', () => {})
      refuse(socket, 400, readHandshake(request))
      return
    }
    forwardUpgrade({ request, socket, head }, {
      origin: new URL(origin),
      path: request.url ?? '/',
      headers: keptHeaders(request),
      connectTimeout: 1_000,
      responseTimeout: 1_000,
      ...given,
    }, {
      sessionId: null,
      closeAt: Infinity,
      ...given,
      live,
      onClosed (closed) {
        ends.push(closed)
        told()
      },
    }).then((outcome) => {
      outcomes.push(outcome)
      if (outcome.outcome === 'failed') refuse(socket, outcome.refusal.statusCode, outcome.refusal.code)
      told()
    }, (error: unknown) => { server.emit('error', error) })
  })
  const port = await listen(server)
  const until = async (enough: () => boolean) => {
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!enough()) return
        waiters.delete(look)
        resolve()
      }
      waiters.add(look)
      look()
    })
  }
  return {
    port,
    url: `ws://127.0.0.1:${port}`,
    live,
    server,
    outcomes,
    ends,
    async outcome (count = 1) {
      await until(() => outcomes.length >= count)
      return assertThere(outcomes[count - 1])
    },
    async closed (count = 1) {
      await until(() => ends.length >= count)
      return assertThere(ends[count - 1])
    },
    async close () {
      live.close()
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => { server.close(() => { resolve() }) })
    },
  }
}

export async function listen (server: Server | NetServer): Promise<number> {
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return (server.address() as AddressInfo).port
}

/** A handshake as bytes, with the example key of RFC 6455 §1.3. */
export function handshakeBytes (path = '/', ...lines: string[]): string {
  return [
    `GET ${path} HTTP/1.1`, 'Host: gateway.test', 'Connection: Upgrade', 'Upgrade: websocket',
    'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', ...lines, '', '',
  ].join('\r\n')
}

/** The upstream's agreement to that handshake. */
export const agreement = [
  'HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade',
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', '', '',
].join('\r\n')

function keptHeaders (request: IncomingMessage): string[] {
  const kept: string[] = []
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? ''
    if (!['connection', 'upgrade', 'host', 'content-length'].includes(name.toLowerCase())) kept.push(name, request.rawHeaders[index + 1] ?? '')
  }
  return kept
}

function refuse (socket: Duplex, status: number, code: string): void {
  socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: ${code.length}\r\n\r\n${code}`)
  socket.resume()
}

function assertThere<Value> (value: Value | undefined): Value {
  if (value === undefined) throw new Error('not there')
  return value
}
