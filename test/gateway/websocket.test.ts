/** Real clients and servers of the `ws` package, through the tunnel. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { WebSocket, WebSocketServer, type ClientOptions, type ServerOptions } from 'ws'
import { listen, startUpgradeGateway, type GatewayChoices, type UpgradeGateway } from '../helpers/upgrade-gateway.ts'

interface WebSocketUpstream {
  readonly url: string
  readonly server: WebSocketServer
  readonly requests: readonly IncomingMessage[]
}

type Test = Pick<typeof t, 'teardown'>

/** Echoes every message in its own kind, unless `speak` says what happens. */
async function startUpstream (t: Test, options: ServerOptions = {}, speak: (socket: WebSocket) => void = echo): Promise<WebSocketUpstream> {
  const http = createServer()
  const server = new WebSocketServer({ server: http, ...options })
  const requests: IncomingMessage[] = []
  server.on('connection', (socket, request) => {
    requests.push(request)
    socket.on('error', () => {})
    speak(socket)
  })
  const port = await listen(http)
  t.teardown(() => {
    for (const client of server.clients) client.terminate()
    http.close()
  })
  return { url: `http://127.0.0.1:${port}`, server, requests }
}

function echo (socket: WebSocket): void {
  socket.on('message', (data, isBinary) => { socket.send(data, { binary: isBinary }) })
}

async function startGateway (t: Test, origin: string, choices?: GatewayChoices): Promise<UpgradeGateway> {
  const gateway = await startUpgradeGateway(origin, choices)
  t.teardown(() => gateway.close())
  return gateway
}

function open (t: Test, url: string, protocols: string[] = [], options: ClientOptions = {}): WebSocket {
  const client = new WebSocket(url, protocols, options)
  client.on('error', () => {})
  t.teardown(() => { client.terminate() })
  return client
}

async function opened (t: Test, url: string, protocols?: string[], options?: ClientOptions): Promise<WebSocket> {
  const client = open(t, url, protocols, options)
  await once(client, 'open')
  return client
}

async function nextMessage (client: WebSocket): Promise<{ data: Buffer, isBinary: boolean }> {
  const [data, isBinary] = await once(client, 'message') as [Buffer, boolean]
  return { data, isBinary }
}

/** How the client experienced the end. */
async function closeOf (client: WebSocket): Promise<{ code: number, reason: string, errors: string[] }> {
  const errors: string[] = []
  client.on('error', (error) => { errors.push(error.message) })
  const [code, reason] = await once(client, 'close') as [number, Buffer]
  return { code, reason: reason.toString(), errors }
}

t.test('text and binary messages of any size come back as they were, with and without compression', async (t) => {
  const upstream = await startUpstream(t, { perMessageDeflate: true, maxPayload: 64 * 1024 * 1024 })
  const gateway = await startGateway(t, upstream.url)
  for (const perMessageDeflate of [false, true]) {
    const client = await opened(t, gateway.url, [], { perMessageDeflate, maxPayload: 64 * 1024 * 1024 })
    t.equal(client.extensions, perMessageDeflate ? 'permessage-deflate' : '')
    for (const size of [0, 1, 125, 126, 127, 4_096, 65_535, 65_536, 65_537, 1_000_003, 5_000_000]) {
      const binary = size % 2 === 0 ? randomBytes(size) : Buffer.alloc(size, 'abc')
      client.send(binary)
      const echoed = await nextMessage(client)
      t.ok(echoed.isBinary && echoed.data.equals(binary), `${size} bytes`)
      const text = 'é'.repeat(Math.min(size, 100_000))
      client.send(text)
      const answer = await nextMessage(client)
      t.ok(!answer.isBinary && answer.data.toString() === text, `${text.length} characters`)
    }
    client.close()
    await once(client, 'close')
  }
})

t.test('many messages both ways at once arrive all, whole, and in order', async (t) => {
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, upstream.url)
  const client = await opened(t, gateway.url)
  const sent = Array.from({ length: 300 }, () => randomBytes(Math.floor(Math.random() * 60_000)))
  const received: Buffer[] = []
  const done = new Promise<void>((resolve) => {
    client.on('message', (data: Buffer) => { if (received.push(data) === sent.length) resolve() })
  })
  for (const message of sent) client.send(message)
  await done
  t.ok(received.every((data, index) => data.equals(sent[index] ?? Buffer.alloc(0))))
})

