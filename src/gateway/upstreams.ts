/** The upstreams of a route in turn, and the connections to them that all routes share. */
import { openUpstreamConnections, type ConnectionOptions, type UpstreamConnections } from './upstream-connections.ts'

export interface UpstreamPool {
  /** To be asked at boot: the same ones for the same origin. */
  connectionsTo (upstream: URL): UpstreamConnections
  /** Resolves when what is under way is answered. */
  close (): Promise<void>
}

export function openUpstreamPool (options: ConnectionOptions): UpstreamPool {
  const byOrigin = new Map<string, UpstreamConnections>()
  return {
    connectionsTo (upstream) {
      const known = byOrigin.get(upstream.origin)
      if (known !== undefined) return known
      const connections = openUpstreamConnections(upstream, options)
      byOrigin.set(upstream.origin, connections)
      return connections
    },
    async close () {
      await Promise.all(Array.from(byOrigin.values(), async (connections) => { await connections.close() }))
    },
  }
}

/** Round robin. */
export function inTurn<Upstream> (upstreams: readonly Upstream[]): () => Upstream {
  const [first] = upstreams
  if (first === undefined) throw new Error('a route has at least one upstream')
  let turn = 0
  return function next () {
    turn = (turn + 1) % upstreams.length
    return upstreams[turn] ?? first
  }
}
