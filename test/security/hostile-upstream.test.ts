/**
 * A broken or hostile upstream is the framing question from the other side. A stock stack (fastify, http-proxy, reply-from)
 * dies of a `Trailer` header beside a Content-Length (ERR_HTTP_TRAILER_INVALID, uncaught: a remote crash), answers 500 with the
 * library's text and the internal address, retries a 503 ten times, or hangs. Here the process lives, the client gets 502, 504
 * or a visibly cut answer in the gateway's own words, and the next client on the pool is unharmed.
 */
import t, { type Test } from 'tap'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { generateCertificate } from '../helpers/certificate.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest, type RawOptions } from '../helpers/raw-request.ts'
import { startRawUpstream } from '../helpers/upstream.ts'

type Script = string | ((socket: Socket) => void)

const fine = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine'
let script: Script = fine
let served = 0

const upstream = await startRawUpstream((socket) => {
  served++
  if (typeof script === 'function') script(socket)
  else socket.write(Buffer.from(script, 'latin1'))
})
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  timeouts: { connect: '500ms', upstream: '700ms', idle: '700ms' },
  routes: [
    { path: '/', upstream: upstream.url, access: 'public' },
    { path: '/dead', upstream: 'http://127.0.0.1:1', access: 'public' },
    { path: '/nowhere', upstream: 'http://no-such-host.invalid', access: 'public' },
  ],
})

async function ask (answer: Script, bytes = 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n', options: RawOptions = { timeout: 4_000 }) {
  script = answer
  return await rawRequest(gateway.port, bytes, options)
}

async function nextClientIsUnharmed (t: Test) {
  for (let count = 0; count < 2; count++) {
    const next = await ask(fine)
    t.equal(next.status, 200)
    t.equal(next.body, 'fine')
  }
}

const broken: Record<string, Script> = {
  'garbage': 'what is this\r\n\r\n',
  'a length beside chunked': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi',
  'a negative length': 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi',
  'a folded header': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nhi',
  'a control character in a header': 'HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nhi',
  'a NUL in a header': 'HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nhi',
  'a status below 100': 'HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi',
  'a status of two digits': 'HTTP/1.1 20 Odd\r\nContent-Length: 2\r\n\r\nhi',
  'an unasked 101': 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an unasked 100': 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
  'a header bomb': `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(100_000)}\r\nContent-Length: 2\r\n\r\nhi`,
  'a bomb of many headers': `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(20_000)}Content-Length: 2\r\n\r\nhi`,
  'HTTP/0.9': 'hello',
  'a reset': (socket) => { socket.resetAndDestroy() },
  'an end without an answer': (socket) => { socket.end() },
  'half a head, then the end': (socket) => { socket.end('HTTP/1.1 200 OK\r\nContent-Le') },
}

for (const [what, answer] of Object.entries(broken)) {
  t.test(`${what} is a 502 in our own words`, async (t) => {
    const response = await ask(answer)
    if (what === 'HTTP/0.9') t.match(response.status, /50[24]/)
    else t.equal(response.status, 502)
    t.match(JSON.parse(response.body), { error: /^(bad_gateway|gateway_timeout)$/, code: /^GW_UPSTREAM_/ })
    t.notMatch(response.text, /127\.0\.0\.1|UND_ERR|ECONN|HPE_|socket|parse/i)
    await nextClientIsUnharmed(t)
  })
}

t.test('silence is a 504, at every stage before the body', async (t) => {
  for (const stage of ['', 'HTTP/1.1 200', 'HTTP/1.1 200 OK\r\nX: y\r\n', 'HTTP/1.1 102 Processing\r\n\r\n']) {
    const response = await ask(stage)
    const last = response.text.slice(response.text.lastIndexOf('HTTP/1.1 5'))
    t.match(last, /^HTTP\/1\.1 504 /, JSON.stringify(stage))
    t.match(last, /"code":"GW_UPSTREAM_TIMEOUT"/)
  }
  await nextClientIsUnharmed(t)
})

