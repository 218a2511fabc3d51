/** Nothing here aims at anybody else: what is dialled and bound while an attack runs is watched, and must be this machine alone. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Socket, type Server, type SocketConnectOpts } from 'node:net'

/** The one address that is dialled, and bound. */
export const loopback = '127.0.0.1'

export interface LoopbackGuard {
  /** `address:port`, each once. */
  dialled (): readonly string[]
  bound (): readonly string[]
  /** What was not this machine; nothing of it was reached. */
  strangers (): readonly string[]
  close (): void
}

export function isLoopback (host: string): boolean {
  return /^127(?:\.\d{1,3}){3}$/.test(host) || host === '::1' || host === '[::1]'
}

/**
 * Every TCP connection of this process, plain or TLS, begins in Socket.connect: one that would leave the machine is destroyed
 * before its name is looked up. The configuration that runs holds no such address; this is the second lock on that door.
 */
export function guardLoopback (): LoopbackGuard {
  const dialled = new Set<string>()
  const bound = new Set<string>()
  const strangers = new Set<string>()

  const connect = Socket.prototype.connect as (this: Socket, ...args: unknown[]) => Socket
  Socket.prototype.connect = function connectOnLoopback (this: Socket, ...args: unknown[]): Socket {
    const target = targetOf(args)
    dialled.add(target.text)
    if (target.isLoopback) return connect.apply(this, args)
    strangers.add(target.text)
    return this.destroy(new Error(`an attack dials nothing but loopback, and this was ${target.text}`))
  }
  const onBind = (message: unknown) => {
    const address = (message as { server: Server }).server.address()
    if (address === null) return
    const name = typeof address === 'string' ? address : `${address.address}:${address.port}`
    bound.add(name)
    if (typeof address === 'string' || !isLoopback(address.address)) strangers.add(name)
  }
  subscribe('tracing:net.server.listen:asyncEnd', onBind)
  return {
    dialled: () => [...dialled],
    bound: () => [...bound],
    strangers: () => [...strangers],
    close () {
      Socket.prototype.connect = connect
      unsubscribe('tracing:net.server.listen:asyncEnd', onBind)
    },
  }
}

/** The ways to call Socket.connect: with options (net.connect hands them over in a list), a port and a host, or a path. */
function targetOf (args: readonly unknown[]): { readonly text: string, readonly isLoopback: boolean } {
  const first: unknown = Array.isArray(args[0]) ? args[0][0] : args[0]
  if (typeof first === 'object' && first !== null) {
    const options = first as SocketConnectOpts
    return 'path' in options && typeof options.path === 'string' ? { text: options.path, isLoopback: false } : host(('host' in options ? options.host : undefined) ?? 'localhost', 'port' in options ? options.port : 0)
  }
  return typeof first === 'number' ? host(typeof args[1] === 'string' ? args[1] : 'localhost', first) : { text: String(first), isLoopback: false }
}

function host (name: string, port: number): { readonly text: string, readonly isLoopback: boolean } {
  return { text: `${name}:${port}`, isLoopback: isLoopback(name) }
}
