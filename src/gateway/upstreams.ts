/** The upstreams of a route in turn, and the pool of connections that all routes share. */
import { Agent } from 'undici'

export interface UpstreamPoolOptions {
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Bytes. */
  readonly maxHeaderSize: number
}

export function openUpstreamPool ({ connectTimeout, maxHeaderSize }: UpstreamPoolOptions): Agent {
  return new Agent({
    // One request at a time on a connection: an upstream's fault can only ever touch the request that met it.
    pipelining: 1,
    maxHeaderSize,
    // Certificates of upstreams are verified, which reply-from's own agent would not do (libraries' default is off).
    connect: { timeout: connectTimeout, rejectUnauthorized: true },
    // Below the five seconds after which Node's own server closes an idle connection; an announced time goes first.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
  })
}

/** Round robin. */
export function inTurn (upstreams: readonly URL[]): () => URL {
  const [first] = upstreams
  if (first === undefined) throw new Error('a route has at least one upstream')
  let turn = 0
  return function next () {
    turn = (turn + 1) % upstreams.length
    return upstreams[turn] ?? first
  }
}