const cutOff: Record<string, Script> = {
  'a reset in the middle of a counted body': (socket) => { socket.write('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi'); setTimeout(() => { socket.resetAndDestroy() }, 30) },
  'an end in the middle of a counted body': (socket) => { socket.write('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi'); setTimeout(() => { socket.end() }, 30) },
  'a reset in the middle of a chunked body': (socket) => { socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n'); setTimeout(() => { socket.resetAndDestroy() }, 30) },
  'a broken chunk': (socket) => { socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nZZ\r\n') },
  'silence in the middle of a body': (socket) => { socket.write('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi') },
}

for (const [what, answer] of Object.entries(cutOff)) {
  t.test(`${what} is a visibly cut answer`, async (t) => {
    const response = await ask(answer)
    t.equal(response.status, 200)
    t.ok(response.closed, 'the connection ends')
    t.notMatch(response.body, /\r\n0\r\n\r\n$|GW_/, 'without a last chunk, and without a second answer inside of the first')
    await nextClientIsUnharmed(t)
  })
}

t.test('a Trailer header where none may be does not kill the process', async (t) => {
  for (const [head, bytes] of [
    ['HTTP/1.1 200 OK\r\nTrailer: X\r\nContent-Length: 4\r\n\r\nfine', 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['HTTP/1.1 204 OK\r\nTrailer: X\r\n\r\n', 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['HTTP/1.1 304 OK\r\nTrailer: X\r\n\r\n', 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n', 'HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n', 'GET /x HTTP/1.0\r\nHost: a\r\n\r\n'],
    ['HTTP/1.1 200 OK\r\nTrailer: \r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n', 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
  ] as const) {
    const response = await ask(head, bytes, { timeout: 300 })
    t.ok([200, 204, 304, 502].includes(response.status), head)
  }
  await nextClientIsUnharmed(t)
})

t.test('a body where none may be, or behind the body, is nobody\'s answer', async (t) => {
  for (const answer of [
    'HTTP/1.1 204 OK\r\nContent-Length: 4\r\n\r\nevil',
    'HTTP/1.1 304 OK\r\nContent-Length: 4\r\n\r\nevil',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
  ]) {
    const response = await ask(answer, undefined, { timeout: 200 })
    t.notMatch(response.text, /evil/)
    t.notMatch(response.text, /^HTTP\/1\.1 204[\s\S]*content-length/i)
    await nextClientIsUnharmed(t)
  }
})

t.test('a 503 is one answer to one request', async (t) => {
  served = 0
  const response = await ask('HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nhi')
  t.equal(response.status, 503)
  t.equal(served, 1)
})

t.test('hop-by-hop headers of the answer, and what Connection names, stay behind', async (t) => {
  const response = await ask('HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: trailers\r\nContent-Length: 2\r\n\r\nhi',
    'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', { untilComplete: false })
  t.notOk(response.header('x-secret'))
  t.notOk(response.header('proxy-authenticate'))
  t.notOk(response.header('upgrade'))
  t.notOk(response.header('te'))
  t.equal(response.header('connection'), 'close', 'the client asked for it')
  t.ok(response.closed, 'and gets it')
})

t.test('Connection cannot name away what frames the answer', async (t) => {
  const response = await ask('HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 4\r\n\r\nfine')
  t.equal(response.header('content-length'), '4')
})

t.test('a compressed body passes as it is', async (t) => {
  const response = await ask('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00')
  t.equal(response.header('content-encoding'), 'gzip')
  t.equal(response.body, '\x1f\x8b\x08\x00')
})

t.test('an upstream that cannot be reached is a 502 without its address', async (t) => {
  for (const path of ['/dead', '/nowhere']) {
    const response = await rawRequest(gateway.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.equal(response.status, 502)
    t.match(JSON.parse(response.body), { error: 'bad_gateway', code: 'GW_UPSTREAM_UNREACHABLE' })
    t.notMatch(response.text, /127\.0\.0\.1|no-such-host/)
  }
})

t.test('a client that leaves takes its request to the upstream with it', async (t) => {
  for (const stage of ['', 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi']) {
    const gone = new Promise<string>((resolve) => {
      void ask((socket) => {
        socket.once('close', () => { resolve('closed') })
        if (stage !== '') socket.write(stage)
      }, undefined, { timeout: 50 })
    })
    t.equal(await gone, 'closed')
  }
})

t.test('the rest of a body that the upstream does not want is not read as the next request', async (t) => {
  const inner = 'GET /evil HTTP/1.1\r\nHost: a\r\n\r\n'
  const response = await ask('HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno',
    `POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n${inner}`, { untilComplete: false, timeout: 1_500 })
  t.equal(response.status, 413)
  t.equal(response.header('connection'), 'close')
  t.equal(response.text.match(/HTTP\/1\.1 /g)?.length, 1)
  await nextClientIsUnharmed(t)
})

t.test('a slow client of a fast body holds back the upstream, not the memory', async (t) => {
  const chunk = Buffer.alloc(65_536, 'x')
  let sent = 0
  script = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    const pump = () => {
      while (!socket.destroyed && sent < 512 * 1024 * 1024) {
        sent += chunk.length
        socket.write('10000\r\n')
        socket.write(chunk)
        if (!socket.write('\r\n')) {
          socket.once('drain', pump)
          return
        }
      }
    }
    pump()
  }
  const { connect } = await import('node:net')
  const client = connect(gateway.port, '127.0.0.1')
  client.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')
  client.pause()
  let before = -1
  while (sent !== before) {
    before = sent
    await new Promise((resolve) => { setTimeout(resolve, 150) })
  }
  t.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken from the upstream`)
  client.destroy()
})

t.test('an https upstream whose certificate nobody vouches for is not spoken to', async (t) => {
  let spokenTo = false
  const server = createServer(generateCertificate(), (_request, response) => {
    spokenTo = true
    response.end('secret')
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close(); server.closeAllConnections() })
  const tls = await startTestGateway(t, { routes: [{ path: '/', upstream: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, access: 'public' }] })
  const response = await rawRequest(tls.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal(response.status, 502)
  t.match(JSON.parse(response.body), { code: 'GW_UPSTREAM_UNREACHABLE' })
  t.notOk(spokenTo)
})

t.test('every fault was counted, and none is in the log with a secret or as an error of the gateway', async (t) => {
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text()
  for (const kind of ['refused', 'timeout', 'reset', 'broken']) {
    t.match(metrics, new RegExp(`gatewarden_upstream_errors_total\\{route="/[a-z]*",kind="${kind}"\\} [1-9]`), kind)
  }
  t.notOk(gateway.log.some(({ code }) => code === 'GW_INTERNAL'))
})
