/** The handshake on raw sockets: what an upstream may do to it, and a client. */
import { once } from 'node:events'
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import t from 'tap'
import { afterEarlierAnswers } from '../../src/gateway/earlier-answers.ts'
import { createLiveConnections } from '../../src/gateway/live-connections.ts'
import { forwardUpgrade, readHandshake, type UpgradeOutcome } from '../../src/gateway/upgrade.ts'
import { closeFrame } from '../../src/gateway/websocket-frames.ts'
import { localhostCertificate, localhostKey } from '../helpers/localhost-certificate.ts'
import { agreement, handshakeBytes, listen, startUpgradeGateway, type GatewayChoices, type UpgradeGateway } from '../helpers/upgrade-gateway.ts'

// Several of these wait for a bound to pass.
t.jobs = 8

type Test = Pick<typeof t, 'teardown'>

interface Upstream {
  readonly origin: string
  readonly sockets: readonly Socket[]
  /** All bytes so far, of all connections, Latin-1. */
  seen (): string
  connection (): Promise<Socket>
}

/** `speak` is called for each connection as soon as a whole head has come. */
async function startUpstream (t: Test, speak: (socket: Socket) => void, server: Server = createServer(), protocol = 'http'): Promise<Upstream> {
  const sockets: Socket[] = []
  let seen = ''
  server.on(protocol === 'http' ? 'connection' : 'secureConnection', (socket: Socket) => {
    sockets.push(socket)
    let head = ''
    let spoken = false
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString('latin1')
      head += chunk.toString('latin1')
      if (!spoken && head.includes('\r\n\r\n')) {
        spoken = true
        speak(socket)
      }
    })
  })
  const port = await listen(server)
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    origin: `${protocol}://${protocol === 'http' ? '127.0.0.1' : 'localhost'}:${port}`,
    sockets,
    seen: () => seen,
    async connection () {
      while (sockets[0] === undefined) await wait(2)
      return sockets[0]
    },
  }
}

async function startGateway (t: Test, origin: string, choices?: GatewayChoices): Promise<UpgradeGateway> {
  const gateway = await startUpgradeGateway(origin, choices)
  t.teardown(() => gateway.close())
  return gateway
}

function dial (t: Test, gateway: UpgradeGateway, bytes: string): Socket & { text: () => string } {
  const socket = connect({ port: gateway.port, host: '127.0.0.1' })
  let text = ''
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => { text += chunk.toString('latin1') })
  socket.write(Buffer.from(bytes, 'latin1'))
  t.teardown(() => { socket.destroy() })
  return Object.assign(socket, { text: () => text })
}

/** All that the client gets until the connection ends. */
async function exchange (t: Test, gateway: UpgradeGateway, bytes = handshakeBytes()): Promise<string> {
  const socket = dial(t, gateway, bytes)
  await once(socket, 'close')
  return socket.text()
}

async function until (holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('did not come to pass')
    await wait(5)
  }
}

