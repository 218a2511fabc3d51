/** The parser of answers, to the byte: the same whatever way the bytes are cut into reads, and a fault for all that is in doubt. */
import t from 'tap'
import fc from 'fast-check'
import { AnswerFault, createAnswerParser } from '../../src/gateway/answer-parser.ts'

interface Answer {
  readonly heads: { readonly status: number, readonly reason: string, readonly headers: readonly string[] }[]
  body: string
  trailers: readonly string[] | null
  keepFor: number | null
}

/** `reads`: Latin-1. `closed`: then the upstream closes. A fault is returned by its code. */
function parse (reads: readonly string[], { method = 'GET', closed = false, maxHeaderSize = 1_000 } = {}): Answer | AnswerFault['code'] {
  const answer: Answer = { heads: [], body: '', trailers: null, keepFor: null }
  const parser = createAnswerParser({
    onHead (status, reason, headers) { answer.heads.push({ status, reason, headers }) },
    onBody (chunk) { answer.body += chunk.toString('latin1') },
    onEnd (trailers, keepFor) { Object.assign(answer, { trailers, keepFor }) },
  }, { maxHeaderSize })
  parser.expect(method)
  try {
    for (const read of reads) parser.read(Buffer.from(read, 'latin1'))
    if (closed) parser.end()
    return answer
  } catch (error) {
    if (error instanceof AnswerFault) return error.code
    throw error
  }
}

const head = (headers: string, line = 'HTTP/1.1 200 OK') => `${line}\r\n${headers.split('|').filter((one) => one !== '').map((one) => `${one}\r\n`).join('')}\r\n`

t.test('what is framed well is read as it is framed', async (t) => {
  const cases: [what: string, bytes: string, options: Parameters<typeof parse>[1], expected: Partial<Answer>][] = [
    ['a counted body', `${head('Content-Length: 5')}hello`, {}, { body: 'hello', trailers: [], keepFor: 4_000 }],
    ['an empty one', head('Content-Length: 0'), {}, { body: '', trailers: [], keepFor: 4_000 }],
    ['chunks, with an extension', `${head('Transfer-Encoding: chunked')}5\r\nhello\r\nA;a=b\r\n0123456789\r\n0\r\n\r\n`, {}, { body: 'hello0123456789', trailers: [], keepFor: 4_000 }],
    ['trailers', `${head('transfer-encoding: Chunked')}1\r\nx\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n`, {}, { body: 'x', trailers: ['X-Sum', '1', 'Y', ''], keepFor: 4_000 }],
    ['a body until it closes', `${head('')}all of it`, { closed: true }, { body: 'all of it', trailers: [], keepFor: 0 }],
    ['the same by HTTP/1.0', `${head('', 'HTTP/1.0 200 OK')}all`, { closed: true }, { body: 'all', trailers: [], keepFor: 0 }],
    ['HTTP/1.0 that is kept', `${head('Content-Length: 1|Connection: Keep-Alive', 'HTTP/1.0 200 OK')}x`, {}, { body: 'x', keepFor: 4_000 }],
    ['HTTP/1.0 that is not', `${head('Content-Length: 1', 'HTTP/1.0 200 OK')}x`, {}, { body: 'x', keepFor: 0 }],
    ['the answer to HEAD', head('Content-Length: 5'), { method: 'HEAD' }, { body: '', trailers: [], keepFor: 4_000 }],
    ['a chunked one to HEAD', head('Transfer-Encoding: chunked'), { method: 'HEAD' }, { body: '', trailers: [], keepFor: 4_000 }],
    ['304 with a length', head('Content-Length: 5', 'HTTP/1.1 304 Not Modified'), {}, { body: '', trailers: [], keepFor: 4_000 }],
    ['204', head('', 'HTTP/1.1 204 No Content'), {}, { body: '', trailers: [], keepFor: 4_000 }],
    ['204 that announces bytes', head('Content-Length: 5', 'HTTP/1.1 204 No Content'), {}, { body: '', trailers: [], keepFor: 0 }],
    ['204 that announces chunks', head('Transfer-Encoding: chunked', 'HTTP/1.1 204 No Content'), {}, { body: '', trailers: [], keepFor: 0 }],
    ['close', `${head('Content-Length: 1|Connection: x, close|Connection: keep-alive')}x`, {}, { body: 'x', keepFor: 0 }],
    ['a time that is announced, less a margin', `${head('Content-Length: 1|Keep-Alive: max=5, timeout=30')}x`, {}, { body: 'x', keepFor: 28_000 }],
    ['one that is too short', `${head('Content-Length: 1|Keep-Alive: timeout=1')}x`, {}, { body: 'x', keepFor: 0 }],
    ['one that is too long', `${head('Content-Length: 1|Keep-Alive: timeout=999999')}x`, {}, { body: 'x', keepFor: 60_000 }],
    ['more than was asked for', `${head('Content-Length: 1')}xHTTP/1.1 200 OK\r\n`, {}, { body: 'x', keepFor: 0 }],
    ['no reason, with its space and without', head('Content-Length: 0', 'HTTP/1.1 200 '), {}, { body: '', keepFor: 4_000 }],
    ['no space before it either', head('Content-Length: 0', 'HTTP/1.1 200'), {}, { body: '', keepFor: 4_000 }],
  ]
  for (const [what, bytes, options, expected] of cases) {
    t.match(parse([bytes], options), expected, what)
    // What comes behind the answer is then bytes that nobody asked for.
    if (what !== 'more than was asked for') t.strictSame(parse([...bytes], options), parse([bytes], options), `${what}, byte by byte`)
  }
})

