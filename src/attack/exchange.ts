/** Bytes to the gateway, and what comes of them: its answer, and what the upstream has seen by then. */
import { connect } from 'node:net'
import { loopback } from './loopback.ts'
import { isComplete, parseResponse, type RawResponse } from './raw-request.ts'
import type { RecordingUpstream, SeenRequest } from './recording-upstream.ts'

export interface Outcome {
  /** The final one to the first request; status 0 where the connection was closed without. */
  readonly answer: RawResponse
  /** All that came back, Latin-1. */
  readonly text: string
  /** What came to the upstream meanwhile. */
  readonly seen: readonly SeenRequest[]
}

export interface SendOptions {
  /**
   * Milliseconds of silence after which the sender half-closes, and again until it gives up: for bytes that may hold more than
   * one request, or less. Without it the first whole answer ends the exchange. Gateway and recorder run in this process, so a
   * few are enough, with some turns of the loop behind them (TURNS).
   */
  readonly settle?: number
  /** Sent once the first bytes have been answered, or `settle` has passed. */
  readonly then?: string
}

/**
 * Of the event loop: on a slow machine one of them takes longer than the silence, and a request goes on in each of several, from
 * the client's socket to a new connection and to the recorder. What comes late would be taken for the next client's.
 */
const TURNS = 12

/** Milliseconds for an answer that must come. */
const PATIENCE = 5_000

export function createSender (port: number, upstream: RecordingUpstream) {
  return async function send (bytes: string, { settle, then }: SendOptions = {}): Promise<Outcome> {
    const before = upstream.count()
    const { text, closed } = await exchange(port, bytes, settle, then)
    return { answer: parseResponse(withoutInterim(text), closed), text, seen: upstream.seen().slice(before) }
  }
}

export type Send = ReturnType<typeof createSender>

async function exchange (port: number, bytes: string, settle: number | undefined, then: string | undefined): Promise<{ readonly text: string, readonly closed: boolean }> {
  const socket = connect({ port, host: loopback, noDelay: true, allowHalfOpen: true })
  const isHead = bytes.startsWith('HEAD ')
  let text = ''
  let closed = false
  await new Promise<void>((resolve) => {
    let more = then
    let ended = false
    const next = () => {
      if (more !== undefined) {
        socket.write(Buffer.from(more, 'latin1'))
        more = undefined
        timer.refresh()
      } else if (settle !== undefined && !ended) {
        ended = true
        socket.end()
        timer.refresh()
      } else {
        resolve()
      }
    }
    const timer = setTimeout(() => {
      const had = text.length
      void turns(TURNS).then(() => {
        if (closed) return
        if (text.length === had) next()
        else timer.refresh()
      })
    }, settle ?? PATIENCE)
    const close = () => {
      closed = true
      clearTimeout(timer)
      resolve()
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (settle !== undefined) timer.refresh()
      else if (isWhole(text, isHead)) {
        clearTimeout(timer)
        resolve()
      }
    })
    socket.on('end', close).on('close', close).on('error', close)
    socket.write(Buffer.from(bytes, 'latin1'))
  })
  socket.destroy()
  return { text, closed }
}

async function turns (count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => { setImmediate(resolve) })
}

function isWhole (text: string, isHead: boolean): boolean {
  const final = withoutInterim(text)
  if (isHead || final.startsWith('HTTP/1.1 101')) return final.includes('\r\n\r\n')
  return isComplete(final)
}

function withoutInterim (text: string): string {
  let rest = text
  while (/^HTTP\/1\.1 10[023]/.test(rest) && rest.includes('\r\n\r\n')) rest = rest.slice(rest.indexOf('\r\n\r\n') + 4)
  return rest
}
