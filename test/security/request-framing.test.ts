/**
 * Request smuggling: two parsers disagree where a request ends, and the rest of one client's request is read as the beginning of
 * another's (CL.TE, TE.CL, TE.TE, CL.0; portswigger.net/research/http-desync-attacks). Whatever is in doubt is refused, and its
 * connection closed; two clients share the upstream's pool here, and neither ever sees a trace of the other.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
// What is bounded here are the gateway's headers.
upstream.server.maxHeadersCount = 0
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  limits: { headers: '8kb', body: '64kb' },
  routes: [{ path: '/', upstream: upstream.url, access: 'public' }, { path: '/api', upstream: upstream.url, access: 'authenticated' }],
})

const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'

async function otherClientIsUnharmed () {
  const response = await rawRequest(gateway.port, 'POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nmine!')
  const { url, body } = JSON.parse(response.body)
  return response.status === 200 && url === '/other' && body === 'mine!' && !upstream.seen.some((seen) => seen.url === '/smuggled')
}

const refused: Record<string, string> = {
  'CL.TE': `Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE.CL': `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${smuggled}0\r\n\r\n`,
  'TE.TE with a second coding': `Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE twice': `Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE: xchunked': `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE: chunked, identity': `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE: gzip, chunked': `Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE: empty': `Transfer-Encoding: \r\n\r\n${smuggled}`,
  'TE with a space before the colon': `Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE with a vertical tab': `Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE with a parameter': `Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE in quotes': `Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE that is no more than a comma': `Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE with a NUL': `Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE behind a bare LF': `X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE beside a length of nothing': `Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'TE folded': `Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'two lengths': `Content-Length: 0\r\nContent-Length: 30\r\n\r\n${smuggled}`,
  'the same length twice': `Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi${smuggled}`,
  'a list of lengths': `Content-Length: 2, 2\r\n\r\nhi${smuggled}`,
  'a signed length': `Content-Length: +2\r\n\r\nhi${smuggled}`,
  'a negative length': `Content-Length: -1\r\n\r\n${smuggled}`,
  'a hexadecimal length': `Content-Length: 0x2\r\n\r\nhi${smuggled}`,
  'a length with a point': `Content-Length: 2.0\r\n\r\nhi${smuggled}`,
  'an empty length': `Content-Length: \r\n\r\n${smuggled}`,
  'a length beyond all numbers': `Content-Length: 99999999999999999999\r\n\r\nhi${smuggled}`,
  'a length with white space inside': `Content-Length: 2 0\r\n\r\nhi${smuggled}`,
  'a bare LF between headers': `X-A: b\nContent-Length: 2\r\n\r\nhi${smuggled}`,
  'a bare CR in a header': `X-A: b\rContent-Length: 2\r\n\r\nhi${smuggled}`,
  'a NUL in a header': `X-A: \x00\r\nContent-Length: 2\r\n\r\nhi${smuggled}`,
}

for (const [what, rest] of Object.entries(refused)) {
  t.test(`${what} is refused, and its connection closed`, async (t) => {
    const response = await rawRequest(gateway.port, `POST /x HTTP/1.1\r\nHost: a\r\n${rest}`, { untilComplete: false })
    t.equal(response.status, 400)
    t.ok(response.closed)
    t.equal(response.text.match(/HTTP\/1\.1 /g)?.length, 1)
    t.ok(await otherClientIsUnharmed())
  })
}

const brokenBodies: Record<string, string> = {
  'a chunk size that is no number': 'zz\r\nhi\r\n0\r\n\r\n',
  'a signed chunk size': '+2\r\nhi\r\n0\r\n\r\n',
  'a chunk size of many digits': 'fffffffffffffffffff\r\nhi\r\n0\r\n\r\n',
  'a chunk longer than it says': '2\r\nhi!\r\n0\r\n\r\n',
  'a chunk that ends in a bare LF': '2\r\nhi\n0\r\n\r\n',
  'a bare LF behind the size': '2\nhi\r\n0\r\n\r\n',
  'a bare LF in an extension': '2;a\nhi\r\n0\r\n\r\n',
  'a bare CR in an extension': '2;a\rb\r\nhi\r\n0\r\n\r\n',
  'a NUL in an extension': '2;\x00\r\nhi\r\n0\r\n\r\n',
  'a size behind white space': ' 2\r\nhi\r\n0\r\n\r\n',
  'a size of 0x2': '0x2\r\nhi\r\n0\r\n\r\n',
  'a size of nothing': '\r\nhi\r\n0\r\n\r\n',
  // CVE-2024-22019: extensions were read without end.
  'an extension without end': `2;${'a'.repeat(70_000)}\r\nhi\r\n0\r\n\r\n`,
}

for (const [what, body] of Object.entries(brokenBodies)) {
  t.test(`${what} ends the connection, and nothing behind it is a request`, async (t) => {
    const response = await rawRequest(gateway.port, `POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}${smuggled}`, { untilComplete: false })
    t.ok(response.closed)
    t.ok((response.text.match(/HTTP\/1\.1 /g)?.length ?? 0) <= 1)
    t.ok(await otherClientIsUnharmed())
  })
}

t.test('spellings that only some server folds to a framing header do not arrive', async (t) => {
  for (const line of ['Transfer_Encoding: chunked', 'Transfer.Encoding: chunked', 'Content_Length: 3', 'HTTP_Transfer_Encoding: chunked']) {
    await rawRequest(gateway.port, `POST /x HTTP/1.1\r\nHost: a\r\n${line}\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`)
    const seen = upstream.seen.at(-1)
    t.match(seen, { body: '0\r\n\r\n', headers: { 'content-length': '5' } }, line)
    t.notOk(seen?.rawHeaders.some((name) => /^(?:http.)?(?:transfer|content)[^a-z-](?:encoding|length)$/i.test(name)))
  }
})

t.test('chunks with extensions and trailers arrive as a body without either', async (t) => {
  await rawRequest(gateway.port, 'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c="d"\r\nhi\r\n00;x\r\nX-User-Id: mallory\r\n\r\n')
  t.match(upstream.seen.at(-1), { body: 'hi', trailers: [] })
  t.ok(await otherClientIsUnharmed())
})

t.test('what is expected is told to who may send, once, and nobody is read on who was refused', async (t) => {
  const told = await rawRequest(gateway.port, 'POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi', { timeout: 300, untilComplete: false })
  t.strictSame(told.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 100', 'HTTP/1.1 200'])
  t.equal(upstream.seen.at(-1)?.headers['expect'], undefined)
  const old = await rawRequest(gateway.port, 'POST /x HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi', { untilComplete: false })
  t.strictSame(old.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200'], 'HTTP/1.0 knows no interim answers')
  const none = await rawRequest(gateway.port, 'GET /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n', { timeout: 300, untilComplete: false })
  t.strictSame(none.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200'], 'without a body there is nothing to go on with')
  // Whether the client now sends the body or its next request cannot be known: neither is read.
  for (const behind of ['', smuggled, `${smuggled}${smuggled}`]) {
    const refused = await rawRequest(gateway.port, `POST /api HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ${smuggled.length}\r\n\r\n${behind}`, { timeout: 2_000, untilComplete: false })
    t.strictSame(refused.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 401'])
    t.ok(refused.closed)
    t.ok(await otherClientIsUnharmed())
  }
  for (const value of ['100-continue, x', 'x', '100-continue, 100-continue']) {
    const unmet = await rawRequest(gateway.port, `POST /x HTTP/1.1\r\nHost: a\r\nExpect: ${value}\r\nContent-Length: 2\r\n\r\nhi${smuggled}`, { untilComplete: false })
    t.strictSame(unmet.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 417'], value)
    t.ok(await otherClientIsUnharmed())
  }
})

t.test('versions, hosts and methods that nobody may send are refused', async (t) => {
  for (const bytes of [
    'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', 'GET /\r\n\r\n', 'GET / HTTPS/1.1\r\nHost: a\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\nHost: \r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: evil@a\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a/x\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a:b\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a?x\r\n\r\n', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n', 'get / HTTP/1.1\r\nHost: a\r\n\r\n',
  ]) t.match((await rawRequest(gateway.port, bytes)).status, /^(400|405)$/, JSON.stringify(bytes))
  for (const host of ['a', 'a.b-c.example', 'a:80', '127.0.0.1:8080', '[::1]:80', 'a_b', 'a.']) t.equal((await rawRequest(gateway.port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 200, host)
  t.equal((await rawRequest(gateway.port, 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n')).status, 405)
})

t.test('a body of a refused request is not the next request', async (t) => {
  const response = await rawRequest(gateway.port, `POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`, { untilComplete: false, timeout: 300 })
  t.equal(response.status, 401)
  t.equal(response.text.match(/HTTP\/1\.1 /g)?.length, 1)
  t.ok(await otherClientIsUnharmed())
})

t.test('a refusal that keeps the connection serves the next request on it', async (t) => {
  const response = await rawRequest(gateway.port, 'POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', { untilComplete: false })
  t.strictSame(response.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 401', 'HTTP/1.1 200'])
})

t.test('requests in a row on one connection are answered in their order, and none after Connection: close', async (t) => {
  const response = await rawRequest(gateway.port,
    'GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' + smuggled, { untilComplete: false })
  t.strictSame([...response.text.matchAll(/"url":"(\/[^"]*)"/g)].map(([, url]) => url), ['/1', '/2', '/3'])
  t.ok(response.closed)
  t.ok(await otherClientIsUnharmed())
})

t.test('what is too large is told so: headers 431, bodies 413, counted or chunked', async (t) => {
  t.equal((await rawRequest(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9000)}\r\n\r\n`)).status, 431)
  t.equal((await rawRequest(gateway.port, `GET /${'x'.repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`)).status, 431)
  t.equal((await rawRequest(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${'a: b\r\n'.repeat(5000)}\r\n`)).status, 431)
  const before = upstream.seen.length
  const counted = await rawRequest(gateway.port, 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n')
  t.equal(counted.status, 413)
  t.match(JSON.parse(counted.body), { code: 'GW_BODY_TOO_LARGE' })
  const chunk = `8000\r\n${'x'.repeat(0x8000)}\r\n`
  t.equal((await rawRequest(gateway.port, `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(4)}0\r\n\r\n`)).status, 413)
  t.equal(upstream.seen.length, before)
})

t.test('many headers are all seen, up to the bound on their size', async (t) => {
  await rawRequest(gateway.port, `GET / HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 1200 }, (_, index) => `${index}:\r\n`).join('')}X_User_Id: mallory\r\n\r\n`)
  const seen = upstream.seen.at(-1)
  t.ok(seen?.rawHeaders.includes('1199'))
  t.notOk(seen?.rawHeaders.includes('mallory'))
})