t.test('heads are what they were: names as spelled, values trimmed, bytes above 127', async (t) => {
  t.match(parse([head('Content-LENGTH: 0|x:|Y: \t a b\t |Z: \xe9|Z: 2|!#$%&\'*+-.^_`~: 1')]), {
    heads: [{ status: 200, reason: 'OK', headers: ['Content-LENGTH', '0', 'x', '', 'Y', 'a b', 'Z', '\xe9', 'Z', '2', '!#$%&\'*+-.^_`~', '1'] }],
  })
  t.match(parse([`${head('Link: </a>', 'HTTP/1.1 103 Early Hints')}${head('', 'HTTP/1.1 102 Processing')}${head('Content-Length: 1')}x`]), {
    heads: [{ status: 103, headers: ['Link', '</a>'] }, { status: 102, headers: [] }, { status: 200 }],
    body: 'x',
    keepFor: 4_000,
  })
})

t.test('what two readers could take differently is a fault', async (t) => {
  const chunked = head('Transfer-Encoding: chunked')
  for (const bytes of [
    'hello', 'HTTP/2 200 OK\r\n\r\n', 'HTTP/1.2 200 OK\r\n\r\n', 'http/1.1 200 OK\r\n\r\n', 'HTTP/1.1 099 A\r\n\r\n', 'HTTP/1.1 20 A\r\n\r\n', 'HTTP/1.1 2000 A\r\n\r\n',
    'HTTP/1.1  200 OK\r\n\r\n', ' HTTP/1.1 200 OK\r\n\r\n', '\r\nHTTP/1.1 200 OK\r\n\r\n', 'HTTP/1.1 200 O\x01K\r\n\r\n', 'HTTP/1.1 200\tOK\r\n\r\n',
    'HTTP/1.1 200 OK\nContent-Length: 0\n\n', 'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n', 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n',
    head('Content-Length: 1|Content-Length: 1'), head('Content-Length: 1, 1'), head('Content-Length: +1'), head('Content-Length: -1'), head('Content-Length: 0x1'),
    head('Content-Length: 1 1'), head('Content-Length:'), head('Content-Length: 1e3'), head(`Content-Length: ${'9'.repeat(16)}`), head('Content-Length: \xb2'),
    head('Content-Length: 1|Transfer-Encoding: chunked'), head('Transfer-Encoding: chunked|Content-Length: 1'), head('Transfer-Encoding: gzip, chunked'),
    head('Transfer-Encoding: chunked, identity'), head('Transfer-Encoding: identity'), head('Transfer-Encoding: xchunked'), head('Transfer-Encoding:'),
    head('Transfer-Encoding: chunked|Transfer-Encoding: chunked'), head('Transfer-Encoding: chunked', 'HTTP/1.0 200 OK'),
    head('A : b'), head('A'), head(': b'), head(' A: b'), head('A: b| folded'), head('A: b|\tfolded'), head('A\x00: b'), head('A: b\x00'), head('A: \x7f'), head('A: \x0b'), head('\xc4: b'),
    head('', 'HTTP/1.1 100 Continue'), head('Upgrade: x|Connection: upgrade', 'HTTP/1.1 101 Switching Protocols'),
    `${chunked}-1\r\n`, `${chunked}+1\r\n`, `${chunked}0x1\r\n`, `${chunked} 1\r\n`, `${chunked}1 \r\n`, `${chunked}\r\n`, `${chunked};a\r\n`, `${chunked}123456789\r\n`, `${chunked}g\r\n`,
    `${chunked}1\nx\r\n`, `${chunked}1\r\nxx`, `${chunked}1\r\nx\n`, `${chunked}1\r\nx\rx`, `${chunked}1;\x00\r\n`, `${chunked}0\r\nA b\r\n\r\n`, `${chunked}0\r\nA: b\n\r\n\r\n`,
  ]) {
    t.equal(parse([bytes]), 'ANSWER_MALFORMED', JSON.stringify(bytes))
  }
})

