/** How slowly a body may come: `limits.bodyRate` after `timeouts.clientBodyGrace`, on sockets; what is the upstream's slowness is not the client's. */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { startTestGateway } from '../helpers/gateway.ts'
import { readResponse } from '../helpers/raw-request.ts'
import { startRawUpstream, startUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

interface Limits { readonly rate?: string, readonly grace?: string, readonly silence?: string }

async function start (t: Test, { rate = '100b', grace = '400ms', silence = '30s' }: Limits = {}) {
  const upstream = await startUpstream((request, response) => { response.end(`got ${request.headers['content-length'] ?? 'chunks'}`) })
  t.teardown(() => upstream.close())
  return { upstream, gateway: await startTestGateway(t, config(upstream.url, { rate, grace, silence })) }
}

function config (upstream: string, { rate = '100b', grace = '400ms', silence = '30s' }: Limits) {
  return {
    limits: { bodyRate: rate },
    timeouts: { clientBodyGrace: grace, clientBody: silence },
    routes: [{ path: '/', upstream, access: 'public' }],
  }
}

function open (port: number, head: string): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${head}\r\n\r\n`, 'latin1')
  return socket
}

/** Sends that, so often, until `count` times or the connection is over. */
function drip (t: Test, socket: Socket, { bytes, every, count = Infinity, end = '' }: { bytes: string, every: number, count?: number, end?: string }): void {
  let left = count
  const timer = setInterval(() => {
    if (left-- > 0) socket.write(bytes)
    else socket.write(end)
    if (left < 0) clearInterval(timer)
  }, every)
  socket.once('close', () => { clearInterval(timer) })
  t.teardown(() => { clearInterval(timer) })
}

for (const [framing, head, byte] of [['counted', 'Content-Length: 1000', 'x'], ['chunked', 'Transfer-Encoding: chunked', '1\r\nx\r\n']] as const) {
  t.test(`a ${framing} body of a byte now and then is cut off with 408 when its grace is over, and its upstream request with it`, async (t) => {
    const upstream = await startRawUpstream(() => {})
    t.teardown(() => upstream.close())
    const gateway = await startTestGateway(t, config(upstream.url, {}))
    const startedAt = performance.now()
    const socket = open(gateway.port, head)
    drip(t, socket, { bytes: byte, every: 50 })
    const response = await readResponse(socket, { timeout: 5_000, untilComplete: false })
    t.ok(performance.now() - startedAt >= 390, 'not before')
    t.equal(response.status, 408)
    t.match(JSON.parse(response.body), { code: 'GW_REQUEST_TIMEOUT' })
    t.equal(upstream.sockets.length, 1)
    for (const side of upstream.sockets) if (!side.closed) await within(5_000, once(side, 'close'))
    t.match(gateway.log.find((line) => line['code'] === 'GW_REQUEST_TIMEOUT'), { reason: /limits\.bodyRate/ })
  })

  t.test(`a ${framing} body that comes a little faster than it must passes, however long it takes`, async (t) => {
    const { gateway } = await start(t)
    const socket = open(gateway.port, framing === 'counted' ? 'Content-Length: 200' : head)
    // 400 bytes a second, of which 100 are asked for: a machine that is four times too late still passes.
    const ten = framing === 'counted' ? 'x'.repeat(10) : 'a\r\nxxxxxxxxxx\r\n'
    drip(t, socket, { bytes: ten, every: 25, count: 20, end: framing === 'counted' ? '' : '0\r\n\r\n' })
    const response = await readResponse(socket, { timeout: 10_000, untilComplete: false })
    t.equal(response.status, 200)
    t.match(response.body, framing === 'counted' ? 'got 200' : 'got chunks')
  })
}

t.test('what a body has come ahead by, it may be slow for', async (t) => {
  const { gateway } = await start(t, { rate: '100b', grace: '200ms' })
  const socket = open(gateway.port, 'Content-Length: 1005')
  socket.write('x'.repeat(1_000))
  // A second, five times the grace; at 100 bytes a second its first thousand last for ten.
  drip(t, socket, { bytes: 'x', every: 200, count: 5 })
  t.equal((await readResponse(socket, { timeout: 8_000, untilComplete: false })).status, 200)
})

t.test('a body that is there in time has all the time of its upstream', async (t) => {
  const upstream = await startRawUpstream((socket) => {
    setTimeout(() => { socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok') }, 500)
  })
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, config(upstream.url, { grace: '100ms', rate: '1gb', silence: '200ms' }))
  const socket = open(gateway.port, 'Content-Length: 5')
  socket.write('whole')
  t.equal((await readResponse(socket, { timeout: 5_000, untilComplete: false })).status, 200)
})

t.test('time in which the upstream does not read is not the client’s', async (t) => {
  const size = 32 * 1024 * 1024
  const upstream = await startRawUpstream((socket, head) => {
    socket.removeAllListeners('data').pause()
    // Longer than the silence, and than what lies in between may take at that rate.
    setTimeout(() => {
      socket.on('data', () => {
        if (socket.bytesRead >= head.length + size) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }).resume()
    }, 4_000)
  })
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, config(upstream.url, { grace: '1s', rate: '4mb', silence: '2s' }))
  const socket = open(gateway.port, `Content-Length: ${size}`)
  socket.write(Buffer.alloc(size, 'x'))
  t.equal((await readResponse(socket, { timeout: 25_000, untilComplete: false })).status, 200)
})

t.test('without a rate a body may drip, and only its silence ends it', async (t) => {
  const { gateway } = await start(t, { rate: '0b', grace: '100ms', silence: '600ms' })
  const socket = open(gateway.port, 'Content-Length: 30')
  drip(t, socket, { bytes: 'x', every: 30, count: 30 })
  t.equal((await readResponse(socket, { timeout: 5_000, untilComplete: false })).status, 200)
  const silent = open(gateway.port, 'Content-Length: 30')
  silent.write('x')
  t.equal((await readResponse(silent, { timeout: 5_000, untilComplete: false })).status, 408)
  t.match(gateway.log.find((line) => line['code'] === 'GW_REQUEST_TIMEOUT'), { reason: /silence/ })
})

t.test('half a body for an upstream that cannot be reached is 502, and whoever comes next is served', async (t) => {
  const upstream = await startRawUpstream(() => {})
  await upstream.close()
  const gateway = await startTestGateway(t, config(upstream.url, { grace: '200ms' }))
  for (const rest of ['', 'half']) {
    const socket = open(gateway.port, 'Content-Length: 10')
    socket.write(rest)
    t.equal((await readResponse(socket, { timeout: 5_000, untilComplete: false })).status, 502)
    if (!socket.closed) await within(5_000, once(socket, 'close'))
  }
  t.equal((await readResponse(open(gateway.port, 'Content-Length: 0'), { untilComplete: false })).status, 502)
})
