/** The connections to an upstream, on sockets: who gets which, that nobody shares one, and that a broken one is nobody's. */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import type { Dispatcher } from 'undici'
import { openUpstreamConnections, type UpstreamConnections } from '../../src/gateway/upstream-connections.ts'
import { openUpstreamPool } from '../../src/gateway/upstreams.ts'
import { startRawUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

const options = { connectTimeout: 3_000, maxHeaderSize: 16_384 }

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

/** The body of the answer, once its connection is free again: undici leaves it alone for one turn of the loop. */
async function ask (connections: UpstreamConnections, path: string, more: Partial<Dispatcher.DispatchOptions> = {}): Promise<string> {
  const text = await within(5_000, new Promise<string>((resolve, reject) => {
    let body = ''
    connections.dispatch({ path, method: 'GET', ...more }, {
      onConnect () {},
      onHeaders: () => true,
      onData (chunk) {
        body += chunk.toString()
        return true
      },
      onComplete () { resolve(body) },
      onError: reject,
    })
  }))
  await turn()
  return text
}

async function turn (): Promise<void> {
  await new Promise((resolve) => { setImmediate(resolve) })
}

async function until (condition: () => boolean): Promise<void> {
  await within(5_000, (async () => { while (!condition()) await turn() })())
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
    return await ask(connections, `/${index}`, { method: 'POST', body, headers: ['Content-Length', '2'] })
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
    // What the upstream's end knows, the gateway's learns a moment later, and until then only fails as every proxy does.
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
  await t.rejects(broken, { code: 'UND_ERR_SOCKET' })
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
  for (let count = 0; count < 3; count++) await t.rejects(ask(connections, '/'), { code: /ECONNREFUSED|UND_ERR_SOCKET/ })
  await t.rejects(ask(connections, '/'), { code: 'ECONNREFUSED' })
})

t.test('options that make no request cost no connection', async (t) => {
  const { upstream, connections } = await start(t)
  await ask(connections, '/now/1')
  for (let count = 0; count < 3; count++) await t.rejects(ask(connections, 'no path'), { code: 'UND_ERR_INVALID_ARG' })
  t.equal(await ask(connections, '/now/2'), '/now/2')
  t.equal(upstream.sockets.length, 1)
  await within(5_000, connections.close())
})

t.test('a handler that gives up as soon as it is connected takes the connection along, and no other', async (t) => {
  const { upstream, connections } = await start(t)
  await ask(connections, '/now/1')
  const gone = new Promise<Error>((resolve) => {
    connections.dispatch({ path: '/gone', method: 'GET' }, { onConnect (abort) { abort() }, onHeaders: () => true, onData: () => true, onComplete () {}, onError: resolve })
  })
  t.match(await within(5_000, gone), { code: 'UND_ERR_ABORTED' })
  t.equal(await ask(connections, '/now/2'), '/now/2')
  t.equal(await ask(connections, '/now/3'), '/now/3')
  t.equal(upstream.sockets.length, 2)
})

t.test('closing waits for what is under way, closes what is idle, and takes nothing more', async (t) => {
  const { upstream, connections, asked } = await start(t)
  const slow = ask(connections, '/slow')
  await until(() => asked.length === 1)
  await ask(connections, '/now')
  let isOver = false
  const closed = connections.close().then(() => { isOver = true })
  await t.rejects(ask(connections, '/late'), { code: 'UND_ERR_CLOSED' })
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