t.test('readHandshake knows a WebSocket handshake from a malformed one and from other upgrades', async (t) => {
  const good = { 'connection': 'Upgrade', 'upgrade': 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
  const read = (headers: Record<string, string>, method = 'GET', httpVersion = '1.1') =>
    readHandshake({ headers: { ...good, ...headers }, method, httpVersion } as unknown as IncomingMessage)
  t.equal(read({}), 'websocket')
  t.equal(read({ connection: 'keep-alive, UPGRADE', upgrade: 'WebSocket' }), 'websocket')
  t.equal(read({ upgrade: 'h2c, websocket' }), 'websocket')
  t.equal(read({ 'content-length': '0' }), 'websocket')
  t.equal(read({ upgrade: 'h2c' }), 'other')
  t.equal(read({ upgrade: 'websocket/13' }), 'other')
  t.equal(read({ upgrade: 'xwebsocket' }), 'other')
  t.equal(read({}, 'POST'), 'malformed')
  t.equal(read({}, 'GET', '1.0'), 'malformed')
  t.equal(read({ connection: 'keep-alive' }), 'malformed')
  t.equal(read({ 'sec-websocket-version': '12' }), 'malformed')
  t.equal(read({ 'sec-websocket-version': '13, 12' }), 'malformed', 'repeated')
  t.equal(read({ 'sec-websocket-version': '013' }), 'malformed')
  t.equal(read({ 'sec-websocket-key': '' }), 'malformed')
  t.equal(read({ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ' }), 'malformed', 'unpadded')
  t.equal(read({ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZTE=' }), 'malformed', '17 bytes')
  t.equal(read({ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==' }), 'malformed', 'repeated')
  t.equal(read({ 'content-length': '1' }), 'malformed')
  t.equal(read({ 'content-length': 'x' }), 'malformed')
  t.equal(read({ 'transfer-encoding': 'chunked' }), 'malformed')
  t.equal(readHandshake({ headers: {}, method: 'GET', httpVersion: '1.1' } as unknown as IncomingMessage), 'other')
})

t.test('the 101 goes through with the upstream\'s headers, less what belongs to its connection', async (t) => {
  const upstream = await startUpstream(t, (socket) => {
    socket.write([
      'HTTP/1.1 101 Let us Talk', 'upgrade: WebSocket', 'connection: upgrade, X-Nominated', 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      'Sec-WebSocket-Protocol: chat', 'Sec-WebSocket-Extensions: permessage-deflate', 'Set-COOKIE: a=1', 'Set-COOKIE: b=2',
      'X-Nominated: secret', 'Keep-Alive: timeout=5', 'Content-Length: 7', 'X-Latin: caf\u00e9', '', '',
    ].join('\r\n'), 'latin1')
  })
  const gateway = await startGateway(t, upstream.origin)
  const client = dial(t, gateway, handshakeBytes())
  await until(() => client.text().includes('\r\n\r\n'))
  t.equal(client.text(), [
    'HTTP/1.1 101 Let us Talk', 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'Sec-WebSocket-Protocol: chat',
    'Sec-WebSocket-Extensions: permessage-deflate', 'Set-COOKIE: a=1', 'Set-COOKIE: b=2', 'X-Latin: caf\u00e9',
    'Connection: Upgrade', 'Upgrade: websocket', '', '',
  ].join('\r\n'))
  t.same(await gateway.outcome(), { outcome: 'switched' })
  t.same(gateway.live.counts(), { websocket: 1, stream: 0 })
})

t.test('the upstream gets the request line and the headers as bytes, in their order', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(agreement) })
  const gateway = await startGateway(t, upstream.origin)
  dial(t, gateway, handshakeBytes('/p%2Fq?x=[%c3]', 'x-LATIN: caf\u00e9', 'Sec-WebSocket-Protocol: a, b'))
  await gateway.outcome()
  t.equal(upstream.seen(), [
    'GET /p%2Fq?x=[%c3] HTTP/1.1', `Host: ${upstream.origin.slice(7)}`, 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'x-LATIN: caf\u00e9', 'Sec-WebSocket-Protocol: a, b', 'Connection: Upgrade', 'Upgrade: websocket', '', '',
  ].join('\r\n'))
})

t.test('a Host that the caller gives is the one that is sent', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(agreement) })
  const gateway = await startGateway(t, upstream.origin, { headers: ['host', 'kept.example', 'Sec-WebSocket-Version', '13'] })
  dial(t, gateway, handshakeBytes())
  await gateway.outcome()
  t.equal(upstream.seen().match(/^host:.*$/gim)?.join(), 'host: kept.example')
})

t.test('what is sent behind the handshake waits for the 101 and then reaches the upstream', async (t) => {
  const upstream = await startUpstream(t, () => {})
  const gateway = await startGateway(t, upstream.origin)
  const client = dial(t, gateway, `${handshakeBytes()}early one `)
  const server = await upstream.connection()
  await until(() => upstream.seen().includes('\r\n\r\n'))
  client.write('early two')
  await wait(50)
  t.notMatch(upstream.seen(), /early/)
  server.write(agreement)
  await until(() => upstream.seen().endsWith('early two'))
  t.ok(upstream.seen().endsWith('\r\n\r\nearly one early two'))
})

t.test('what the upstream sends behind its 101 in one piece reaches the client', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(`${agreement}\x81\x05hello`, 'latin1') })
  const gateway = await startGateway(t, upstream.origin)
  const client = dial(t, gateway, handshakeBytes())
  await until(() => client.text().endsWith('\r\n\r\n\x81\x05hello'))
  t.equal((await gateway.outcome()).outcome, 'switched')
})

t.test('interim answers before the 101 or the refusal do not end the handshake', async (t) => {
  for (const [final, outcome] of [[agreement, 'switched'], ['HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n', 'answered']] as const) {
    const upstream = await startUpstream(t, (socket) => {
      socket.write(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nUpgrade: websocket\r\nConnection: upgrade\r\nLink: </a>\r\n\r\n${final}`)
    })
    const gateway = await startGateway(t, upstream.origin)
    dial(t, gateway, handshakeBytes())
    t.equal((await gateway.outcome()).outcome, outcome)
  }
})

t.test('a refusal of the upstream comes with its status, headers and body, and is the last on the connection', async (t) => {
  const cases: [name: string, answer: string, closes: boolean, expected: string][] = [
    ['with a length',
      'HTTP/1.1 403 Not You\r\nX-Why: because\r\nContent-Length: 5\r\nKeep-Alive: timeout=9\r\n\r\nsorry', false,
      'HTTP/1.1 403 Not You\r\nX-Why: because\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry'],
    ['in chunks',
      'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;ext=1\r\nsor\r\n2\r\nry\r\n0\r\nX-T: 1\r\n\r\n', false,
      'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nsor\r\n2\r\nry\r\n0\r\n\r\n'],
    ['until it closes',
      'HTTP/1.1 200 OK\r\nServer: x\r\n\r\nplain page', true,
      'HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\na\r\nplain page\r\n0\r\n\r\n'],
    ['426 with the headers that it must have',
      'HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, x-private\r\nSec-WebSocket-Version: 13\r\nX-Private: 1\r\nContent-Length: 2\r\n\r\nno', false,
      'HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno'],
    ['without a body',
      'HTTP/1.1 204 Nothing\r\nX-Y: 1\r\n\r\n', false,
      'HTTP/1.1 204 Nothing\r\nX-Y: 1\r\nConnection: close\r\n\r\n'],
    ['304 with the length of what there is not',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', false,
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nConnection: close\r\n\r\n'],
    ['nominating what it must not',
      'HTTP/1.1 401 Who\r\nConnection: content-length\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno', false,
      'HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno'],
    ['with control characters in the reason',
      'HTTP/1.1 503 \x01\x00\r\nContent-Length: 0\r\n\r\n', false,
      'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'],
  ]
  for (const [name, answer, closes, expected] of cases) {
    const upstream = await startUpstream(t, (socket) => {
      socket.write(answer, 'latin1')
      if (closes) socket.end()
    })
    const gateway = await startGateway(t, upstream.origin)
    const client = dial(t, gateway, handshakeBytes())
    await once(client, 'end')
    const text = client.text()
    client.end()
    t.equal(text.replace(/(?<=\r\n\r\n)3\r\nsor\r\n2\r\nry|(?<=\r\n\r\n)5\r\nsorry/, '3\r\nsor\r\n2\r\nry'), expected, name)
    t.match(await gateway.outcome(), { outcome: 'answered', complete: true })
    await until(() => upstream.sockets[0]?.destroyed === true)
    t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
  }
})

t.test('a large refusal passes whole', async (t) => {
  const body = Buffer.alloc(3_000_000, 'page')
  const upstream = await startUpstream(t, (socket) => { socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`); socket.write(body) })
  const gateway = await startGateway(t, upstream.origin)
  const text = await exchange(t, gateway)
  t.equal(text.length - text.indexOf('\r\n\r\n') - 4, body.length)
})

t.test('a refusal that the upstream breaks off looks broken off', async (t) => {
  for (const answer of [
    'HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\nhalf',
    'HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    'HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n',
  ]) {
    const upstream = await startUpstream(t, (socket) => {
      socket.write(answer)
      setTimeout(() => { socket.end() }, 30)
    })
    const gateway = await startGateway(t, upstream.origin)
    const text = await exchange(t, gateway)
    t.match(text, /half/)
    t.notMatch(text, /\r\n0\r\n/)
    t.match(await gateway.outcome(), { outcome: 'answered', status: 403, complete: false })
    t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
  }
})

t.test('a refusal that goes silent half way is cut off after the response timeout', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write('HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\nhalf') })
  const gateway = await startGateway(t, upstream.origin, { responseTimeout: 200 })
  t.match(await exchange(t, gateway), /half$/)
  t.match(await gateway.outcome(), { outcome: 'answered', complete: false })
  await until(() => upstream.sockets[0]?.destroyed === true)
})

