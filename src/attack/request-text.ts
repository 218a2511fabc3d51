/** A request as text: well-formed, but for what an attack puts into it. */

export interface RequestParts {
  readonly method?: string
  readonly target: string
  readonly host: string
  /** Whole lines, without their end. */
  readonly lines?: readonly string[]
  readonly body?: string
}

export function requestText ({ method = 'GET', target, host, lines = [], body }: RequestParts): string {
  const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body, 'latin1')}`]
  return `${[`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...lines, ...length].join('\r\n')}\r\n\r\n${body ?? ''}`
}

/** RFC 6455 §4.1. */
export const handshakeLines: readonly string[] = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']

export function bearer (token: string): string {
  return `Authorization: Bearer ${token}`
}

/** As bytes on the wire: text beyond Latin-1 goes out as UTF-8. */
export function wire (text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}
