/** What a route bounds: the size of a body however it is framed, the time until an answer, and the work for a client that has left. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startRawUpstream, startUpstream } from '../helpers/upstream.ts'

async function start (t: Test) {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, {
    limits: { body: '1kb' },
    routes: [
      { path: '/', upstream: upstream.url, access: 'public' },
      { path: '/large', upstream: upstream.url, access: 'public', limits: { body: '4kb' } },
      { path: '/small', upstream: upstream.url, access: 'public', limits: { body: '10b' } },
    ],
  })
  return { upstream, gateway }
}

t.test('a body that announces more than its route takes is 413 before a byte of it is sent on', async (t) => {
  const { gateway, upstream } = await start(t)
  for (const [path, length] of [['/', 1025], ['/large', 4097], ['/small', 11]] as const) {
    const { status, body } = await rawRequest(gateway.port, `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`)
    t.equal(status, 413, path)
    t.match(JSON.parse(body), { error: 'request_too_large', code: 'GW_BODY_TOO_LARGE' })
  }
  t.equal(upstream.seen.length, 0)
  const { status } = await rawRequest(gateway.port, `POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 4096\r\nConnection: close\r\n\r\n${'x'.repeat(4096)}`)
  t.equal(status, 200, 'exactly the limit passes')
})

t.test('a chunked body is counted, and cut off as 413 at the same limit', async (t) => {
  const { gateway, upstream } = await start(t)
  const chunked = (bytes: number) => `${'5\r\nabcde\r\n'.repeat(bytes / 5)}0\r\n\r\n`
  const send = async (path: string, bytes: number) => await rawRequest(gateway.port, `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunked(bytes)}`)
  t.equal((await send('/small', 10)).status, 200)
  t.equal((await send('/small', 15)).status, 413)
  t.equal((await send('/', 1030)).status, 413)
  t.equal((await send('/large', 4095)).status, 200)
  t.equal(upstream.seen.length, 2, 'no upstream got a whole request out of one that was too large')
})

t.test('a route has its own time for the head of an answer, then 504', async (t) => {
  const upstream = await startRawUpstream(() => {})
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, {
    timeouts: { upstream: '20s' },
    routes: [{ path: '/', upstream: upstream.url, access: 'public' }, { path: '/short', upstream: upstream.url, access: 'public', timeout: '500ms' }],
  })
  const started = Date.now()
  const { status, body } = await rawRequest(gateway.port, 'GET /short HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const took = Date.now() - started
  t.equal(status, 504)
  t.match(JSON.parse(body), { error: 'gateway_timeout', code: 'GW_UPSTREAM_TIMEOUT' })
  t.ok(took >= 450 && took < 5_000, `${took} ms`)
})

t.test('a client that leaves takes its upstream request with it, before the head of the answer and in the middle of its body', async (t) => {
  for (const beginning of ['', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n']) {
    let asked: () => void = () => {}
    const reached = new Promise<void>((resolve) => { asked = resolve })
    const upstream = await startRawUpstream((socket) => {
      if (beginning !== '') socket.write(beginning)
      asked()
    })
    t.teardown(() => upstream.close())
    const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: upstream.url, access: 'public' }] })
    const client = connect(gateway.port, '127.0.0.1')
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await reached
    if (beginning !== '') await once(client, 'data')
    const [socket] = upstream.sockets
    if (socket === undefined) throw new Error('nobody asked')
    const closed = once(socket, 'close')
    client.destroy()
    await t.resolves(closed, beginning === '' ? 'before the head' : 'in the middle of the body')
  }
})