t.test('a client that does not read a refusal does not hold the upstream for ever', async (t) => {
  const upstream = await startUpstream(t, (socket) => {
    socket.write('HTTP/1.1 403 No\r\n\r\n')
    const more = (): void => { if (socket.writable) socket.write(Buffer.alloc(65_536), (error) => { if (error == null) more() }) }
    more()
  })
  const gateway = await startGateway(t, upstream.origin, { responseTimeout: 300 })
  const client = dial(t, gateway, handshakeBytes())
  client.pause()
  t.match(await gateway.outcome(), { outcome: 'answered', complete: false })
  await until(() => upstream.sockets[0]?.destroyed === true)
})

t.test('nothing is sent to the client when the upstream gives no valid answer', async (t) => {
  const broken: [name: string, speak: (socket: Socket) => void, code: string][] = [
    ['closes', (socket) => { socket.end() }, 'GW_UPSTREAM_BROKEN'],
    ['resets', (socket) => { socket.resetAndDestroy() }, 'GW_UPSTREAM_BROKEN'],
    ['closes within the head', (socket) => { socket.end('HTTP/1.1 101 Switching\r\nUpgr') }, 'GW_UPSTREAM_BROKEN'],
    ['speaks garbage', (socket) => { socket.write('\x16\x03\x01 nonsense\r\n\r\n') }, 'GW_UPSTREAM_BROKEN'],
    ['answers a frame', (socket) => { socket.write(Buffer.from([0x81, 0x02, 0x68, 0x69, 0x0d, 0x0a])) }, 'GW_UPSTREAM_BROKEN'],
    ['sends headers without end', (socket) => { socket.write(`HTTP/1.1 101 Ok\r\n${'X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n'.repeat(2_000)}`) }, 'GW_UPSTREAM_BROKEN'],
    ['is silent', () => {}, 'GW_UPSTREAM_TIMEOUT'],
    ['drips', (socket) => { setInterval(() => { if (socket.writable) socket.write('HTTP/1.1 100 Continue\r\n\r\n') }, 40).unref() }, 'GW_UPSTREAM_TIMEOUT'],
    ['has a wrong accept', (socket) => { socket.write(agreement.replace('s3pP', 's3pQ')) }, 'GW_UPSTREAM_BROKEN'],
    ['has no accept', (socket) => { socket.write(agreement.replace(/Sec.*\r\n/, '')) }, 'GW_UPSTREAM_BROKEN'],
    ['has two accepts', (socket) => { socket.write(agreement.replace(/(Sec.*\r\n)/, '$1$1')) }, 'GW_UPSTREAM_BROKEN'],
    ['has no upgrade', (socket) => { socket.write(agreement.replace(/Upgrade: .*\r\n/, '')) }, 'GW_UPSTREAM_BROKEN'],
    ['upgrades to something else', (socket) => { socket.write(agreement.replace('websocket', 'h2c')) }, 'GW_UPSTREAM_BROKEN'],
    ['has no connection', (socket) => { socket.write(agreement.replace(/Connection: .*\r\n/, '')) }, 'GW_UPSTREAM_BROKEN'],
    ['speaks HTTP/1.0', (socket) => { socket.write(agreement.replace('HTTP/1.1', 'HTTP/1.0')) }, 'GW_UPSTREAM_BROKEN'],
    ['speaks HTTP/2.0', (socket) => { socket.write('HTTP/2.0 403 No\r\nContent-Length: 0\r\n\r\n') }, 'GW_UPSTREAM_BROKEN'],
    ['has a status below all', (socket) => { socket.write('HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n') }, 'GW_UPSTREAM_BROKEN'],
    ['has a length twice', (socket) => { socket.write('HTTP/1.1 403 No\r\nContent-Length: 0\r\nContent-Length: 2\r\n\r\nxx') }, 'GW_UPSTREAM_BROKEN'],
    ['has a length and chunks', (socket) => { socket.write('HTTP/1.1 403 No\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n') }, 'GW_UPSTREAM_BROKEN'],
    ['has a coding that cannot be passed on', (socket) => { socket.write('HTTP/1.1 403 No\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n') }, 'GW_UPSTREAM_BROKEN'],
    ['folds a header', (socket) => { socket.write('HTTP/1.1 403 No\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n') }, 'GW_UPSTREAM_BROKEN'],
  ]
  for (const [name, speak, code] of broken) {
    const upstream = await startUpstream(t, speak)
    const gateway = await startGateway(t, upstream.origin, { responseTimeout: code === 'GW_UPSTREAM_TIMEOUT' ? 250 : 10_000 })
    const client = dial(t, gateway, handshakeBytes())
    await once(client, 'end')
    client.end()
    t.match(client.text(), new RegExp(`^HTTP/1\\.1 50[24] Refused\r\n[^]*${code}$`), name)
    t.match(await gateway.outcome(), { outcome: 'failed', refusal: { code } }, name)
    await until(() => upstream.sockets[0]?.destroyed === true)
    t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
  }
})

