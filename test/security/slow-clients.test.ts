/**
 * Slowloris and its kin (CVE-2007-6750; slow POST; slow read, CVE-2009-4609's cousin in HTTP): connections that are opened and
 * then hardly used, each holding something. Each way of being slow has its bound and its answer; one connection cannot take what
 * many are meant to share; and whoever comes meanwhile is served as if nobody else were there.
 */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest, readResponse } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

const big = Buffer.alloc(32 * 1024 * 1024, 'x')
let connections = 0
let over = 0
const waiting: (() => void)[] = []
const upstream = await startUpstream((request, response) => {
  if (request.url === '/big') response.end(big).once('close', () => { over++ })
  else if (request.url === '/wait') waiting.push(() => { response.end('waited') })
  else response.end('served')
})
upstream.server.on('connection', () => { connections++ })
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  timeouts: { clientHeaders: '1s', clientBody: '400ms', keepAlive: '400ms', idle: '600ms' },
  limits: { headers: '8kb', body: '64kb', connections: 150 },
  routes: [{ path: '/', upstream: upstream.url, access: 'public' }],
})

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

function open (bytes = ''): Socket {
  const socket = connect(gateway.port, '127.0.0.1')
  socket.on('error', () => {})
  if (bytes !== '') socket.write(bytes, 'latin1')
  return socket
}

async function ended (socket: Socket): Promise<void> {
  socket.resume()
  if (!socket.closed) await within(5_000, once(socket, 'close'))
}

/** Served, while the slow ones are there; how fast, `npm run bench -- slow-clients` says. */
async function othersAreServed (t: Test) {
  for (let count = 0; count < 15; count++) {
    const { status, body } = await rawRequest(gateway.port, get('/x'))
    t.match({ status, body }, { status: 200, body: 'served' })
  }
}

t.test('a hundred slow clients of every kind get 408 or no more, and others are served meanwhile', async (t) => {
  const kinds: Record<string, { bytes: string, status: number }> = {
    'half a request line': { bytes: 'GE', status: 408 },
    'half a head': { bytes: 'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ', status: 408 },
    'a body without a byte': { bytes: 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n', status: 408 },
    'half a body': { bytes: 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf', status: 408 },
    'half a chunk': { bytes: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha', status: 408 },
    'half a chunk size': { bytes: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5', status: 408 },
    'chunks without an end': { bytes: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n', status: 408 },
    'a login that stops': { bytes: 'POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{', status: 408 },
    'a form that stops': { bytes: 'POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ngr', status: 408 },
    'a promise to send': { bytes: 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n', status: 100 },
    'nothing': { bytes: '', status: 408 },
  }
  const slow = Object.entries(kinds).flatMap(([what, { bytes, status }]) => Array.from({ length: 10 }, async () => {
    const response = await readResponse(open(bytes), { timeout: 6_000, untilComplete: false })
    const fine = (response.status === status || (bytes === '' && response.status === 0)) && response.closed && (status !== 100 || response.text.includes('HTTP/1.1 408'))
    return fine ? null : `${what}: ${response.status} ${String(response.closed)}`
  }))
  await othersAreServed(t)
  t.strictSame((await Promise.all(slow)).filter((fault) => fault !== null), [])
})

t.test('a head byte by byte has no longer than a head at once', async (t) => {
  const socket = open('GET / HTTP/1.1\r\nHost: a\r\n')
  const drip = setInterval(() => { socket.write('x') }, 100)
  const response = await readResponse(socket, { timeout: 5_000, untilComplete: false })
  clearInterval(drip)
  t.equal(response.status, 408)
  t.ok(response.closed)
})

t.test('what is too large is told so at once, however slowly it goes on', async (t) => {
  const head = open(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9_000)}`)
  t.equal((await readResponse(head)).status, 431)
  const body = open('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nx')
  t.equal((await readResponse(body)).status, 413)
})

t.test('a connection without a next request is closed', async (t) => {
  const socket = open(get('/x'))
  const [answer] = await once(socket, 'data') as [Buffer]
  t.match(answer.toString(), /^HTTP\/1\.1 200/)
  await ended(socket)
})

t.test('who has hung up half way is let go at once', async (t) => {
  for (const bytes of ['GET / HT', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf', '']) {
    const startedAt = performance.now()
    const socket = open()
    socket.end(bytes)
    await ended(socket)
    t.ok(performance.now() - startedAt < 350, `${JSON.stringify(bytes)}: before any time was over`)
  }
})

t.test('who does not read is cut off, and memory does not grow with what they do not read', async (t) => {
  const before = process.memoryUsage().rss
  const sockets = Array.from({ length: 10 }, () => open(get('/big')).pause())
  await othersAreServed(t)
  while (over < 10) await new Promise((resolve) => { setTimeout(resolve, 20) })
  const grown = (process.memoryUsage().rss - before) / 1024 / 1024
  t.ok(grown < 100, `${grown.toFixed()} MiB for 320 MiB that were asked for`)
  // Only now they read, and see that much is missing.
  const sizes = await Promise.all(sockets.map(async (socket) => {
    let size = 0
    socket.on('data', (chunk: Buffer) => { size += chunk.length })
    await ended(socket)
    return size
  }))
  t.ok(sizes.every((size) => size < big.length), 'each is visibly cut')
})

t.test('one connection opens no more than its share to an upstream', async (t) => {
  connections = 0
  const socket = open(get('/wait').repeat(1_000))
  let text = ''
  socket.on('data', (chunk: Buffer) => { text += chunk.toString() })
  while (waiting.length < 65) await new Promise((resolve) => { setTimeout(resolve, 5) })
  await othersAreServed(t)
  t.equal(waiting.length, 65)
  t.ok(connections <= 80, `${connections} connections`)
  for (const finish of waiting.splice(0)) finish()
  await ended(socket)
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, 65)
  t.equal(text.match(/HTTP\/1\.1 503/g)?.length, 1, 'the next one is told, and the connection ends')
})

t.test('more connections than may be are not taken, and taken again when there is room', async (t) => {
  const crowd = Array.from({ length: 150 }, () => open())
  await Promise.all(crowd.map(async (socket) => { if (socket.connecting) await once(socket, 'connect') }))
  let refused = 0
  for (let count = 0; count < 10; count++) if ((await rawRequest(gateway.port, get('/x'))).status === 0) refused++
  t.ok(refused > 0, `${refused} of 10 were not taken`)
  for (const socket of crowd) socket.destroy()
  await Promise.all(crowd.map(ended))
  while ((await rawRequest(gateway.port, get('/x'))).status !== 200);
  await othersAreServed(t)
})