t.test('fragmented messages, pings and pongs pass', async (t) => {
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, upstream.url)
  const client = await opened(t, gateway.url)
  const pong = once(client, 'pong')
  client.send('one, ', { fin: false })
  client.ping('between')
  client.send('two, ', { fin: false })
  client.send('three', { fin: true })
  t.equal((await nextMessage(client)).data.toString(), 'one, two, three')
  t.equal(String((await pong)[0]), 'between')
})

t.test('the subprotocol is what the upstream chose, and the choice is the upstream\'s alone', async (t) => {
  const upstream = await startUpstream(t, { handleProtocols: (protocols) => protocols.has('chat.v2') ? 'chat.v2' : false })
  const gateway = await startGateway(t, upstream.url)
  const client = await opened(t, gateway.url, ['chat.v1', 'chat.v2'])
  t.equal(client.protocol, 'chat.v2')
  const [request] = upstream.requests
  t.equal(request?.headers['sec-websocket-protocol'], 'chat.v1,chat.v2')
})

t.test('path, query and headers arrive as the caller of forwardUpgrade gave them', async (t) => {
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, upstream.url)
  await opened(t, `${gateway.url}/a%2fb/%C3%A9?x=1&y=%20`, [], { headers: { 'X-Some-Thing': 'v\u00e9', 'Cookie': 'a=b' } })
  const [request] = upstream.requests
  t.equal(request?.url, '/a%2fb/%C3%A9?x=1&y=%20')
  t.equal(request?.headers['x-some-thing'], 'v\u00e9')
  t.equal(request?.headers.cookie, 'a=b')
  t.equal(request?.headers.host, upstream.url.slice('http://'.length))
  t.ok(request?.rawHeaders.includes('X-Some-Thing'), 'names keep their case')
})

t.test('a close of the client reaches the upstream with code and reason, and the answer comes back', async (t) => {
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, upstream.url)
  const client = await opened(t, gateway.url)
  const [server] = [...upstream.server.clients]
  const seen = server === undefined ? Promise.reject(new Error('no connection')) : closeOf(server)
  client.close(4000, 'had enough')
  t.match(await closeOf(client), { code: 4000, reason: 'had enough', errors: [] })
  t.match(await seen, { code: 4000, reason: 'had enough', errors: [] })
  t.equal((await gateway.closed()).why, 'closed')
  t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
})

t.test('a close of the upstream reaches the client with code and reason', async (t) => {
  const upstream = await startUpstream(t, {}, (socket) => { socket.close(1013, 'try later') })
  const gateway = await startGateway(t, upstream.url)
  const client = open(t, gateway.url)
  t.match(await closeOf(client), { code: 1013, reason: 'try later', errors: [] })
  t.equal((await gateway.closed()).why, 'closed')
})

t.test('an upstream that takes its time has the client wait, not switch', async (t) => {
  let agree = (): void => {}
  const upstream = await startUpstream(t, { verifyClient: (_info, done) => { agree = () => { done(true) } } })
  const gateway = await startGateway(t, upstream.url)
  const client = open(t, gateway.url)
  await wait(150)
  t.equal(client.readyState, WebSocket.CONNECTING)
  agree()
  await once(client, 'open')
  client.send('hello')
  t.equal((await nextMessage(client)).data.toString(), 'hello')
})

t.test('an upstream that refuses is seen refusing, by its own status and words', async (t) => {
  const upstream = await startUpstream(t, { verifyClient: (_info, done) => { done(false, 403, 'not you', { 'X-Why': 'because' }) } })
  const gateway = await startGateway(t, upstream.url)
  const client = open(t, gateway.url)
  const [, response] = await once(client, 'unexpected-response') as [unknown, IncomingMessage]
  t.equal(response.statusCode, 403)
  t.equal(response.headers['x-why'], 'because')
  let body = ''
  for await (const chunk of response) body += String(chunk)
  t.equal(body, 'not you')
  t.match(await gateway.outcome(), { outcome: 'answered', status: 403, complete: true })
  t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
})

t.test('when the token expires the client is told 4401, and so is the upstream', async (t) => {
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, upstream.url, { sessionId: 's1', closeAt: Date.now() + 400 })
  const client = await opened(t, gateway.url)
  const [server] = [...upstream.server.clients]
  const seen = server === undefined ? Promise.reject(new Error('no connection')) : closeOf(server)
  client.send('still there')
  t.equal((await nextMessage(client)).data.toString(), 'still there')
  t.match(await closeOf(client), { code: 4401, reason: 'token expired', errors: [] })
  t.match(await seen, { code: 4401, reason: 'token expired', errors: [] })
  t.equal((await gateway.closed()).why, 'expired')
})