t.test('bytes that nobody asked for are a fault', async (t) => {
  t.equal(parse([`${head('Content-Length: 1')}x`, 'H']), 'ANSWER_MALFORMED')
  t.equal(parse([`${head('', 'HTTP/1.1 204 A')}`, '0\r\n\r\n']), 'ANSWER_MALFORMED')
})

t.test('bounds hold, at once and drop by drop', async (t) => {
  const large = 'x'.repeat(1_001)
  for (const bytes of [`HTTP/1.1 200 OK\r\nA: ${large}`, head(`A: ${large}`), `${head('Transfer-Encoding: chunked')}0\r\nA: ${large}`]) {
    t.equal(parse([bytes]), 'ANSWER_TOO_LARGE')
    t.equal(parse([...bytes]), 'ANSWER_TOO_LARGE')
  }
  const extension = `${head('Transfer-Encoding: chunked')}1;${'x'.repeat(1_100)}`
  t.equal(parse([extension]), 'ANSWER_TOO_LARGE')
  t.equal(parse([...extension]), 'ANSWER_TOO_LARGE')
})

t.test('closed in the middle is a fault, wherever the middle is', async (t) => {
  for (const [whole, options] of [
    [`${head('Content-Length: 5')}hello`, {}],
    [`${head('Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\nA: b\r\n\r\n`, {}],
    [head('Content-Length: 5'), { method: 'HEAD' }],
  ] as const) {
    for (let length = 0; length < whole.length; length++) {
      t.equal(parse([whole.slice(0, length)], { ...options, closed: true }), 'ANSWER_CUT_OFF', JSON.stringify(whole.slice(0, length)))
    }
    t.not(parse([whole], { ...options, closed: true }), 'ANSWER_CUT_OFF')
  }
})

t.test('any body in any chunks, in any reads, is the same body', async () => {
  const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 200 })
  fc.assert(fc.property(fc.array(bytes.filter((chunk) => chunk !== ''), { maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 50 }), (chunks, cuts) => {
    const whole = `${head('Transfer-Encoding: chunked')}${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`
    const reads: string[] = []
    for (let at = 0, turn = 0; at < whole.length; turn++) {
      const length = cuts[turn % cuts.length] ?? 1
      reads.push(whole.slice(at, at + length))
      at += length
    }
    const answer = parse(reads)
    return typeof answer === 'object' && answer.body === chunks.join('') && answer.trailers?.length === 0 && answer.keepFor === 4_000
  }), { numRuns: 300 })
})

t.test('who stops is told nothing more', async (t) => {
  let told = 0
  const parser = createAnswerParser({ onHead () { parser.stop() }, onBody () { told++ }, onEnd () { told++ } }, { maxHeaderSize: 1_000 })
  parser.expect('GET')
  parser.read(Buffer.from(`${head('Content-Length: 1')}x`))
  parser.read(Buffer.from('anything'))
  parser.end()
  t.equal(told, 0)
})
