/**
 * An upstream's bytes → head, body and trailers of its answers, as RFC 9112 has it. What two readers could take differently is a
 * fault and ends the connection: what stands behind a wrongly framed answer would be taken for the answer to the next request.
 */

import { isHeader } from './header-names.ts'

export interface AnswerSink {
  /** `headers`: flat name, value list; Latin-1, as they came. A status below 200 is not the last one. */
  onHead (status: number, reason: string, headers: string[]): void
  onBody (chunk: Buffer): void
  /** `keepFor`: milliseconds that the connection may be kept for another request; 0 for not at all. */
  onEnd (trailers: string[], keepFor: number): void
}

export interface AnswerParser {
  /** What comes next is the answer to such a request. */
  expect (method: string): void
  /** Throws an AnswerFault, also for bytes that nobody asked for. They must be the parser's own: parts of them are passed on. */
  read (bytes: Buffer): void
  /** The upstream has closed its side: the end of some bodies (RFC 9112 §6.3 rule 8), and a fault in the middle of all others. */
  end (): void
  /** Whatever comes, nothing is told any more. */
  stop (): void
}

export class AnswerFault extends Error {
  readonly code: 'ANSWER_MALFORMED' | 'ANSWER_TOO_LARGE' | 'ANSWER_CUT_OFF'

  constructor (code: AnswerFault['code'], what: string) {
    super(what)
    this.code = code
  }
}

/** Milliseconds: below the five seconds after which Node's own server closes an idle connection. */
const KEEP_FOR = 4_000
/** Milliseconds by which an announced time is undercut, so that no request meets the upstream's close; and what is kept at most. */
const KEEP_MARGIN = 2_000
const KEEP_AT_MOST = 60_000
/** Bytes of a chunk's size with its extensions, which nobody reads: RFC 9112 §7.1.1 asks for a bound. */
const LONGEST_SIZE_LINE = 1_024

type State = 'unasked' | 'head' | 'counted' | 'chunk size' | 'chunk' | 'chunk end' | 'trailers' | 'until it closes' | 'stopped'