t.test('when the session ends its sockets are told 4401 at once, and no other session\'s are', async (t) => {
  const upstream = await startUpstream(t)
  const one = await startGateway(t, upstream.url, { sessionId: 's1' })
  const other = await startGateway(t, upstream.url, { sessionId: 's2', live: one.live })
  const [first, second, theirs] = [await opened(t, one.url), await opened(t, one.url), await opened(t, other.url)]
  const ends = [closeOf(first), closeOf(second)]
  const startedAt = performance.now()
  one.live.endSessions(['s1'])
  for (const end of ends) t.match(await end, { code: 4401, reason: 'session ended', errors: [] })
  t.ok(performance.now() - startedAt < 1_000)
  theirs.send('hello')
  t.equal((await nextMessage(theirs)).data.toString(), 'hello')
})

t.test('at shutdown the client is told 1001, and so is the upstream', async (t) => {
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, upstream.url)
  const client = await opened(t, gateway.url)
  const [server] = [...upstream.server.clients]
  const seen = server === undefined ? Promise.reject(new Error('no connection')) : closeOf(server)
  gateway.live.endAll()
  t.match(await closeOf(client), { code: 1001, reason: 'going away', errors: [] })
  t.match(await seen, { code: 1001, errors: [] })
  await gateway.closed()
})

t.test('in the middle of what the upstream sends, the end comes between two frames: 4401 and no protocol error', async (t) => {
  for (const [name, send] of Object.entries(senders)) {
    const upstream = await startUpstream(t, { perMessageDeflate: name === 'compressed' ? { threshold: 0 } : false }, send)
    const gateway = await startGateway(t, upstream.url, { sessionId: 's1' })
    for (let turn = 0; turn < 8; turn++) {
      const client = open(t, gateway.url, [], { maxPayload: 64 * 1024 * 1024 })
      const whole: number[] = []
      client.on('message', (data: Buffer) => { whole.push(data.length) })
      const end = closeOf(client)
      await once(client, 'open')
      await wait(turn * 3)
      gateway.live.endSessions(['s1'])
      t.match(await end, { code: 4401, reason: 'session ended', errors: [] }, `${name}, after ${whole.length} messages`)
    }
    await gateway.closed(8)
    t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
  }
})

const senders: Record<string, (socket: WebSocket) => void> = {
  'one large message': (socket) => { socket.send(randomBytes(8_000_000)) },
  'many messages' (socket) {
    const more = (error?: Error | null) => { if (error == null && socket.readyState === WebSocket.OPEN) socket.send(randomBytes(Math.floor(Math.random() * 200_000)), more) }
    more()
    more()
  },
  'one message in fragments' (socket) {
    const more = (error?: Error | null) => { if (error == null && socket.readyState === WebSocket.OPEN) socket.send(randomBytes(70_000), { fin: false }, more) }
    more()
  },
  compressed (socket) {
    const more = (error?: Error | null) => { if (error == null && socket.readyState === WebSocket.OPEN) socket.send(Buffer.alloc(300_000, randomBytes(3_000)), { compress: true }, more) }
    more()
  },
}

t.test('in the middle of what the client sends, nothing more of it reaches the upstream', async (t) => {
  const received: number[] = []
  let upstreamEnd: ReturnType<typeof closeOf> | undefined
  const upstream = await startUpstream(t, { maxPayload: 512 * 1024 * 1024 }, (socket) => {
    upstreamEnd = closeOf(socket)
    socket.on('message', (data: Buffer) => { received.push(data.length) })
  })
  const gateway = await startGateway(t, upstream.url, { sessionId: 's1' })
  const client = await opened(t, gateway.url)
  const end = closeOf(client)
  client.send(randomBytes(1_000))
  client.send(randomBytes(60_000_000))
  while (received.length === 0) await wait(5)
  gateway.live.endSessions(['s1'])
  t.equal((await end).code, 4401)
  await upstreamEnd
  t.same(received, [1_000], 'the message under way is not finished')
  const { fromClient } = await gateway.closed()
  t.ok(fromClient < 60_001_000 + 100)
})

t.test('a client that ends by itself at the moment it is ended hears no second close', async (t) => {
  const upstream = await startUpstream(t, {}, () => {})
  const gateway = await startGateway(t, upstream.url, { sessionId: 's1' })
  for (let turn = 0; turn < 10; turn++) {
    const client = await opened(t, gateway.url)
    const end = closeOf(client)
    client.close(4001, 'me first')
    if (turn % 2 === 0) await wait(turn / 4)
    gateway.live.endSessions(['s1'])
    const { code, errors } = await end
    t.ok([4001, 4401].includes(code), String(code))
    t.same(errors, [])
  }
})
