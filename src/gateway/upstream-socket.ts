/** A socket to an upstream, for requests and for handshakes: where to, and whom to believe. */
import { connect as connectPlain, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'

export type UpstreamTls = Pick<ConnectionOptions, 'ca' | 'cert' | 'key'>

export interface SocketOptions {
  readonly tls?: UpstreamTls | undefined
  /** A TLS session to be resumed. */
  readonly session?: Buffer | undefined
  /** What Node takes for either kind of socket, whatever its types say of TLS. */
  readonly either: Pick<TcpNetConnectOpts, 'allowHalfOpen' | 'onread'>
}

/** Emits `secureConnect` for https, once the certificate is verified, and else `connect`: before that nothing may be sent. */
export function openUpstreamSocket (origin: URL, { tls, session, either }: SocketOptions): Socket | TLSSocket {
  const host = origin.hostname.replace(/^\[|\]$/g, '')
  if (origin.protocol !== 'https:') return connectPlain({ ...either, host, port: Number(origin.port || 80) })
  return connectTls({
    ...either,
    ...tls,
    host,
    port: Number(origin.port || 443),
    // RFC 6066 §3: no name is sent for an address. What is verified is then the address.
    servername: isIP(host) === 0 ? host : '',
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
    session,
  })
}