t.test('an upstream that is not there is unreachable, and one that takes no connection in time has timed out', async (t) => {
  const closed = createServer()
  const port = await listen(closed)
  closed.close()
  const gateway = await startGateway(t, `http://127.0.0.1:${port}`)
  t.match(await exchange(t, gateway), /^HTTP\/1.1 502/)
  t.match(await gateway.outcome(), { outcome: 'failed', fault: 'refused', refusal: { code: 'GW_UPSTREAM_UNREACHABLE' } })

  // It accepts, but never begins the TLS handshake that was asked for.
  const silent = await startUpstream(t, () => {})
  const slow = await startGateway(t, silent.origin.replace('http:', 'https:'), { connectTimeout: 200 })
  t.match(await exchange(t, slow), /^HTTP\/1.1 504/)
  t.match(await slow.outcome(), { outcome: 'failed', fault: 'timeout', refusal: { code: 'GW_UPSTREAM_TIMEOUT' } })
  await until(() => silent.sockets[0]?.destroyed === true)
})

t.test('a name that does not resolve is unreachable', async (t) => {
  const gateway = await startGateway(t, 'http://nowhere.invalid', { connectTimeout: 5_000 })
  t.match(await exchange(t, gateway), /^HTTP\/1.1 502/)
})

t.test('an https upstream is spoken to only if its certificate is good', async (t) => {
  const options = { key: localhostKey, cert: localhostCertificate }
  const upstream = await startUpstream(t, (socket) => { socket.write(`${agreement}hello`) }, createTlsServer(options), 'https')
  upstream.sockets.at(0)?.destroy()

  const strict = await startGateway(t, upstream.origin)
  t.match(await exchange(t, strict), /^HTTP\/1.1 502/)
  t.match(await strict.outcome(), { outcome: 'failed', refusal: { code: 'GW_UPSTREAM_UNREACHABLE' } })

  const trusting = { tls: { ca: localhostCertificate } }
  const wrongName = await startGateway(t, upstream.origin.replace('localhost', '127.0.0.2'), trusting)
  t.match(await exchange(t, wrongName), /^HTTP\/1.1 502/)
  t.equal(upstream.seen(), '', 'not a byte of the handshake')

  for (const host of ['localhost', '127.0.0.1']) {
    const gateway = await startGateway(t, upstream.origin.replace('localhost', host), trusting)
    const client = dial(t, gateway, handshakeBytes())
    await until(() => client.text().endsWith('hello'))
    client.end()
    await gateway.closed()
  }
})

