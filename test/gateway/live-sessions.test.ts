/** WebSockets and event streams through the real gateway: they live as long as their session and their token, and no longer. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'

/** Echoes WebSocket messages, streams events, and tells what it saw of the handshake. */
async function startChat (t: Test) {
  const handshakes: IncomingMessage[] = []
  const streams = new Set<ServerResponse>()
  const server = createServer((request, response) => {
    if (request.url === '/api/download') {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      response.write('first')
    } else {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: hello\n\n')
    }
    streams.add(response)
    response.on('close', () => streams.delete(response))
  })
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    handshakes.push(request)
    if (request.url?.startsWith('/api/closed') === true) {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nX-Why: closed\r\nContent-Length: 6\r\n\r\nclosed')
      return
    }
    sockets.handleUpgrade(request, socket, head, (client) => { client.on('message', (data, isBinary) => { client.send(data, { binary: isBinary }) }) })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close(); server.closeAllConnections(); for (const client of sockets.clients) client.terminate() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, handshakes, streams, sockets }
}

async function start (t: Test, config: Record<string, unknown> = {}) {
  const chat = await startChat(t)
  const gateway = await startTestGateway(t, {
    ...config,
    routes: [
      { path: '/api', upstream: chat.url, access: 'authenticated' },
      { path: '/public', upstream: chat.url, access: 'public', stripPrefix: true },
      { path: '/plain', upstream: chat.url, access: 'public', websocket: false },
    ],
  })
  const open = async (token: string | null, path = '/api/chat', headers: Record<string, string> = {}): Promise<WebSocket> => {
    const client = new WebSocket(`ws://127.0.0.1:${gateway.port}${path}`, { headers: { ...token === null ? {} : { authorization: `Bearer ${token}` }, ...headers } })
    t.teardown(() => { client.terminate() })
    await new Promise<void>((resolve, reject) => { client.once('open', resolve); client.once('error', reject) })
    return client
  }
  return { chat, gateway, open }
}

const closed = async (client: WebSocket) => await new Promise<{ code: number, reason: string }>((resolve) => {
  client.once('close', (code, reason) => { resolve({ code, reason: reason.toString() }) })
})

const echoed = async (client: WebSocket, text: string) => await new Promise<string>((resolve) => {
  client.once('message', (data) => { resolve((data as Buffer).toString()) })
  client.send(text)
})

