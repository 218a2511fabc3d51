/**
 * An upgrade ends a connection's requests, and Node tells of it as soon as it is read: also of one that was pipelined behind a
 * request whose answer is still to come, and whatever follows it is handed over unread. A gateway that answers at once overtakes
 * the answer before, so that a front proxy gives it to another client; or throws, and one client ends the process for all (so it
 * was here: ERR_HTTP_SOCKET_ASSIGNED, uncaught). A gateway that refuses and reads on has let a request in that nobody looked at
 * (h2c smuggling, bishopfox.com 2020; the WebSocket variant by 0ang3el).
 */
import t, { type Test } from 'tap'
import { connect, type Socket } from 'node:net'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { agreement, handshakeBytes } from '../helpers/upgrade-gateway.ts'
import { startRawUpstream, startUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

const heads: string[] = []
const sockets = new Map<string, Socket>()
const upstream = await startRawUpstream((socket, head) => {
  heads.push(head)
  const path = head.split(' ')[1] ?? ''
  sockets.set(path, socket)
  if (path === '/slow') setTimeout(() => { answer(socket, path) }, 60)
  else if (path === '/agrees') socket.write(agreement)
  else if (path === '/refuses') socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nrefused')
  else answer(socket, path)
})
t.teardown(() => upstream.close())
const echo = await startUpstream()
t.teardown(() => echo.close())

function answer (socket: Socket, path: string): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length + 2}\r\n\r\n[${path}]`)
}

const gateway = await startTestGateway(t, {
  routes: [
    { path: '/', upstream: upstream.url, access: 'public' },
    { path: '/api', upstream: upstream.url, access: 'authenticated' },
    { path: '/echo', upstream: echo.url, access: 'public' },
    { path: '/plain', upstream: upstream.url, access: 'public', websocket: false },
  ],
})

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const h2c = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`
const smuggled = get('/smuggled')

/** What came, in order: bodies of answers, and statuses of those that are none of the upstream's. */
async function answersTo (bytes: string, last: string): Promise<string[]> {
  const socket = connect(gateway.port, '127.0.0.1')
  let text = ''
  socket.write(bytes, 'latin1')
  await within(4_000, new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.includes(last)) resolve()
    })
    socket.on('close', () => { resolve() })
    socket.on('error', () => {})
  }))
  socket.destroy()
  return text.match(/\[\/[a-z0-9]*\]|HTTP\/1\.1 [145]\d\d/g) ?? []
}

async function othersAreServed (t: Test) {
  t.match((await rawRequest(gateway.port, get('/other'))).body, '[/other]')
  t.notOk(heads.some((head) => head.includes('/smuggled')), 'nothing was smuggled')
}

t.test('what is no request any more is answered in its turn, and the process lives', async (t) => {
  const turns: Record<string, { bytes: string, answers: string[] }> = {
    'a handshake that is refused': { bytes: handshakeBytes('/refuses'), answers: ['HTTP/1.1 403'] },
    'a handshake without a token': { bytes: handshakeBytes('/api'), answers: ['HTTP/1.1 401'] },
    'a handshake where none is taken': { bytes: handshakeBytes('/plain'), answers: ['HTTP/1.1 400'] },
    'a malformed handshake': { bytes: handshakeBytes('/agrees').replace('Version: 13', 'Version: 99'), answers: ['HTTP/1.1 400'] },
    'a tunnel': { bytes: 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', answers: ['HTTP/1.1 405'] },
    'an expectation': { bytes: 'POST /x HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\nContent-Length: 0\r\n\r\n', answers: ['HTTP/1.1 417'] },
    'garbage': { bytes: '\x16\x03\x01\r\n\r\n', answers: [] },
  }
  for (const [what, { bytes, answers }] of Object.entries(turns)) {
    t.strictSame(await answersTo(get('/slow') + get('/two') + bytes + smuggled, 'nothing that comes'), ['[/slow]', '[/two]', ...answers], what)
    await othersAreServed(t)
  }
})

t.test('a handshake behind two requests becomes a tunnel after their answers', async (t) => {
  t.strictSame(await answersTo(get('/slow') + get('/two') + handshakeBytes('/agrees'), 'HTTP/1.1 101'), ['[/slow]', '[/two]', 'HTTP/1.1 101'])
  await othersAreServed(t)
})

t.test('an offer of h2c is passed over, wherever it stands, and the request served', async (t) => {
  t.strictSame(await answersTo(get('/slow') + h2c('/a') + get('/b') + h2c('/c') + get('/last'), '[/last]'), ['[/slow]', '[/a]', '[/b]', '[/c]', '[/last]'])
  t.notOk(heads.some((head) => /h2c|http2/i.test(head)), 'and no upstream hears of it')
  await othersAreServed(t)
})

t.test('a body behind an offer of h2c stays a body', async (t) => {
  const bytes = `POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}${get('/last')}`
  t.equal((await answersTo(bytes, '[/last]')).at(-1), '[/last]')
  t.strictSame(echo.seen.map(({ url, body }) => [url, body]), [['/echo', smuggled]])
  await othersAreServed(t)
})

t.test('offers without end on one connection leave nothing behind', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.equal((await answersTo(h2c('/again').repeat(40) + get('/last'), '[/last]')).length, 41)
  process.off('warning', onWarning)
  t.strictSame(warnings, [])
})

t.test('bytes behind a handshake that the upstream refuses are no request', async (t) => {
  for (const path of ['/refuses', '/api', '/plain']) {
    const response = await rawRequest(gateway.port, handshakeBytes(path) + smuggled, { untilComplete: false })
    t.equal(response.text.match(/HTTP\/1\.1 /g)?.length, 1, path)
    t.ok(response.closed)
  }
  await othersAreServed(t)
})

t.test('bytes behind one that it takes are the tunnel\'s, on a connection that nobody shares', async (t) => {
  const before = heads.length
  const client = connect(gateway.port, '127.0.0.1')
  client.on('error', () => {})
  client.write(handshakeBytes('/agrees') + smuggled)
  while (!heads.slice(before).some((head) => head.includes('/smuggled'))) await new Promise((resolve) => { setImmediate(resolve) })
  const tunnel = sockets.get('/agrees')
  t.equal(sockets.get('/smuggled'), tunnel, 'the upstream has it as what was said behind the 101')
  t.match((await rawRequest(gateway.port, get('/other'))).body, '[/other]')
  t.not(sockets.get('/other'), tunnel)
  client.destroy()
  heads.splice(before)
})
