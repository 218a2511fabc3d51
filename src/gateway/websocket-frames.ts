/**
 * Where one WebSocket frame ends and the next begins (RFC 6455 §5.2), told of bytes that pass by in chunks cut anywhere.
 * It copies, unmasks and judges nothing: what the frames say is between the two who speak.
 */
import { randomBytes } from 'node:crypto'

export interface FrameTracker {
  /** Reads the whole chunk. */
  take (chunk: Uint8Array): void
  /**
   * Reads no further than to the end of the first frame that ends in the chunk, and returns how many bytes that is; all
   * of them if none ends in it. At a boundary it reads nothing.
   */
  takeRestOfFrame (chunk: Uint8Array): number
  /** Whether all that was read is whole frames. */
  isAtBoundary (): boolean
  /** Whether a whole close frame has gone by: its sender says nothing more (RFC 6455 §5.5.1). */
  hasClosed (): boolean
}

const CLOSE = 0x8

/** RFC 6455 §5.2: opcode, mask bit and short length; then 0, 2 or 8 bytes of length; then 0 or 4 of mask. */
const SHORT_HEADER = 2
const MASK = 4

export function createFrameTracker (): FrameTracker {
  /** Bytes of the present frame's header that were read, and that it has, as far as is known. */
  let read = 0
  let header = SHORT_HEADER
  let lengthEnd = SHORT_HEADER
  let opcode = 0
  /** Bytes of payload to come. Above 2^53 it is not exact: such a frame lasts longer than any connection. */
  let payload = 0
  let closed = false

  function readHeaderByte (byte: number): void {
    if (read === 0) {
      opcode = byte & 0x0f
    } else if (read === 1) {
      const length = byte & 0x7f
      lengthEnd = SHORT_HEADER + (length === 126 ? 2 : length === 127 ? 8 : 0)
      header = lengthEnd + ((byte & 0x80) === 0 ? 0 : MASK)
      payload = length < 126 ? length : 0
    } else if (read < lengthEnd) {
      payload = payload * 256 + byte
    }
    read++
  }

  /** → the offset after the last byte that was read. */
  function advance (chunk: Uint8Array, stopAtBoundary: boolean): number {
    let offset = 0
    while (offset < chunk.length) {
      if (read < header) {
        readHeaderByte(chunk[offset] ?? 0)
        offset++
      } else {
        const step = Math.min(payload, chunk.length - offset)
        offset += step
        payload -= step
      }
      if (read === header && payload === 0) {
        closed ||= opcode === CLOSE
        read = 0
        header = SHORT_HEADER
        if (stopAtBoundary) break
      }
    }
    return offset
  }

  return {
    take (chunk) {
      advance(chunk, false)
    },
    takeRestOfFrame: (chunk) => read === 0 ? 0 : advance(chunk, true),
    isAtBoundary: () => read === 0,
    hasClosed: () => closed,
  }
}

/** `code`: RFC 6455 §7.4. `reason`: at most 123 bytes, so that the frame stays a control frame (§5.5). */
export function closeFrame (code: number, reason: string): Buffer {
  const payload = closePayload(code, reason)
  return Buffer.concat([Buffer.of(0x80 | CLOSE, payload.length), payload])
}

/** As a client sends it: masked, by a key that nobody can foresee (RFC 6455 §5.3). */
export function maskedCloseFrame (code: number, reason: string): Buffer {
  const payload = closePayload(code, reason)
  const key = randomBytes(MASK)
  const masked = payload.map((byte, index) => byte ^ (key[index % MASK] ?? 0))
  return Buffer.concat([Buffer.of(0x80 | CLOSE, 0x80 | payload.length), key, masked])
}

function closePayload (code: number, reason: string): Buffer {
  return Buffer.concat([Buffer.of(code >> 8, code & 0xff), Buffer.from(reason, 'utf8')])
}
