/** An upstream's answer to a handshake as bytes for the client: the head of any, and the body of one that is no 101. */
import { STATUS_CODES, type IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { Transform, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { hopByHop, nominated, without } from './header-names.ts'

/** Writes status line and headers: those given, less what belongs to the upstream's connection, and then `own`. */
export function writeHead (socket: Duplex, response: IncomingMessage, headers: readonly string[], own: readonly string[]): void {
  const status = response.statusCode ?? 0
  let text = `HTTP/1.1 ${status} ${reasonOf(response)}\r\n`
  const all = [...endToEnd(headers, status), ...own]
  for (let index = 0; index < all.length; index += 2) text += `${all[index]}: ${all[index + 1]}\r\n`
  socket.write(`${text}\r\n`, 'latin1')
}

/**
 * Passes an answer on as the last one of its connection. Resolves when the client has it all, or with false when either
 * side broke off. `idle`: milliseconds of silence that either side is allowed.
 */
export async function passOnAnswer (response: IncomingMessage, socket: Duplex, headers: readonly string[], idle: number): Promise<boolean> {
  const status = response.statusCode ?? 0
  const isChunked = status !== 204 && status !== 304 && response.headers['content-length'] === undefined
  for (const one of [socket, response.socket]) {
    if (one instanceof Socket) one.setTimeout(idle, () => { one.destroy() })
  }
  writeHead(socket, response, headers, isChunked ? ['Transfer-Encoding', 'chunked', 'Connection', 'close'] : ['Connection', 'close'])
  try {
    // A body whose end the upstream shows by closing gets chunks too, and every one that breaks off lacks its last.
    if (isChunked) await pipeline(response, chunkedCoding(), socket)
    else await pipeline(response, socket)
  } catch {
    socket.destroy()
    return false
  }
  linger(socket)
  return true
}

/** RFC 9110 §7.6.1; §8.6 for the length, which a 1xx and a 204 must not have. */
function endToEnd (headers: readonly string[], status: number): readonly string[] {
  const dropped = status === 101 || status === 204 ? ['content-length'] : []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]?.toLowerCase() ?? ''
    if (hopByHop.has(name)) dropped.push(name)
    if (name === 'connection') dropped.push(...(nominated(headers[index + 1] ?? '') ?? []).filter(mayBeNominated))
  }
  return without(headers, dropped)
}

/** Not what the answer is framed by, nor what proves the handshake: RFC 9110 §7.6.1 forbids it, an attack would do it. */
function mayBeNominated (name: string): boolean {
  return name !== 'content-length' && !name.startsWith('sec-websocket-')
}

/** Node's parser lets control characters into a reason. */
function reasonOf ({ statusCode = 0, statusMessage = '' }: IncomingMessage): string {
  return /^[\t\x20-\x7e]*$/.test(statusMessage) ? statusMessage : STATUS_CODES[statusCode] ?? ''
}

/** RFC 9112 §7.1. */
function chunkedCoding (): Transform {
  return new Transform({
    transform (chunk: Buffer, _encoding, done) {
      done(null, Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]))
    },
    flush (done) {
      done(null, Buffer.from('0\r\n\r\n'))
    },
  })
}

/** Milliseconds. */
const LINGER = 2_000

/** RFC 9112 §9.6: the client may still be sending, and closing on that would reset what it has not read yet. */
function linger (socket: Duplex): void {
  const timer = setTimeout(() => { socket.destroy() }, LINGER)
  timer.unref()
  socket.once('close', () => { clearTimeout(timer) })
  socket.resume()
}