t.test('when the client goes away the upstream is not asked any longer', async (t) => {
  for (const leave of [(socket: Socket) => { socket.resetAndDestroy() }, (socket: Socket) => { socket.end() }]) {
    const upstream = await startUpstream(t, () => {})
    const gateway = await startGateway(t, upstream.origin, { responseTimeout: 60_000 })
    const client = dial(t, gateway, handshakeBytes())
    await until(() => upstream.seen().includes('\r\n\r\n'))
    leave(client)
    t.same(await gateway.outcome(), { outcome: 'abandoned' })
    await until(() => upstream.sockets[0]?.destroyed === true && client.destroyed)
    t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
  }
})

t.test('a session that ends while the upstream thinks about it gets no 101', async (t) => {
  for (const [end, code] of [
    [(gateway: UpgradeGateway) => { gateway.live.endSessions(['s1']) }, 'GW_SESSION_ENDED'],
    [(gateway: UpgradeGateway) => { gateway.live.endAll() }, 'GW_DRAINING'],
  ] as const) {
    const upstream = await startUpstream(t, () => {})
    const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
    const client = dial(t, gateway, handshakeBytes())
    await until(() => upstream.seen().includes('\r\n\r\n'))
    end(gateway)
    t.match(await gateway.outcome(), { outcome: 'failed', fault: null, refusal: { code } })
    await until(() => client.text().includes(code) && upstream.sockets[0]?.destroyed === true)
  }
  const upstream = await startUpstream(t, () => {})
  const expired = await startGateway(t, upstream.origin, { sessionId: 's1', closeAt: Date.now() + 200 })
  t.match(await exchange(t, expired), /GW_TOKEN_EXPIRED/)
})

