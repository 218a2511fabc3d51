/** The request's body on its way to the upstream: counted against the limit, timed against silence and dripping, never held. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { Refusal } from '../errors.ts'

export interface BodyLimits {
  /** Bytes. */
  readonly bodyLimit: number
  /** Milliseconds that a client may be silent in the middle of it. */
  readonly idleTimeout: number
  /** Bytes a second that it has to come by on average; 0 for none. */
  readonly leastRate: number
  /** Milliseconds from its beginning until that counts. */
  readonly rateGrace: number
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
export class LimitedBody extends Readable {
  readonly #request: IncomingMessage
  readonly #limits: BodyLimits
  #size = 0
  #lastAt = performance.now()
  /** When it began, moved on by all the time in which the gateway did not read. */
  #since = this.#lastAt
  /** Since when the gateway does not read, because the upstream does not. */
  #pausedAt: number | null = null
  /** Not moved by what comes: a chunk costs no more than to be looked at. */
  #watch: NodeJS.Timeout

  constructor (request: IncomingMessage, limits: BodyLimits) {
    super({ highWaterMark: 65_536 })
    this.#request = request
    this.#limits = limits
    this.#watch = setTimeout(watch, limits.leastRate === 0 ? limits.idleTimeout : Math.min(limits.idleTimeout, limits.rateGrace), this)
    // Whoever reads it hears its errors until they are done with it; what comes later, the end of the client, is nobody's.
    this.on('error', () => {})
    // A pipe through a Transform does the same for twice the work a chunk.
    request.on('data', this.#onData).once('end', this.#onEnd)
    request.once('close', () => { if (!request.complete) this.destroy(new Error('the client went away')) })
    request.once('error', (error) => { this.destroy(error instanceof Refusal ? error : new Error('the client went away')) })
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#size += chunk.length
    this.#lastAt = performance.now()
    if (this.#size > this.#limits.bodyLimit) {
      this.destroy(new Refusal('GW_BODY_TOO_LARGE', { reason: 'chunked body' }))
    } else if (!this.push(chunk)) {
      this.#request.pause()
      this.#pausedAt = this.#lastAt
    }
  }

  readonly #onEnd = (): void => {
    clearTimeout(this.#watch)
    this.push(null)
  }

  override _read (): void {
    if (this.#pausedAt === null) return
    this.#discount(performance.now())
    this.#pausedAt = null
    this.#request.resume()
  }

  override _destroy (error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#watch)
    this.#request.off('data', this.#onData).off('end', this.#onEnd).pause()
    done(error)
  }

  /** The time in which nothing was read is not the client's. */
  #discount (now: number): void {
    if (this.#pausedAt === null) return
    this.#since += now - this.#pausedAt
    this.#lastAt = this.#pausedAt = now
  }

  /** Milliseconds that it has left, if nothing more comes. */
  #left (now: number): number {
    this.#discount(now)
    const { leastRate, rateGrace } = this.#limits
    const least = leastRate === 0 ? Infinity : Math.max(rateGrace, this.#size / leastRate * 1_000)
    return Math.min(this.#silenceLeft(now), least - (now - this.#since))
  }

  #silenceLeft (now: number): number {
    // Waiting for the upstream to take what is there is not the client's silence.
    return this.#limits.idleTimeout - (this.readableLength > 0 ? 0 : now - this.#lastAt)
  }

  watch (): void {
    const left = this.#left(performance.now())
    if (left > 0) this.#watch = setTimeout(watch, left, this)
    // What has come while the process was busy with something else is read first.
    else setImmediate(cutOff, this)
  }

  cutOff (): void {
    const now = performance.now()
    if (this.destroyed || this.#request.complete) return
    if (this.#left(now) > 0) this.watch()
    else this.destroy(new Refusal('GW_REQUEST_TIMEOUT', { reason: this.#silenceLeft(now) > 0 ? 'fewer bytes a second than limits.bodyRate' : 'silence in the middle of the body' }))
  }
}

function watch (body: LimitedBody): void {
  body.watch()
}

function cutOff (body: LimitedBody): void {
  body.cutOff()
}
