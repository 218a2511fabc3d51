/**
 * A WebSocket passed through, byte for byte, from the 101 on. It says nothing of its own but the last word: when the
 * connection must end it puts a close frame between two frames (RFC 6455 §5.5.1), and sees that all is over soon after.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { EndReason } from './live-connections.ts'
import { closeFrame, createFrameTracker, maskedCloseFrame } from './websocket-frames.ts'

export interface TunnelOptions {
  /** The head of the answer has been written to it, and nothing else. */
  readonly client: Duplex
  readonly upstream: Duplex
  /** What each sent before the tunnel stood. */
  readonly early: { readonly fromClient: Buffer, readonly fromUpstream: Buffer }
  /** Called once, when both connections are closed. */
  readonly onClosed: (closed: TunnelClosed) => void
}

export interface TunnelClosed {
  /** `closed` by the two themselves, or why the gateway ended it; `broken` where a connection was reset. */
  readonly why: EndReason | 'closed' | 'broken'
  /** Bytes. */
  readonly fromClient: number
  readonly fromUpstream: number
}

export interface Tunnel {
  end (why: EndReason): void
}

/** 4000–4999 are for private use (RFC 6455 §7.4.2): 4401 is this gateway's 401. 1001 says going away (§7.4.1). */
const lastWords: Readonly<Record<EndReason, { readonly code: number, readonly reason: string }>> = {
  expired: { code: 4401, reason: 'token expired' },
  revoked: { code: 4401, reason: 'session ended' },
  shutdown: { code: 1001, reason: 'going away' },
}

/** Milliseconds from the decision to end until nothing is left: for the frame under way, and for the client's reply. */
const ENDING = 2_000

/** Milliseconds without a byte in any direction, once one side has said that it sends no more. */
const HALF_CLOSED_IDLE = 10_000

/** Milliseconds of silence after which the kernel asks whether the peer is still there. */
const KEEP_ALIVE = 30_000

export function openTunnel ({ client, upstream, early, onClosed }: TunnelOptions): Tunnel {
  const toClient = createFrameTracker()
  const toUpstream = createFrameTracker()
  const bytes = { fromClient: 0, fromUpstream: 0 }
  let ending: EndReason | null = null
  /** Whether a close frame may follow what the upstream has got; it gets nothing else once the end is decided. */
  let upstreamHearsClose = false
  /** The client gets nothing any more. */
  let clientIsTold = false
  let broken = false
  /** Connections that are not closed. */
  let open = 2
  let timer: NodeJS.Timeout | undefined

  function fromUpstream (chunk: Buffer): void {
    bytes.fromUpstream += chunk.length
    if (ending === null) {
      toClient.take(chunk)
      if (!client.write(chunk)) upstream.pause()
    } else if (!clientIsTold) {
      const length = toClient.takeRestOfFrame(chunk)
      if (!client.write(chunk.subarray(0, length))) upstream.pause()
      if (toClient.isAtBoundary()) tell(ending)
    }
  }

  function fromClient (chunk: Buffer): void {
    bytes.fromClient += chunk.length
    toUpstream.take(chunk)
    if (ending === null) {
      if (!upstream.write(chunk)) client.pause()
    } else if (clientIsTold && toUpstream.hasClosed()) {
      // Both have said it: RFC 6455 §7.1.1 has the server close the connection first.
      client.end()
    }
  }

  function end (why: EndReason): void {
    if (ending !== null) return
    ending = why
    upstreamHearsClose = toUpstream.isAtBoundary() && !toUpstream.hasClosed()
    timer = setTimeout(destroy, ENDING)
    // Read on without forwarding: the client's own close frame is behind what it still sends.
    client.resume()
    if (toClient.isAtBoundary()) tell(why)
  }

  /** First the client: an upstream that is told may hang up in the middle of a frame. */
  function tell (why: EndReason): void {
    const { code, reason } = lastWords[why]
    clientIsTold = true
    if (!toClient.hasClosed() && client.writable) client.write(closeFrame(code, reason))
    if (toUpstream.hasClosed()) client.end()
    tellUpstream(why)
  }

  function tellUpstream (why: EndReason): void {
    const { code, reason } = lastWords[why]
    if (upstreamHearsClose && upstream.writable) upstream.write(maskedCloseFrame(code, reason))
    upstreamHearsClose = false
    upstream.end()
    upstream.resume()
  }

  function destroy (): void {
    client.destroy()
    upstream.destroy()
  }

  /** One side sends no more: the other hears of it behind all that came before, and does not keep both open alone. */
  function passOnEnd (to: Duplex): void {
    if (ending !== null) {
      tellUpstream(ending)
      client.end()
    }
    to.end()
    for (const socket of [client, upstream]) {
      if (socket instanceof Socket) socket.setTimeout(HALF_CLOSED_IDLE, destroy)
    }
  }

  function onError (): void {
    broken = true
    destroy()
  }

  function onClose (other: Duplex): void {
    // Both ends were said: what is on its way to the other may still arrive.
    if (!other.writableEnded) other.destroy()
    if (--open > 0) return
    clearTimeout(timer)
    onClosed({ why: ending ?? (broken ? 'broken' : 'closed'), ...bytes })
  }

  for (const socket of [client, upstream]) {
    socket.on('error', onError)
    if (socket instanceof Socket) socket.setTimeout(0).setNoDelay(true).setKeepAlive(true, KEEP_ALIVE)
  }
  upstream.once('close', () => { onClose(client) })
  client.once('close', () => { onClose(upstream) })
  upstream.on('end', () => { passOnEnd(client) })
  client.on('end', () => { passOnEnd(upstream) })
  upstream.on('drain', () => { client.resume() })
  client.on('drain', () => { upstream.resume() })
  if (early.fromUpstream.length > 0) fromUpstream(early.fromUpstream)
  if (early.fromClient.length > 0) fromClient(early.fromClient)
  upstream.on('data', fromUpstream)
  client.on('data', fromClient)
  if (!client.writableNeedDrain) upstream.resume()
  if (!upstream.writableNeedDrain) client.resume()
  return { end }
}