t.test('a session that ended just before is not connected at all', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(agreement) })
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1', isEnded: () => true })
  t.match(await exchange(t, gateway), /GW_SESSION_ENDED/)
  t.equal(upstream.seen(), '')
})

t.test('after a failure the connection is as it was: another upstream gets all that the client sent', async (t) => {
  const dead = await startUpstream(t, (socket) => { setTimeout(() => { socket.destroy() }, 60) })
  const alive = await startUpstream(t, (socket) => { socket.write(agreement) })
  const live = createLiveConnections({ now: Date.now, isEnded: () => false })
  const outcomes: UpgradeOutcome[] = []
  const warnings: Error[] = []
  const onWarning = (warning: Error) => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => { process.off('warning', onWarning) })
  const server = createHttpServer()
  server.on('upgrade', (request, socket, head) => {
    (async () => {
      const headers = request.rawHeaders.slice(-4)
      for (const origin of [dead.origin, dead.origin, alive.origin]) {
        outcomes.push(await forwardUpgrade({ request, socket, head }, { origin: new URL(origin), path: '/', headers, connectTimeout: 500, responseTimeout: 500 },
          { live, sessionId: null, closeAt: Infinity }))
      }
    })().catch(t.fail)
  })
  const port = await listen(server)
  t.teardown(() => { server.close() })
  const client = connect({ port, host: '127.0.0.1' })
  client.on('error', () => {})
  t.teardown(() => { client.destroy() })
  client.write(`${handshakeBytes()}one `)
  for (const part of ['two ', 'three ', 'four']) {
    await wait(45)
    client.write(part)
  }
  await until(() => alive.seen().endsWith('one two three four'))
  t.same(outcomes.map(({ outcome }) => outcome), ['failed', 'failed', 'switched'])
  t.notMatch(dead.seen(), /one/)
  t.same(live.counts(), { websocket: 1, stream: 0 })
  t.same(warnings, [])
})

t.test('a client that sends without end before the 101 is made to wait', async (t) => {
  const upstream = await startUpstream(t, () => {})
  const gateway = await startGateway(t, upstream.origin, { responseTimeout: 1_000 })
  const client = dial(t, gateway, handshakeBytes())
  let taken = 0
  const more = (): void => { client.write(Buffer.alloc(65_536), () => { taken += 65_536; if (!client.destroyed) more() }) }
  more()
  await gateway.outcome()
  t.ok(taken < 20_000_000, `the kernels took ${taken} bytes`)
})

t.test('of a connection that was reset the other end is closed too', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(agreement) })
  const gateway = await startGateway(t, upstream.origin)
  const first = dial(t, gateway, handshakeBytes())
  await gateway.outcome()
  upstream.sockets[0]?.resetAndDestroy()
  await once(first, 'close')
  t.equal((await gateway.closed()).why, 'broken')

  const second = dial(t, gateway, handshakeBytes())
  await gateway.outcome(2)
  second.resetAndDestroy()
  await until(() => upstream.sockets[1]?.destroyed === true)
  t.equal((await gateway.closed(2)).why, 'broken')
  t.same(gateway.live.counts(), { websocket: 0, stream: 0 })
})

