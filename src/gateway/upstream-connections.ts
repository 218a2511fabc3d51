/** The connections to one upstream: each has one request at a time, and the one that was used last is used next. */
import { buildConnector, Client, errors, type Dispatcher } from 'undici'

export interface ConnectionOptions {
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Bytes. */
  readonly maxHeaderSize: number
}

export interface UpstreamConnections {
  /** Whatever goes wrong, with the options themselves too, the handler is told. */
  dispatch (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void
  /** Resolves when what is under way is answered, and every connection closed. */
  close (): Promise<void>
}

/** A client of undici's is one connection, opened for a request when there is none. */
interface Connection {
  readonly client: Client
  isFree: boolean
}

/**
 * Instead of undici's Pool, which looks at one client after the other for a free one: with a thousand of them busy with slow
 * bodies, each request of everybody else would pay for that.
 */
export function openUpstreamConnections (origin: URL, { connectTimeout, maxHeaderSize }: ConnectionOptions): UpstreamConnections {
  // One for all, because it remembers TLS sessions. Certificates are verified, which reply-from's own agent would not do.
  const connect = buildConnector({ timeout: connectTimeout, rejectUnauthorized: true })
  const all = new Set<Connection>()
  /** The one that was used last is at the end: those that a burst has left at the beginning are closed for being idle. */
  const free: Connection[] = []
  let closed: Promise<unknown> | null = null

  function open (): Connection {
    const client = new Client(origin, {
      connect,
      // One request at a time on a connection: an upstream's fault can only ever touch the request that met it.
      pipelining: 1,
      maxHeaderSize,
      // Below the five seconds after which Node's own server closes an idle connection; an announced time goes first.
      keepAliveTimeout: 4_000,
      keepAliveMaxTimeout: 60_000,
    })
    const connection = { client, isFree: false }
    client.on('drain', () => { settle(connection) })
    client.on('disconnect', () => { if (connection.isFree) forget(connection) })
    all.add(connection)
    return connection
  }

  /** What has no request is free if it is connected, and else forgotten: it has nothing that would have to be closed. */
  function settle (connection: Connection): void {
    const { size, connected } = connection.client.stats
    if (size > 0 || connection.isFree) return
    if (connected) {
      connection.isFree = true
      free.push(connection)
    } else {
      all.delete(connection)
    }
  }

  function forget (connection: Connection): void {
    all.delete(connection)
    // The one that has been idle for longest is closed first, and found at once.
    free.splice(free.indexOf(connection), 1)
  }

  return {
    dispatch (options, handler) {
      if (closed !== null) {
        handler.onError?.(new errors.ClientClosedError())
        return
      }
      const connection = free.pop() ?? open()
      connection.isFree = false
      connection.client.dispatch(options, handler)
      // Options that undici refuses make no request that could end.
      settle(connection)
    },
    async close () {
      closed ??= Promise.all(Array.from(all, async ({ client }) => { await client.close() }))
      await closed
    },
  }
}
