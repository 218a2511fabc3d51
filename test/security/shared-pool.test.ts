/**
 * Two clients, one upstream, and the connections to it that they share: whatever one of them sends in its body, whatever an
 * upstream says early, late, or without having been asked (CL.0, response-queue poisoning; portswigger.net/research/
 * browser-powered-desync-attacks), the other's request is its own and so is the answer to it. Seen on the wire: what lies on each
 * connection of the upstream, byte for byte.
 */
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { within } from '../helpers/within.ts'

/** What came on each connection, and how it is answered: `script` is told of every new bytes. */
const wires: { socket: Socket, text: string, answered: boolean }[] = []
let script: (wire: { socket: Socket, text: string, answered: boolean }) => void = answerOnce
const upstream = createServer((socket) => {
  const wire = { socket, text: '', answered: false }
  wires.push(wire)
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    wire.text += chunk.toString('latin1')
    script(wire)
  })
})
await new Promise<void>((resolve) => { upstream.listen(0, '127.0.0.1', resolve) })
t.teardown(() => {
  for (const { socket } of wires) socket.destroy()
  upstream.close()
})
const gateway = await startTestGateway(t, {
  timeouts: { clientBody: '300ms', upstream: '600ms' },
  routes: [{ path: '/', upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, access: 'public' }],
})

const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'

/** By the head alone, whatever follows. */
function answerOnce (wire: { socket: Socket, text: string, answered: boolean }): void {
  if (wire.answered || !wire.text.includes('\r\n\r\n')) return
  wire.answered = true
  wire.socket.write(ok(`first ${wire.text.split(' ')[1] ?? ''}`))
}

/** For every head there is, as a server does that never heard of bodies. */
function answerEveryHead (wire: { socket: Socket, text: string }): void {
  for (let end = wire.text.indexOf('\r\n\r\n'); end >= 0; end = wire.text.indexOf('\r\n\r\n')) {
    wire.socket.write(ok(`for ${wire.text.split(' ')[1] ?? ''}`))
    wire.text = wire.text.slice(end + 4)
  }
}

async function bobIsUnharmed (t: Test, path = '/bob') {
  script = answerEveryHead
  for (const wire of wires) wire.text = ''
  for (let count = 0; count < 3; count++) {
    const { status, body } = await rawRequest(gateway.port, `GET ${path}${count} HTTP/1.1\r\nHost: b\r\n\r\n`)
    t.strictSame({ status, body }, { status: 200, body: `for ${path}${count}` })
  }
}

t.beforeEach(() => {
  for (const { socket } of wires.splice(0)) socket.destroy()
  script = answerOnce
})

t.test('a counted body stays counted, however slowly it comes', async (t) => {
  const alice = connect(gateway.port, '127.0.0.1')
  alice.on('error', () => {})
  script = (wire) => { if (wire.text.endsWith('end')) wire.socket.write(ok('whole')) }
  alice.write('POST /alice HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n')
  while (wires.length === 0) await new Promise((resolve) => { setTimeout(resolve, 5) })
  alice.write('the ')
  setTimeout(() => { alice.write('be-end') }, 30)
  const [answer] = await within(2_000, once(alice, 'data')) as [Buffer]
  t.match(answer.toString(), /whole$/)
  t.match(wires[0]?.text, /content-length: 10\r\n/i)
  t.match(wires[0]?.text, /\r\n\r\nthe be-end$/)
  t.notMatch(wires[0]?.text, /transfer-encoding/i)
  alice.destroy()
  await bobIsUnharmed(t)
})

t.test('a length that is longer than what comes leaves no half request behind', async (t) => {
  script = () => {}
  const alice = await rawRequest(gateway.port, `POST /alice HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n${smuggled}`, { untilComplete: false })
  t.equal(alice.status, 408)
  const [wire] = wires
  await bobIsUnharmed(t)
  t.notMatch(wire?.text, /bob/, 'on that connection nobody follows')
})

