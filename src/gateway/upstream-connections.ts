/** The connections to one upstream: each has one request at a time, and the one that was used last is used next. */
import { openUpstreamConnection, type AnswerHandler, type ConnectionOwner, type UpstreamConnection, type UpstreamRequest, type UpstreamTarget } from './upstream-connection.ts'

export interface ConnectionOptions {
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Bytes. */
  readonly maxHeaderSize: number
  readonly tls?: UpstreamTarget['tls']
}

export interface UpstreamConnections {
  /** Whatever goes wrong, the handler is told. */
  send (request: UpstreamRequest, handler: AnswerHandler): void
  /** Resolves when what is under way is answered, and every connection closed. */
  close (): Promise<void>
}

/**
 * A stack of free ones: looked at one after the other, a thousand connections that are busy with slow bodies would cost each
 * request of everybody else.
 */
export function openUpstreamConnections (origin: URL, options: ConnectionOptions): UpstreamConnections {
  const target = { ...options, origin, tlsSession: { last: undefined } }
  const all = new Set<UpstreamConnection>()
  /** The one that was used last is at the end: those that a burst has left at the beginning are closed for being idle. */
  const free: UpstreamConnection[] = []
  /** Answered in this turn of the loop, and in the one before. */
  let resting: UpstreamConnection[] = []
  let rested: UpstreamConnection[] = []
  let onLastClosed: (() => void) | null = null

  const owner: ConnectionOwner = {
    onFree (connection) {
      if (onLastClosed !== null) {
        connection.destroy()
        return
      }
      if (resting.push(connection) === 1 && rested.length === 0) setImmediate(rest)
    },
    onClose (connection) {
      all.delete(connection)
      // The one that has been idle for longest is closed first, and found at once.
      for (const idle of [free, resting, rested]) {
        const place = idle.indexOf(connection)
        if (place !== -1) idle.splice(place, 1)
      }
      if (all.size === 0) onLastClosed?.()
    },
    onStale (request, handler) {
      open().send(request, handler)
    },
  }

  /**
   * Each is read once more before it is used again: an upstream that has sent more than was asked for, or has closed, is found out
   * then, and what it sent is not taken for the next answer.
   */
  function rest (): void {
    for (const connection of rested) free.push(connection)
    rested = resting
    resting = []
    if (rested.length > 0) setImmediate(rest)
  }

  function open (): UpstreamConnection {
    const connection = openUpstreamConnection(target, owner)
    all.add(connection)
    return connection
  }

  return {
    send (request, handler) {
      const connection = free.pop() ?? open()
      connection.send(request, handler)
    },
    async close () {
      await new Promise<void>((resolve) => {
        onLastClosed = resolve
        for (const connection of [...free, ...rested, ...resting]) connection.destroy()
        if (all.size === 0) resolve()
      })
    },
  }
}