t.test('who says that he sends no more is still told the rest', async (t) => {
  const rest = Buffer.alloc(2_000_000, 'rest')
  const upstream = await startUpstream(t, (socket) => {
    socket.write(agreement)
    socket.once('end', () => { socket.end(rest) })
  }, createServer({ allowHalfOpen: true }))
  const gateway = await startGateway(t, upstream.origin)
  const client = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => { client.destroy() })
  let length = 0
  client.on('data', (chunk: Buffer) => { length += chunk.length })
  client.write(handshakeBytes())
  await gateway.outcome()
  client.end('last words')
  await once(client, 'end')
  t.ok(length > rest.length)
  t.ok(upstream.seen().endsWith('last words'))
  const { why, fromClient, fromUpstream } = await gateway.closed()
  t.same({ why, fromClient, fromUpstream }, { why: 'closed', fromClient: 10, fromUpstream: rest.length })
})

t.test('a client that stops reading stops the upstream, and is gone soon after its session has ended', async (t) => {
  let sent = 0
  const upstream = await startUpstream(t, (socket) => {
    socket.write(agreement)
    const more = (): void => { if (socket.writable) socket.write(Buffer.concat([Buffer.from([0x82, 126, 0xff, 0xff]), Buffer.alloc(65_535)]), (error) => { if (error == null) { sent += 65_539; more() } }) }
    more()
  })
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
  const client = dial(t, gateway, handshakeBytes())
  client.pause()
  await gateway.outcome()
  let before = -1
  while (before !== sent) {
    before = sent
    await wait(100)
  }
  t.ok(sent < 30_000_000, `the kernels took ${sent} bytes`)
  gateway.live.endSessions(['s1'])
  const startedAt = performance.now()
  t.equal((await gateway.closed()).why, 'revoked')
  t.ok(performance.now() - startedAt < 3_000)
  await until(() => upstream.sockets[0]?.destroyed === true)
})

t.test('an upstream that stops in the middle of a frame cannot put the end off', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(`${agreement}\x82\x05ab`, 'latin1') })
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
  const client = dial(t, gateway, handshakeBytes())
  await until(() => client.text().endsWith('ab'))
  const startedAt = performance.now()
  gateway.live.endSessions(['s1'])
  await once(client, 'close')
  const took = performance.now() - startedAt
  t.ok(took > 1_000 && took < 3_000, `${Math.round(took)} ms`)
  t.ok(client.text().endsWith('\r\n\r\n\x82\x05ab'), 'and nothing was put into its middle')
})

t.test('the frame under way is finished, the close frame follows, and then nothing', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(`${agreement}\x82\x05ab`, 'latin1') })
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
  const client = dial(t, gateway, handshakeBytes())
  await until(() => client.text().endsWith('ab'))
  gateway.live.endSessions(['s1'])
  await wait(30)
  client.write('\x82\x80mask')
  upstream.sockets[0]?.write('cd')
  await wait(30)
  upstream.sockets[0]?.write('e\x81\x01x\x81\x01y')
  await once(client, 'close')
  t.equal(client.text().slice(client.text().indexOf('\r\n\r\n') + 4), `\x82\x05abcde${closeFrame(4401, 'session ended').toString('latin1')}`)
  t.notMatch(upstream.seen(), /mask/, 'the client is not listened to any more')
})

t.test('the upstream is told too, in a masked frame, unless the client is in the middle of one', async (t) => {
  for (const [sent, told] of [['', true], ['\x81\x80mask', true], ['\x81\x81ma', false], ['\x88\x80mask', false]] as const) {
    const upstream = await startUpstream(t, (socket) => { socket.write(agreement) })
    const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
    const client = dial(t, gateway, handshakeBytes())
    await gateway.outcome()
    client.write(Buffer.from(sent, 'latin1'))
    await until(() => upstream.seen().endsWith(`\r\n\r\n${sent}`))
    gateway.live.endSessions(['s1'])
    await until(() => upstream.sockets[0]?.readableEnded === true)
    const heard = Buffer.from(upstream.seen().slice(upstream.seen().indexOf('\r\n\r\n') + 4 + sent.length), 'latin1')
    if (told) {
      t.equal(heard[0], 0x88)
      t.equal(heard[1], 0x80 | 15)
      const key = heard.subarray(2, 6)
      t.equal(Buffer.from(heard.subarray(6).map((byte, index) => byte ^ (key[index % 4] ?? 0))).toString('latin1'), '\x11\x31session ended')
    } else {
      t.equal(heard.length, 0)
    }
  }
})

