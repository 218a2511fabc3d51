/** The answer's head as the client will see it: the upstream's, less what belongs to the upstream's connection. */
import { isHeader, nominated, without, type HeaderNames } from './header-names.ts'

export interface ResponseHead {
  /** Flat name, value list. */
  readonly headers: string[]
  /** Bytes that the upstream said the body has; null where it did not say. */
  readonly length: number | null
  readonly isEventStream: boolean
  /** The names announced in `Trailer`; null where there are none. */
  readonly trailer: string | null
}

/** `raw`: flat name, value list. Values are Latin-1 on the wire and stay so. */
export function responseHead (raw: readonly string[], names: HeaderNames, requestId: string): ResponseHead {
  let headers: string[] = ['X-Request-Id', requestId]
  let dropped: readonly string[] | null = null
  let length: number | null = null
  let isEventStream = false
  let trailer: string | null = null
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? ''
    const fate = names.responseFate(name)
    const value = raw[index + 1] ?? ''
    if (fate === 'keep') {
      if (isHeader(name, 'content-length', 'Content-Length')) length = Number(value)
      else if (isHeader(name, 'content-type', 'Content-Type')) isEventStream = EVENT_STREAM.test(value)
      headers.push(name, value)
    } else if (fate === 'connection') {
      const also = nominated(value)
      if (also !== null) dropped = dropped === null ? also : [...dropped, ...also]
    } else if (isHeader(name, 'trailer', 'Trailer')) {
      trailer = value
    }
  }
  if (dropped !== null) headers = without(headers, dropped.filter((name) => !FRAMING.includes(name)))
  return { headers, length, isEventStream, trailer }
}

/** Streams that go on until somebody ends them. */
const EVENT_STREAM = /^(?:text\/event-stream|multipart\/x-mixed-replace)\b/i

/** Nominating these is an attack on the framing, not a wish (RFC 9110 §7.6.1 forbids it). */
const FRAMING = ['content-length', 'date', 'content-type']
