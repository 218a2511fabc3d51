/** The connections to an upstream, on sockets: who gets which, that nobody shares one, and that a broken one is nobody's. */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import type { UpstreamRequest } from '../../src/gateway/upstream-connection.ts'
import { openUpstreamConnections, type UpstreamConnections } from '../../src/gateway/upstream-connections.ts'
import { openUpstreamPool } from '../../src/gateway/upstreams.ts'
import { localhostCertificate, localhostKey } from '../helpers/localhost-certificate.ts'
import { startRawUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

const options = { connectTimeout: 30_000, maxHeaderSize: 16_384 }

interface Asked { readonly socket: Socket, readonly path: string, answer (headers?: string): void }

/** What was asked so far; whoever asks for `/now…` is answered at once, and the others as the test says. */
async function start (t: Test) {
  const asked: Asked[] = []
  const upstream = await startRawUpstream((socket, head) => {
    const path = head.split(' ')[1] ?? ''
    const answer = (headers = '') => { socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n${headers}\r\n${path}`) }
    asked.push({ socket, path, answer })
    if (path.startsWith('/now')) answer()
  })
  const connections = openUpstreamConnections(new URL(upstream.url), options)
  t.teardown(async () => {
    await upstream.close()
    await connections.close()
  })
  return { upstream, connections, asked }
}

const plain = { method: 'GET', host: null, headers: [], body: null, bodyLength: null, headTimeout: 30_000, bodyTimeout: 30_000 }

/** The body of the answer, once its connection is free again. */
async function ask (connections: UpstreamConnections, path: string, more: Partial<UpstreamRequest> = {}): Promise<string> {
  const text = await send(connections, path, more)
  for (let count = 0; count < 3; count++) await turn()
  return text
}

async function send (connections: UpstreamConnections, path: string, more: Partial<UpstreamRequest> = {}): Promise<string> {
  return await within(30_000, new Promise<string>((resolve, reject) => {
    let body = ''
    connections.send({ ...plain, path, ...more }, {
      onSend () {},
      onHead () {},
      onWait () {},
      onBody (chunk) {
        body += chunk.toString()
        return true
      },
      onEnd () { resolve(body) },
      onError: reject,
    })
  }))
}

async function turn (): Promise<void> {
  await new Promise((resolve) => { setImmediate(resolve) })
}

async function until (condition: () => boolean): Promise<void> {
  await within(30_000, (async () => { while (!condition()) await turn() })())
}

t.test('requests one after the other share one connection', async (t) => {
  const { upstream, connections } = await start(t)
  for (const path of ['/now/1', '/now/2', '/now/3']) t.equal(await ask(connections, path), path)
  t.equal(upstream.sockets.length, 1)
})

t.test('requests at the same time have a connection each, and each its own answer', async (t) => {
  const { upstream, connections, asked } = await start(t)
  const answers = Array.from({ length: 50 }, (_, index) => ask(connections, `/${index}`))
  await until(() => asked.length === 50)
  t.equal(upstream.sockets.length, 50)
  t.equal(new Set(asked.map(({ socket }) => socket)).size, 50)
  for (const { answer } of asked.toReversed()) answer()
  t.strictSame(await Promise.all(answers), Array.from({ length: 50 }, (_, index) => `/${index}`))
})

t.test('the connection that was used last is used next, however many are free', async (t) => {
  const { upstream, connections, asked } = await start(t)
  const answers = Array.from({ length: 3 }, (_, index) => ask(connections, `/${index}`))
  await until(() => asked.length === 3)
  for (const [index, path] of ['/1', '/0', '/2'].entries()) {
    asked.find((one) => one.path === path)?.answer()
    await answers[Number(path.slice(1))]
    t.equal(await ask(connections, `/now/${index}`), `/now/${index}`)
    t.equal(asked.at(-1)?.socket, asked.find((one) => one.path === path)?.socket)
  }
  t.equal(upstream.sockets.length, 3)
})

t.test('a thousand requests that never end take nothing from the one beside them', async (t) => {
  const { upstream, connections, asked } = await start(t)
  const bodies = Array.from({ length: 1_000 }, () => new PassThrough())
  const ends = bodies.map(async (body, index) => {
    body.write('x')
    return await ask(connections, `/${index}`, { method: 'POST', body, bodyLength: 2 })
  })
  await until(() => asked.length === 1_000)
  for (let count = 0; count < 100; count++) t.equal(await ask(connections, `/now/${count}`), `/now/${count}`)
  t.equal(upstream.sockets.length, 1_001, 'all of which had the same connection')
  for (const body of bodies) body.end('y')
  for (const { path, answer } of asked) if (!path.startsWith('/now')) answer()
  t.equal((await Promise.all(ends)).length, 1_000)
})

t.test('a connection that broke while it was idle is nobody’s', async (t) => {
  const { upstream, connections, asked } = await start(t)
  for (const end of ['end', 'resetAndDestroy'] as const) {
    await ask(connections, '/now/before')
    const socket = asked.at(-1)?.socket
    socket?.[end]()
    if (socket !== undefined && !socket.closed) await within(5_000, once(socket, 'close'))
    await until(() => upstream.sockets.every(({ closed }) => closed))
    await turn()
    t.equal(await ask(connections, '/now/after'), '/now/after')
    t.not(asked.at(-1)?.socket, socket)
  }
})

t.test('a connection that breaks under a request fails that one alone, and is not used again', async (t) => {
  const { connections, asked } = await start(t)
  const broken = ask(connections, '/broken')
  const beside = ask(connections, '/beside')
  await until(() => asked.length === 2)
  const socket = asked.find(({ path }) => path === '/broken')?.socket
  socket?.destroy()
  await t.rejects(broken, { code: /CLOSED|ANSWER_CUT_OFF/ })
  asked.find(({ path }) => path === '/beside')?.answer()
  t.equal(await beside, '/beside')
  t.equal(await ask(connections, '/now'), '/now')
  t.not(asked.at(-1)?.socket, socket)
})

t.test('an answer that says close is the last of its connection', async (t) => {
  const { connections, asked } = await start(t)
  const first = ask(connections, '/first')
  await until(() => asked.length === 1)
  asked[0]?.answer('Connection: close\r\n')
  t.equal(await first, '/first')
  t.equal(await ask(connections, '/now'), '/now')
  t.not(asked[1]?.socket, asked[0]?.socket)
})

t.test('where nobody listens the handler is told, each time, and served once somebody does', async (t) => {
  const upstream = await startRawUpstream((socket) => { socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n') })
  const connections = openUpstreamConnections(new URL(upstream.url), options)
  t.teardown(() => connections.close())
  await ask(connections, '/')
  await upstream.close()
  await turn()
  for (let count = 0; count < 3; count++) await t.rejects(ask(connections, '/'), { code: 'ECONNREFUSED' })
  await t.rejects(ask(connections, '/'), { code: 'ECONNREFUSED' })
})

t.test('a handler that gives up as soon as it is connected takes the connection along, and no other', async (t) => {
  const { upstream, connections } = await start(t)
  await ask(connections, '/now/1')
  const gone = new Promise<Error>((resolve) => {
    connections.send({ ...plain, path: '/gone' }, { onSend (connection) { connection.abort(this) }, onHead () {}, onWait () {}, onBody: () => true, onEnd () {}, onError: resolve })
  })
  t.match(await within(5_000, gone), { code: 'ABORTED' })
  t.equal(await ask(connections, '/now/2'), '/now/2')
  t.equal(await ask(connections, '/now/3'), '/now/3')
  t.equal(upstream.sockets.length, 2)
})

t.test('closing waits for what is under way, and closes what is idle', async (t) => {
  const { upstream, connections, asked } = await start(t)
  const slow = ask(connections, '/slow')
  await until(() => asked.length === 1)
  await ask(connections, '/now')
  let isOver = false
  const closed = connections.close().then(() => { isOver = true })
  await turn()
  t.notOk(isOver)
  asked[0]?.answer()
  t.equal(await slow, '/slow')
  await within(5_000, closed)
  await until(() => upstream.sockets.every(({ closed }) => closed))
  t.equal(asked.length, 2)
})

t.test('an upstream of several routes has its connections in common', async (t) => {
  const pool = openUpstreamPool(options)
  t.teardown(() => pool.close())
  t.equal(pool.connectionsTo(new URL('http://127.0.0.1:1')), pool.connectionsTo(new URL('http://127.0.0.1:1/')))
  t.not(pool.connectionsTo(new URL('http://127.0.0.1:1')), pool.connectionsTo(new URL('http://127.0.0.1:2')))
})

t.test('a kept connection that the upstream closed under the request costs its client nothing', async (t) => {
  let kept: Socket | undefined
  const upstream = await startRawUpstream((socket, head, count) => {
    const path = head.split(' ')[1] ?? ''
    // The close that crosses the request on the wire: the upstream has not read it.
    if (socket === kept) socket.destroy()
    else socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`)
    if (count === 0) kept = socket
  })
  const connections = openUpstreamConnections(new URL(upstream.url), options)
  t.teardown(async () => {
    await upstream.close()
    await connections.close()
  })
  t.equal(await ask(connections, '/first'), '/first')
  t.equal(await ask(connections, '/again'), '/again', 'sent once more, on a fresh one')
  t.equal(upstream.sockets.length, 2)

  kept = upstream.sockets[1]
  await t.rejects(ask(connections, '/post', { method: 'POST' }), { code: /CLOSED|ECONNRESET|ANSWER_CUT_OFF/ }, 'but nothing that might be done twice')
  t.equal(upstream.sockets.length, 2)
})