export function createAnswerParser (sink: AnswerSink, { maxHeaderSize }: { readonly maxHeaderSize: number }): AnswerParser {
  let state: State = 'unasked'
  let method = ''
  /** What has come of something that is only looked at whole. */
  let rest: Buffer | null = null
  /** Bytes of the body, or of the chunk, that are still to come. */
  let left = 0
  let keepFor = 0
  /** The bytes that are being read, and how far. */
  let input: Buffer = EMPTY
  let at = 0

  function readHead (): void {
    const end = input.indexOf(BLANK_LINE, at)
    if ((end === -1 ? input.length : end) - at > maxHeaderSize) throw new AnswerFault('ANSWER_TOO_LARGE', 'the head is too large')
    if (end === -1) {
      assertBeginsWell(input.toString('latin1', at))
      wait()
      return
    }
    const text = input.toString('latin1', at, end + 2)
    const lineEnd = text.indexOf('\r\n')
    const status = readStatus(text, lineEnd)
    const headers = readFields(text, input, at, at + lineEnd + 2)
    at = end + BLANK_LINE.length
    // The gateway met the expectation itself, and asked nobody to switch.
    if (status === 100 || status === 101) throw malformed('an interim answer that nobody asked for')
    if (status < 200) sink.onHead(status, text.slice(13, lineEnd), headers)
    else begin(status, text.slice(13, lineEnd), headers, text.charCodeAt(7) === ONE)
  }

  /** RFC 9112 §6.3, §9.3. */
  function begin (status: number, reason: string, headers: string[], isHttp11: boolean): void {
    let length = -1
    let isChunked = false
    let saysKeep = isHttp11
    let saysClose = false
    keepFor = KEEP_FOR
    for (let index = 0; index < headers.length; index += 2) {
      const name = headers[index] ?? ''
      const value = headers[index + 1] ?? ''
      if (isHeader(name, 'content-length', 'Content-Length')) {
        if (length !== -1) throw malformed('two lengths')
        length = readLength(value)
      } else if (isHeader(name, 'transfer-encoding', 'Transfer-Encoding')) {
        if (isChunked || !isHttp11 || value.toLowerCase() !== 'chunked') throw malformed('a transfer coding that is not chunked alone')
        isChunked = true
      } else if (isHeader(name, 'connection', 'Connection')) {
        saysKeep ||= hasToken(value, 'keep-alive')
        saysClose ||= hasToken(value, 'close')
      } else if (isHeader(name, 'keep-alive', 'Keep-Alive')) {
        keepFor = announced(value)
      }
    }
    if (isChunked && length !== -1) throw malformed('a length beside chunked')
    const mayHaveBody = method !== 'HEAD' && status !== 204 && status !== 304
    // Bytes that a 204 announces may still come, and would be the beginning of the next answer.
    if (saysClose || !saysKeep || (status === 204 && (isChunked || length > 0))) keepFor = 0

    sink.onHead(status, reason, headers)
    if (state === 'stopped') return
    if (!mayHaveBody || length === 0) {
      finish([])
    } else if (isChunked) {
      state = 'chunk size'
    } else if (length === -1) {
      keepFor = 0
      state = 'until it closes'
    } else {
      left = length
      state = 'counted'
    }
  }

  /** → what of the body, or of the chunk, is here. */
  function take (): Buffer {
    const end = Math.min(at + left, input.length)
    const chunk = at === 0 && end === input.length ? input : input.subarray(at, end)
    left -= end - at
    at = end
    return chunk
  }

  function readChunkSize (): void {
    const end = input.indexOf(LF, at)
    if ((end === -1 ? input.length : end) - at > LONGEST_SIZE_LINE) throw new AnswerFault('ANSWER_TOO_LARGE', 'the size of a chunk is too long')
    if (end === -1) {
      wait()
      return
    }
    const size = SIZE_LINE.exec(input.toString('latin1', at, end + 1))?.[1]
    if (size === undefined) throw malformed('the size of a chunk')
    at = end + 1
    left = Number.parseInt(size, 16)
    state = left === 0 ? 'trailers' : 'chunk'
  }

  function readChunkEnd (): void {
    if (input[at] !== CR || (at + 1 < input.length && input[at + 1] !== LF)) throw malformed('the end of a chunk')
    if (at + 1 === input.length) {
      wait()
      return
    }
    at += 2
    state = 'chunk size'
  }

  function readTrailers (): void {
    if (input[at] === CR && input[at + 1] === LF) {
      at += 2
      finish([])
      return
    }
    const end = input.indexOf(BLANK_LINE, at)
    if ((end === -1 ? input.length : end) - at > maxHeaderSize) throw new AnswerFault('ANSWER_TOO_LARGE', 'the trailers are too large')
    if (end === -1) {
      wait()
      return
    }
    const fields = readFields(input.toString('latin1', at, end + 2), input, at, at)
    at = end + BLANK_LINE.length
    finish(fields)
  }

  /** The next bytes are looked at together with these. */
  function wait (): void {
    rest = at === 0 ? input : input.subarray(at)
    at = input.length
  }

  function finish (trailers: string[]): void {
    // More than was asked for has come: whoever sends that is not asked again.
    const isClean = at === input.length
    state = isClean ? 'unasked' : 'stopped'
    sink.onEnd(trailers, isClean ? keepFor : 0)
  }

  return {
    expect (of) {
      method = of
      state = 'head'
    },
    read (bytes) {
      input = rest === null ? bytes : Buffer.concat([rest, bytes])
      rest = null
      at = 0
      while (at < input.length) {
        switch (state) {
          case 'head': readHead(); break
          case 'counted':
            sink.onBody(take())
            if (left === 0 && state === 'counted') finish([])
            break
          case 'chunk size': readChunkSize(); break
          case 'chunk':
            sink.onBody(take())
            if (left === 0 && state === 'chunk') state = 'chunk end'
            break
          case 'chunk end': readChunkEnd(); break
          case 'trailers': readTrailers(); break
          case 'until it closes':
            left = Infinity
            sink.onBody(take())
            break
          case 'unasked': throw malformed('bytes that nobody asked for')
          case 'stopped': return
        }
      }
    },
    end () {
      if (state === 'until it closes') finish([])
      else if (state !== 'unasked' && state !== 'stopped') throw new AnswerFault('ANSWER_CUT_OFF', 'closed in the middle of an answer')
    },
    stop () {
      state = 'stopped'
      rest = null
    },
  }
}