async function logout (url: string, token: string) {
  return (await fetch(`${url}/auth/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })).status
}

t.test('a handshake arrives with the identity, and without what the client says of it', async (t) => {
  const { chat, gateway, open } = await start(t)
  const client = await open(await gateway.token('root'), '/api/chat?room=a%20b', { 'X-User-Id': 'mallory', 'x_user_id': 'mallory', 'Cookie': 'a=b' })
  t.equal(await echoed(client, 'hello'), 'hello')
  const [seen] = chat.handshakes
  t.equal(seen?.url, '/api/chat?room=a%20b')
  t.match(seen?.headers, { 'x-user-id': /^[0-9a-f-]{36}$/, 'x-user-roles': 'admin', 'x-request-id': /./, 'x-forwarded-for': '127.0.0.1', 'cookie': 'a=b' })
  t.notOk(seen?.rawHeaders.includes('mallory'))
  t.notOk(seen?.headers['authorization'])
})

t.test('without a token, or with a bad one, there is no handshake', async (t) => {
  const { chat, gateway } = await start(t)
  for (const authorization of ['', 'Authorization: Bearer x.y.z\r\n']) {
    const response = await rawRequest(gateway.port, `GET /api/chat HTTP/1.1\r\nHost: a\r\n${authorization}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`, { untilComplete: false })
    t.equal(response.status, 401)
    t.ok(response.closed)
  }
  t.equal(chat.handshakes.length, 0)
})

t.test('a refusal of the upstream comes back as its plain answer', async (t) => {
  const { gateway } = await start(t)
  const response = await rawRequest(gateway.port, `GET /api/closed HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${await gateway.token()}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`, { untilComplete: false })
  t.equal(response.status, 403)
  t.equal(response.header('x-why'), 'closed')
  t.match(response.body, 'closed')
  t.notMatch(response.text, '101')
})

t.test('an upgrade where none is served is answered, not left hanging', async (t) => {
  const { gateway } = await start(t)
  const handshake = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  for (const [line, status] of [['GET /plain/x', 400], ['GET /nowhere', 404], ['GET /auth/sessions', 401], ['POST /public/x', 400], ['GET /public/../x', 400], ['GET /.well-known/jwks.json', 200]] as const) {
    const response = await rawRequest(gateway.port, `${line} HTTP/1.1\r\n${handshake}`, { untilComplete: false })
    t.equal(response.status, status, line)
    t.ok(response.closed, line)
  }
})

t.test('a malformed handshake is refused', async (t) => {
  const { gateway, chat } = await start(t)
  for (const lines of ['Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short', 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5']) {
    const response = await rawRequest(gateway.port, `GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${lines}\r\n\r\nhello`, { untilComplete: false })
    t.equal(response.status, 400, lines)
    t.match(JSON.parse(response.body), { code: 'GW_UPGRADE_REFUSED' })
  }
  t.equal(chat.handshakes.length, 0)
})

t.test('logout closes the session\'s WebSockets with 4401 at once, and no others', async (t) => {
  const { gateway, open } = await start(t)
  const [mine, others] = [await gateway.token(), await gateway.token()]
  const [first, second, other] = [await open(mine), await open(mine), await open(others)]
  const started = performance.now()
  const ends = [closed(first), closed(second)]
  t.equal(await logout(gateway.url, mine), 204)
  for (const end of await Promise.all(ends)) t.match(end, { code: 4401, reason: 'session ended' })
  t.ok(performance.now() - started < 1_000)
  t.equal(await echoed(other, 'still here'), 'still here')
})

t.test('a WebSocket is closed with 4401 when its token has expired, plus the stated grace', async (t) => {
  const { gateway, open } = await start(t, { accessToken: { lifetime: '2s', clockTolerance: '0s' }, timeouts: { tokenGrace: '300ms' } })
  const { access_token: token } = await gateway.login()
  const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp: number }
  t.match(await closed(await open(token)), { code: 4401, reason: 'token expired' })
  const late = Date.now() - exp * 1000
  t.ok(late >= 300 && late < 1_500, `${late} ms after its expiry`)
})

t.test('an event stream is passed on at once, and ends with its session', async (t) => {
  const { gateway, chat } = await start(t)
  const token = await gateway.token()
  const response = await fetch(`${gateway.url}/api/events`, { headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' } })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  t.equal(Buffer.from((await reader.read()).value ?? []).toString(), 'data: hello\n\n')
  t.equal(chat.streams.size, 1)
  t.equal(await logout(gateway.url, token), 204)
  t.ok((await reader.read()).done, 'cleanly, so that its client comes back and learns why')
  while (chat.streams.size > 0) await new Promise((resolve) => { setTimeout(resolve, 10) })
})

t.test('an event stream ends when its token has expired', async (t) => {
  const { gateway } = await start(t, { accessToken: { lifetime: '2s', clockTolerance: '0s' }, timeouts: { tokenGrace: '0s' } })
  const response = await fetch(`${gateway.url}/api/events`, { headers: { authorization: `Bearer ${await gateway.token()}` } })
  const started = Date.now()
  t.equal(await response.text(), 'data: hello\n\n')
  t.ok(Date.now() - started < 3_500)
})

t.test('an endless answer of another kind is cut off with its session', async (t) => {
  const { gateway } = await start(t)
  const token = await gateway.token()
  const response = await fetch(`${gateway.url}/api/download`, { headers: { authorization: `Bearer ${token}` } })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  await logout(gateway.url, token)
  await t.rejects(reader.read(), 'visibly: an end would look like the whole')
})

t.test('disabling a user closes their sockets', async (t) => {
  const { gateway, open } = await start(t)
  const end = closed(await open(await gateway.token()))
  await gateway.users.disable('alice')
  t.match(await end, { code: 4401 })
})

t.test('draining closes WebSockets with 1001', async (t) => {
  const { gateway, open } = await start(t)
  const end = closed(await open(null, '/public/chat'))
  await gateway.gateway.drain()
  t.match(await end, { code: 1001 })
})

t.test('live sockets are counted', async (t) => {
  const { gateway, open } = await start(t)
  const client = await open(await gateway.token())
  t.match(await (await fetch(`${gateway.adminUrl}/metrics`)).text(), 'gatewarden_live_connections{kind="websocket"} 1')
  const end = closed(client)
  client.close()
  await end
  while (!(await (await fetch(`${gateway.adminUrl}/metrics`)).text()).includes('gatewarden_live_connections{kind="websocket"} 0')) await new Promise((resolve) => { setTimeout(resolve, 10) })
})