t.test('a fresh connection that is closed without an answer is not tried again', async (t) => {
  const upstream = await startRawUpstream((socket) => { socket.destroy() })
  const connections = openUpstreamConnections(new URL(upstream.url), options)
  t.teardown(async () => {
    await upstream.close()
    await connections.close()
  })
  await t.rejects(ask(connections, '/'), { code: /CLOSED|ECONNRESET|ANSWER_CUT_OFF/ })
  t.equal(upstream.sockets.length, 1)
})

t.test('a path that could end a line, or be cut to what does, is not sent', async (t) => {
  const { connections, asked } = await start(t)
  for (const path of ['', '/a b', '/a\r\nb', '/\u010a', '/\0']) await t.rejects(ask(connections, path), { code: 'UNSENDABLE' }, JSON.stringify(path))
  t.equal(asked.length, 0)
})

t.test('each silence has its bound', async (t) => {
  const { connections, asked } = await start(t)
  const started = performance.now()
  await t.rejects(ask(connections, '/silent', { headTimeout: 50 }), { code: 'HEAD_TIMEOUT' })
  const half = ask(connections, '/half', { bodyTimeout: 50 })
  await until(() => asked.length === 2)
  asked[1]?.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx')
  await t.rejects(half, { code: 'BODY_TIMEOUT' })
  t.ok(performance.now() - started >= 100, 'and not before')

  // No handshake is ever answered here.
  const deaf = await startRawUpstream(() => {})
  const tls = openUpstreamConnections(new URL(deaf.url.replace('http:', 'https:')), { ...options, connectTimeout: 50 })
  t.teardown(() => deaf.close())
  await t.rejects(ask(tls, '/'), { code: 'CONNECT_TIMEOUT' })
  await tls.close()
})

