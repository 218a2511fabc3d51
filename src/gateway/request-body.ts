/** The request's body on its way to the upstream: counted against the limit, timed against silence, never held. */
import type { IncomingMessage } from 'node:http'
import { Transform, type Readable } from 'node:stream'
import { Refusal } from '../errors.ts'

export interface BodyLimits {
  /** Bytes. */
  readonly bodyLimit: number
  /** Milliseconds that a client may be silent in the middle of it. */
  readonly idleTimeout: number
}

/** RFC 9112 §6.3: a request has a body if it says so by one of two headers, whatever its method. */
export function hasBody (request: IncomingMessage): boolean {
  const length = request.headers['content-length']
  return length === undefined ? request.headers['transfer-encoding'] !== undefined : length !== '0'
}

/** Throws GW_BODY_TOO_LARGE for a length that is announced and too large. */
export function assertLength (request: IncomingMessage, bodyLimit: number): void {
  const length = request.headers['content-length']
  if (length !== undefined && Number(length) > bodyLimit) throw new Refusal('GW_BODY_TOO_LARGE', { reason: `Content-Length ${length}` })
}

/**
 * The body as a stream of its own: it is destroyed when nobody wants more of it, and the request's own
 * stream is the client's connection, on which an answer may still have to be sent. Fails with a Refusal.
 */
export function limitedBody (request: IncomingMessage, { bodyLimit, idleTimeout }: BodyLimits): Readable {
  let size = 0
  const body = new Transform({
    highWaterMark: 65536,
    transform (chunk: Buffer, _encoding, done) {
      size += chunk.length
      silence.refresh()
      if (size > bodyLimit) done(new Refusal('GW_BODY_TOO_LARGE', { reason: 'chunked body' }))
      else done(null, chunk)
    },
    flush (done) {
      clearTimeout(silence)
      done()
    },
    destroy (error, done) {
      clearTimeout(silence)
      request.unpipe(body)
      done(error)
    },
  })
  const silence = setTimeout(onSilence, idleTimeout)
  request.once('close', onClose)
  request.once('error', onError)
  request.pipe(body)
  return body

  function onSilence (): void {
    // Waiting for the upstream to take what is there is not the client's silence.
    if (body.writableNeedDrain || body.readableLength > 0) silence.refresh()
    else body.destroy(new Refusal('GW_REQUEST_TIMEOUT', { reason: 'silence in the middle of the body' }))
  }

  function onError (error: Error): void {
    body.destroy(error instanceof Refusal ? error : new Error('the client went away'))
  }

  function onClose (): void {
    if (!request.complete) body.destroy(new Error('the client went away'))
  }
}