t.test('an answer before the body is read: nobody follows on that connection', async (t) => {
  const alice = await rawRequest(gateway.port, `POST /alice HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n${smuggled}`, { untilComplete: false })
  t.match(alice.body, /^first \/alice/)
  t.equal(alice.text.match(/HTTP\/1\.1 /g)?.length, 1)
  const [wire] = wires
  await bobIsUnharmed(t)
  t.notMatch(wire?.text, /bob/)
})

t.test('CL.0: what an upstream takes for a second request answers nobody', async (t) => {
  script = answerEveryHead
  for (const framing of [`Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`, `Transfer-Encoding: chunked\r\n\r\n${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`]) {
    const alice = await rawRequest(gateway.port, `POST /alice HTTP/1.1\r\nHost: a\r\n${framing}`, { timeout: 300, untilComplete: false })
    t.notMatch(alice.text, /smuggled/)
    await bobIsUnharmed(t)
  }
})

t.test('bytes that come late, without having been asked for, answer nobody', async (t) => {
  for (const extra of [ok('evil'), 'HTTP/1.1 200 OK\r\n', 'evil', 'HTTP/1.1 100 Continue\r\n\r\n']) {
    script = (wire) => {
      wire.text = ''
      wire.socket.write(ok('fine'))
      setTimeout(() => { wire.socket.write(extra) }, 20)
    }
    const before = wires.length
    t.equal((await rawRequest(gateway.port, 'GET /alice HTTP/1.1\r\nHost: a\r\n\r\n')).body, 'fine')
    const wire = wires.at(-1)
    // Its end is how the gateway tells that it was heard.
    if (wire !== undefined && !wire.socket.closed) await within(2_000, once(wire.socket, 'close'))
    t.ok(wires.length >= before)
    await bobIsUnharmed(t)
  }
})

t.test('a body to a HEAD, a 204 or a 304 is not the next answer', async (t) => {
  for (const [method, status] of [['HEAD', '200 OK'], ['GET', '204 No Content'], ['GET', '304 Not Modified'], ['HEAD', '304 Not Modified']] as const) {
    script = (wire) => {
      wire.text = ''
      const body = ok('evil')
      wire.socket.write(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    }
    const alice = await rawRequest(gateway.port, `${method} /alice HTTP/1.1\r\nHost: a\r\n\r\n`, { timeout: 100 })
    t.equal(String(alice.status), status.slice(0, 3))
    t.notMatch(alice.text, /evil/)
    await bobIsUnharmed(t)
  }
})

t.test('who leaves in the middle takes the connection along', async (t) => {
  script = (wire) => { if (wire.text.includes('\r\n\r\n')) wire.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf') }
  await rawRequest(gateway.port, 'GET /alice HTTP/1.1\r\nHost: a\r\n\r\n', { timeout: 60 })
  const [wire] = wires
  await bobIsUnharmed(t)
  wire?.socket.destroy()
  t.notMatch(wire?.text, /bob/)
})

t.test('interim answers without end are a fault of the upstream, and hold neither memory nor time', async (t) => {
  const flood = 'HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n'.repeat(1_000)
  script = (wire) => { wire.socket.write(flood) }
  const many = await rawRequest(gateway.port, 'GET /alice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', { untilComplete: false })
  t.match(many.text, /HTTP\/1\.1 502 /)
  t.ok(many.text.length < 10_000, `${many.text.length} characters`)
  await bobIsUnharmed(t)
  script = (wire) => {
    const drip = setInterval(() => { if (!wire.socket.write('HTTP/1.1 102 Processing\r\n\r\n') || wire.socket.destroyed) clearInterval(drip) }, 100)
    wire.socket.once('close', () => { clearInterval(drip) })
  }
  const startedAt = performance.now()
  const slow = await rawRequest(gateway.port, 'GET /alice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', { untilComplete: false, timeout: 5_000 })
  t.match(slow.text, /HTTP\/1\.1 50[24] /)
  t.ok(performance.now() - startedAt < 2_500, 'the time for a head is not begun anew by each')
  await bobIsUnharmed(t)
})