t.test('a kept connection is given up after its time', async (t) => {
  const { upstream, connections, asked } = await start(t)
  const first = ask(connections, '/first')
  await until(() => asked.length === 1)
  asked[0]?.answer('Keep-Alive: timeout=3\r\n')
  await first
  t.notOk(upstream.sockets[0]?.closed)
  const second = ask(connections, '/second')
  await until(() => asked.length === 2)
  // One second is less than the margin by which an announced time is undercut.
  asked[1]?.answer('Keep-Alive: timeout=1\r\n')
  await second
  await until(() => upstream.sockets[0]?.closed === true)
})

t.test('over TLS: verified first, then the same, with bodies in both directions', async (t) => {
  const server = createServer({ key: localhostKey, cert: localhostCertificate }, (request, response) => { request.pipe(response) })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const origin = new URL(`https://localhost:${(server.address() as AddressInfo).port}`)
  const trusting = openUpstreamConnections(origin, { ...options, tls: { ca: localhostCertificate } })
  const wary = openUpstreamConnections(origin, options)
  t.teardown(async () => {
    await trusting.close()
    await wary.close()
    server.close()
  })
  const text = 'some text '.repeat(100_000)
  for (const bodyLength of [text.length, null]) {
    t.equal(await ask(trusting, '/', { method: 'POST', body: Readable.from([Buffer.from(text)]), bodyLength }) === text, true)
  }
  t.equal(await ask(trusting, '/'), '')
  await t.rejects(ask(wary, '/'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  const elsewhere = openUpstreamConnections(new URL(`https://127.0.0.2:${origin.port}`), { ...options, tls: { ca: localhostCertificate } })
  await t.rejects(ask(elsewhere, '/'))
  await elsewhere.close()
})

t.test('what comes late, behind an answer, is the end of its connection and nobody’s answer', async (t) => {
  const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
  const { upstream, connections, asked } = await start(t)
  for (let count = 0; count < 20; count++) {
    const path = `/late/${count}`
    const answer = send(connections, path)
    await until(() => asked.at(-1)?.path === path)
    // In a packet of its own, which may come in the same turn of the loop or a moment later.
    asked.at(-1)?.answer()
    asked.at(-1)?.socket.write(evil)
    t.equal(await answer, path)
    t.equal(await send(connections, '/now'), '/now')
  }
  t.ok(upstream.sockets.length > 20)
})