const EMPTY = Buffer.alloc(0)
const BLANK_LINE = Buffer.from('\r\n\r\n')
const CR = 0x0d
const LF = 0x0a
const TAB = 0x09
const SPACE = 0x20
const ZERO = 0x30
const ONE = 0x31

function malformed (what: string): AnswerFault {
  return new AnswerFault('ANSWER_MALFORMED', what)
}

/** Half a head: whoever speaks something else is not waited for until the time is up. */
function assertBeginsWell (text: string): void {
  if (text.length < 5 ? !'HTTP/'.startsWith(text) : !text.startsWith('HTTP/')) throw malformed('no status line')
  if (/(?<!\r)\n/.test(text)) throw malformed('a line that ends in LF alone')
}

/** RFC 9112 §4: `HTTP/1.1 200 OK`; the space before a reason that is empty is left out by some. */
function readStatus (text: string, lineEnd: number): number {
  if (!STATUS_LINE.test(text) || (lineEnd > 12 && text.charCodeAt(12) !== 0x20)) throw malformed('the status line')
  for (let index = 13; index < lineEnd; index++) {
    if (VALUE[text.charCodeAt(index)] !== 1) throw malformed('the reason')
  }
  return Number(text.slice(9, 12))
}

const STATUS_LINE = /^HTTP\/1\.[01] [1-9][0-9][0-9][ \r]/

/**
 * RFC 9112 §5: lines of `name: value` CRLF, from `from` on. No folding (§5.2), no space before the colon (§5.1), no bare CR or LF
 * (§2.2). `text` is what the bytes are from `base` on: it is cut, and they are looked at, which takes half as long.
 */
function readFields (text: string, bytes: Buffer, base: number, from: number): string[] {
  const fields: string[] = []
  const last = base + text.length
  let start = from
  while (start < last) {
    let colon = start
    while (TOKEN[bytes[colon] ?? 0] === 1) colon++
    if (colon === start || bytes[colon] !== 0x3a) throw malformed('the name of a header')
    let begin = colon + 1
    while (bytes[begin] === SPACE || bytes[begin] === TAB) begin++
    let lineEnd = begin
    while (VALUE[bytes[lineEnd] ?? 0] === 1) lineEnd++
    if (bytes[lineEnd] !== CR || bytes[lineEnd + 1] !== LF) throw malformed('the value of a header')
    let end = lineEnd
    while (end > begin && (bytes[end - 1] === SPACE || bytes[end - 1] === TAB)) end--
    fields.push(text.slice(start - base, colon - base), text.slice(begin - base, end - base))
    start = lineEnd + 2
  }
  return fields
}

/** RFC 9110 §5.6.2 and §5.5: 1 for each character that may stand in a name, or in a value. */
const TOKEN = characters(/[!#$%&'*+.^_`|~0-9A-Za-z-]/)
const VALUE = characters(/[\t\x20-\x7e\x80-\xff]/)

function characters (allowed: RegExp): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => allowed.test(String.fromCharCode(code)) ? 1 : 0)
}

/** RFC 9110 §8.6: digits alone, of a number that can be counted. */
function readLength (value: string): number {
  let length = 0
  for (let index = 0; index < value.length; index++) {
    const digit = value.charCodeAt(index) - ZERO
    if (!(digit >= 0 && digit <= 9)) throw malformed('the length')
    length = length * 10 + digit
  }
  if (value === '' || value.length > 15) throw malformed('the length')
  return length
}

/** RFC 9112 §7.1; 2^32 bytes and more in one chunk are nobody's. */
const SIZE_LINE = /^([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n$/

function hasToken (list: string, token: string): boolean {
  return list === token || list.toLowerCase().split(',').some((item) => item.trim() === token)
}

/** `timeout=5, max=100`: seconds → the milliseconds that we keep the connection for. */
function announced (value: string): number {
  const seconds = /(?:^|[\s,])timeout=([0-9]{1,9})(?:$|[\s,])/i.exec(value)?.[1]
  return seconds === undefined ? KEEP_FOR : Math.min(Math.max(Number(seconds) * 1_000 - KEEP_MARGIN, 0), KEEP_AT_MOST)
}