t.test('a client that has been told is not closed on before it has answered, nor waited for without end', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(agreement) }, createServer({ allowHalfOpen: true }))
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
  const client = dial(t, gateway, handshakeBytes())
  await gateway.outcome()
  gateway.live.endSessions(['s1'])
  let ended = false
  client.once('end', () => { ended = true })
  await wait(300)
  t.equal(ended, false)
  client.write(Buffer.from([0x88, 0x80, 1, 2, 3, 4]))
  await until(() => ended)
  t.pass('its close frame is answered by the end of the connection')

  const mute = dial(t, gateway, handshakeBytes())
  await gateway.outcome(2)
  const startedAt = performance.now()
  gateway.live.endSessions(['s1'])
  await once(mute, 'close')
  t.ok(performance.now() - startedAt < 3_000)
})

t.test('when the upstream has closed already the client hears no second close', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.write(`${agreement}\x88\x00`, 'latin1') })
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
  const client = dial(t, gateway, handshakeBytes())
  await until(() => client.text().endsWith('\x88\x00'))
  gateway.live.endSessions(['s1'])
  await once(client, 'close')
  t.ok(client.text().endsWith('\r\n\r\n\x88\x00'))
})

t.test('an end that comes when one side has hung up already ends the other', async (t) => {
  const upstream = await startUpstream(t, (socket) => { socket.end(agreement) })
  const gateway = await startGateway(t, upstream.origin, { sessionId: 's1' })
  const client = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
  client.resume().write(handshakeBytes())
  await once(client, 'end')
  gateway.live.endSessions(['s1'])
  const startedAt = performance.now()
  t.equal((await gateway.closed()).why, 'revoked')
  t.ok(performance.now() - startedAt < 3_000)
  client.destroy()
})

t.test('answers to earlier requests of the connection come first, and the upgrade then', async (t) => {
  const order: string[] = []
  const server = createHttpServer((request, response) => {
    order.push(`${request.url}`)
    setTimeout(() => { response.end(Buffer.alloc(request.url === '/big' ? 3_000_000 : 3, 'x')) }, request.url === '/slow' ? 100 : 10)
  })
  server.on('upgrade', (_request, socket) => {
    afterEarlierAnswers(socket, () => {
      order.push('upgrade')
      socket.end('HTTP/1.1 400 Now\r\n\r\n')
    })
  })
  const port = await listen(server)
  t.teardown(() => { server.close() })
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  const client = connect({ port, host: '127.0.0.1' })
  let text = ''
  client.on('data', (chunk: Buffer) => { text += chunk.toString('latin1') })
  client.write(get('/slow') + get('/big') + get('/quick') + handshakeBytes())
  await once(client, 'end')
  t.same(order, ['/slow', '/big', '/quick', 'upgrade'])
  t.match(text, /^HTTP\/1.1 200[^]*HTTP\/1.1 200[^]*HTTP\/1.1 200[^]*xxxHTTP\/1.1 400 Now\r\n\r\n$/)
})

t.test('an upgrade behind an answer that is the last, or that never comes, is dropped with the connection', async (t) => {
  let upgrades = 0
  const server = createHttpServer((request, response) => {
    if (request.url === '/last') response.setHeader('Connection', 'close').end('bye')
  })
  server.on('upgrade', (_request, socket) => { afterEarlierAnswers(socket, () => { upgrades++ }) })
  const port = await listen(server)
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const client = connect({ port, host: '127.0.0.1' })
  client.resume().write(`GET /last HTTP/1.1\r\nHost: a\r\n\r\n${handshakeBytes()}`)
  await once(client, 'close')

  const reset = connect({ port, host: '127.0.0.1' })
  const accepted = once(server, 'connection')
  reset.write(`GET /never HTTP/1.1\r\nHost: a\r\n\r\n${handshakeBytes()}`)
  const [socket] = await accepted as [Socket]
  await once(server, 'upgrade')
  socket.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
  await until(() => socket.closed)
  t.equal(upgrades, 0)

  // And the server still serves.
  const [response] = await once(httpRequest({ port, host: '127.0.0.1', path: '/last' }).end(), 'response') as [IncomingMessage]
  t.equal(response.statusCode, 200)
  response.resume()
})
