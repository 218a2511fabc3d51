/** Bytes on a socket: what no HTTP client would send, and what no HTTP client would show. */
import { connect, type Socket } from 'node:net'

export interface RawResponse {
  readonly status: number
  readonly reason: string
  /** As they came: [name, value], in order. */
  readonly headers: readonly (readonly [string, string])[]
  header (name: string): string | undefined
  readonly body: string
  /** All bytes, Latin-1. */
  readonly text: string
  readonly closed: boolean
}

export interface RawOptions {
  /** Milliseconds to wait for the server to close; after it what has come is the answer. */
  readonly timeout?: number
  /** Resolve once the answer (by its framing) is whole, without waiting for the server to close. */
  readonly untilComplete?: boolean
}

/** Sends the bytes (Latin-1) and reads until the server closes, the answer is whole, or the time is over. */
export async function rawRequest (port: number, bytes: string | Buffer, { timeout = 2_000, untilComplete = true }: RawOptions = {}): Promise<RawResponse> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return await readResponse(socket, { timeout, untilComplete })
}

export async function readResponse (socket: Socket, { timeout = 2_000, untilComplete = true }: RawOptions = {}): Promise<RawResponse> {
  let text = ''
  let closed = false
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, timeout)
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (untilComplete && isComplete(text)) done()
    })
    socket.on('end', () => { closed = true; done() })
    socket.on('close', () => { closed = true; done() })
    socket.on('error', () => { closed = true; done() })
  })
  socket.destroy()
  return parseResponse(text, closed)
}

export function parseResponse (text: string, closed: boolean): RawResponse {
  const end = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, end < 0 ? text.length : end).split('\r\n')
  const match = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(statusLine)
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1).trim()]
  })
  return {
    status: Number(match?.[1] ?? 0),
    reason: match?.[2] ?? '',
    headers,
    header: (name) => headers.find(([one]) => one.toLowerCase() === name.toLowerCase())?.[1],
    body: end < 0 ? '' : text.slice(end + 4),
    text,
    closed,
  }
}

/** Whether the answer is whole by its own framing. */
export function isComplete (text: string): boolean {
  const { status, header, body } = parseResponse(text, false)
  if (status === 0 || !text.includes('\r\n\r\n') || status < 200) return false
  const length = header('content-length')
  if (length !== undefined) return body.length >= Number(length)
  return header('transfer-encoding') === 'chunked' ? /(?:^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n$/.test(body) : status === 204 || status === 304
}
