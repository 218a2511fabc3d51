/** What an upstream gets of a request, and a client of an answer, where nothing goes wrong. On raw sockets: bytes matter. */
import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import t, { type Test } from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startRawUpstream, startUpstream } from '../helpers/upstream.ts'

async function start (t: Test) {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, {
    routes: [
      { path: '/', upstream: upstream.url, access: 'public' },
      { path: '/api', upstream: upstream.url, access: 'authenticated' },
      { path: '/strip', upstream: upstream.url, access: 'public', stripPrefix: true },
      { path: '/host', upstream: upstream.url, access: 'public', preserveHost: true },
      { path: '/token', upstream: upstream.url, access: 'optional', forwardAuthorization: true },
    ],
  })
  const send = async (bytes: string) => {
    const response = await rawRequest(gateway.port, bytes)
    return { response, seen: upstream.seen.at(-1) }
  }
  return { upstream, gateway, send }
}

t.test('the target arrives byte for byte', async (t) => {
  const { send } = await start(t)
  for (const target of ['/', '/a%20b?c=%zz&d=/../x', '/x;y=z', '/%C3%A9?', '/a/b/', '/?a=1&a=2&b', '/%7Euser', "/it's(ok)!*"]) {
    const { seen } = await send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.equal(seen?.url, target)
  }
})

t.test('the body arrives byte for byte, of whatever type, framed either way', async (t) => {
  const { send } = await start(t)
  const body = 'c\xe9\xff\x00\r\n{}'
  for (const type of ['text/plain; charset=latin1', 'application/json', 'application/x-protobuf', 'nonsense', '', ';;;', 'multipart/form-data; boundary=x']) {
    const { seen } = await send(`POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    t.equal(seen?.body, body, type)
    t.equal(seen?.headers['content-type'], type)
  }
  const { seen } = await send('POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nc\xe9\xff\x00\r\n4\r\n\r\n{}\r\n0\r\n\r\n')
  t.equal(seen?.body, body, 'chunked')
})

t.test('every method passes, with a body and without', async (t) => {
  const { send } = await start(t)
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'REPORT', 'MKCOL', 'SEARCH', 'PURGE', 'LOCK', 'M-SEARCH']) {
    const bare = await send(`${method} /m HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.match(bare.seen, { method, url: '/m', body: '' }, method)
    const full = await send(`${method} /m HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi`)
    t.match(full.seen, { method, body: 'hi' }, `${method} with a body`)
  }
})

t.test('request headers keep their order, their case and their repeats', async (t) => {
  const { send } = await start(t)
  const { seen } = await send('GET /h HTTP/1.1\r\nHost: a\r\nX-b: 1\r\nACCEPT: */*\r\nx-B: 2\r\nCookie: a=b\r\nX-Latin: \xe9\r\n\r\n')
  const kept = seen?.rawHeaders.slice(seen.rawHeaders.indexOf('X-b'), seen.rawHeaders.indexOf('X-Forwarded-For'))
  t.strictSame(kept, ['X-b', '1', 'ACCEPT', '*/*', 'x-B', '2', 'Cookie', 'a=b', 'X-Latin', '\xe9'])
})

t.test('X-Forwarded-For, -Proto, -Host and X-Request-Id are written, and the client believed in none of them', async (t) => {
  const { send } = await start(t)
  const { seen, response } = await send('GET /h HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Request-Id: mine\r\nForwarded: for=6.6.6.6\r\n\r\n')
  t.match(seen?.headers, { 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'shop.test' })
  t.equal(seen?.headers['x-request-id'], response.header('x-request-id'))
  t.not(seen?.headers['x-request-id'], 'mine')
  t.notOk(seen?.headers['forwarded'])
})

t.test('X-Forwarded-* of a trusted proxy are taken over, with the proxy added to the path', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, { trustedProxies: ['127.0.0.0/8'], routes: [{ path: '/', upstream: upstream.url, access: 'public' }] })
  const response = await rawRequest(gateway.port, 'GET /h HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\nX-Request-Id: outer-1\r\n\r\n')
  t.match(JSON.parse(response.body).headers, { 'x-forwarded-for': '192.0.2.7, 127.0.0.1', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.test', 'x-request-id': 'outer-1' })
  t.equal(response.header('x-request-id'), 'outer-1')
})

t.test('the identity arrives as headers, and the token does not', async (t) => {
  const { send, gateway } = await start(t)
  const { seen } = await send(`GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${await gateway.token('root')}\r\n\r\n`)
  t.match(seen?.headers, { 'x-user-id': /^[0-9a-f-]{36}$/, 'x-user-roles': 'admin' })
  t.notOk(seen?.headers['authorization'])
})

t.test('a route may forward Authorization', async (t) => {
  const { send, gateway } = await start(t)
  const token = await gateway.token()
  const { seen } = await send(`GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  t.equal(seen?.headers['authorization'], `Bearer ${token}`)
})

t.test('`stripPrefix`: /strip/x arrives as /x', async (t) => {
  const { send } = await start(t)
  for (const [target, arrives] of [['/strip/x', '/x'], ['/strip', '/'], ['/strip/', '/'], ['/strip?q=/strip', '/?q=/strip'], ['/strip/strip/a%20b', '/strip/a%20b']]) {
    t.equal((await send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)).seen?.url, arrives)
  }
})

t.test('the upstream sees its own Host, or with `preserveHost` the client\'s', async (t) => {
  const { send, upstream } = await start(t)
  t.equal((await send('GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n')).seen?.headers['host'], `127.0.0.1:${upstream.port}`)
  const { seen } = await send('GET /host HTTP/1.1\r\nHost: shop.test\r\n\r\n')
  t.strictSame(seen?.rawHeaders.filter((_, index, all) => index % 2 === 1 && all[index - 1]?.toLowerCase() === 'host'), ['shop.test'])
})

t.test('an absolute-form target that agrees with Host is its path', async (t) => {
  const { send } = await start(t)
  t.equal((await send('GET http://a:1/x?y HTTP/1.1\r\nHost: a:1\r\n\r\n')).seen?.url, '/x?y')
})

t.test('large bodies stream both ways and arrive whole', async (t) => {
  const upstream = await startRawPassThrough()
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: upstream.url, access: 'public' }] })
  const body = randomBytes(20 * 1024 * 1024)
  const sent = createHash('sha256').update(body).digest('hex')
  for (const headers of [{ 'transfer-encoding': 'chunked' }, { 'content-length': body.length }]) t.equal(await echo(gateway.port, headers, body), sent)
})

async function echo (port: number, headers: Record<string, string | number>, body: Buffer): Promise<string> {
  return await new Promise<string>((resolve, reject) => {
    const sent = request({ port, method: 'POST', path: '/echo', headers }, (response) => {
      const hash = createHash('sha256')
      response.on('data', (chunk: Buffer) => hash.update(chunk))
      response.on('end', () => { resolve(hash.digest('hex')) })
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

async function startRawPassThrough () {
  const { createServer } = await import('node:http')
  const server = createServer((request, response) => { request.pipe(response) })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port ?? 0 : 0
  return { url: `http://127.0.0.1:${port}`, close: () => new Promise<void>((resolve) => { server.close(() => { resolve() }); server.closeAllConnections() }) }
}

t.test('Expect: 100-continue is answered by the gateway, once the caller may send', async (t) => {
  const { gateway, upstream } = await start(t)
  const allowed = await rawRequest(gateway.port, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi', { untilComplete: false, timeout: 300 })
  t.match(allowed.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
  t.notOk(upstream.seen.at(-1)?.headers['expect'])
  const refused = await rawRequest(gateway.port, 'POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n')
  t.equal(refused.status, 401)
  const login = '{"username":"alice","password":"not it"}'
  const own = await rawRequest(gateway.port, `POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${login.length}\r\nExpect: 100-continue\r\n\r\n${login}`, { untilComplete: false, timeout: 500 })
  t.match(own.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 401 /)
  const other = await rawRequest(gateway.port, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: a-miracle\r\n\r\nhi')
  t.equal(other.status, 417)
  t.match(JSON.parse(other.body), { code: 'GW_EXPECTATION_FAILED' })
})

t.test('an offer of h2c is passed over, and the request served', async (t) => {
  const { gateway } = await start(t)
  const response = await rawRequest(gateway.port, 'POST /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nContent-Length: 2\r\n\r\nhi')
  t.equal(response.status, 200)
  t.match(JSON.parse(response.body), { method: 'POST', body: 'hi' })
})

t.test('OPTIONS * is a question about the gateway itself', async (t) => {
  const { gateway, upstream } = await start(t)
  t.equal((await rawRequest(gateway.port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n')).status, 204)
  t.equal((await rawRequest(gateway.port, 'GET * HTTP/1.1\r\nHost: a\r\n\r\n')).status, 400)
  t.equal(upstream.seen.length, 0)
})

t.test('answers of every kind pass', async (t) => {
  const answers = new Map<string, string>()
  const upstream = await startRawUpstream((socket, head) => { socket.write(Buffer.from(answers.get(head.split(' ')[1] ?? '') ?? '', 'latin1')) })
  t.teardown(() => upstream.close())
  const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: upstream.url, access: 'public' }] })
  const answer = async (method: string, text: string, version = '1.1', timeout = 2_000) => {
    answers.set('/x', text)
    return await rawRequest(gateway.port, `${method} /x HTTP/${version}\r\nHost: a\r\n\r\n`, { timeout })
  }

  t.test('head and body as they came', async (t) => {
    const response = await answer('GET', 'HTTP/1.1 299 Quite Fine\r\nSet-Cookie: a\r\nX-Odd: \xe9\r\nSet-Cookie: b\r\nContent-Length: 3\r\nServer: old/1\r\n\r\n\x00\xff\xe9')
    t.equal(response.status, 299)
    t.equal(response.reason, 'Quite Fine')
    t.equal(response.body, '\x00\xff\xe9')
    t.strictSame(response.headers.filter(([name]) => /^(set-cookie|x-odd|server)$/i.test(name)), [['Set-Cookie', 'a'], ['X-Odd', '\xe9'], ['Set-Cookie', 'b'], ['Server', 'old/1']])
  })
  t.test('chunked, with its trailers', async (t) => {
    const response = await answer('GET', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-User-Id: echo\r\n\r\n')
    t.equal(response.header('trailer'), 'X-Sum')
    t.equal(response.body, '2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n')
  })
  t.test('HEAD has the length, and no body', async (t) => {
    const response = await answer('HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n', '1.1', 300)
    t.equal(response.header('content-length'), '77')
    t.equal(response.body, '')
  })
  t.test('204 and 304 have no body; a 304 may have a length', async (t) => {
    t.equal((await answer('GET', 'HTTP/1.1 204 No Content\r\n\r\n')).status, 204)
    const notModified = await answer('GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: "a"\r\n\r\n')
    t.equal(notModified.header('content-length'), '77')
    t.equal(notModified.header('etag'), '"a"')
    t.equal((await answer('GET', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')).body, 'ok', 'and the next answer is whole')
  })
  t.test('103 and 102 come before the answer', async (t) => {
    t.match((await answer('GET', 'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', '1.1', 300)).text,
      /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK/i)
    t.match((await answer('GET', 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', '1.1', 300)).text, /^HTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 OK/)
  })
  t.test('a client of HTTP/1.0 gets no chunks, no trailers, and the end of the connection', async (t) => {
    const response = await answer('GET', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n', '1.0')
    t.equal(response.body, 'hi')
    t.ok(response.closed)
  })
})

t.test('an upstream list is taken in turn, and one that cannot be reached is passed over', async (t) => {
  const [one, two] = [await startUpstream(), await startUpstream()]
  t.teardown(async () => { await one.close(); await two.close() })
  const gateway = await startTestGateway(t, { routes: [{ path: '/', upstream: [one.url, 'http://127.0.0.1:1', two.url], access: 'public' }] })
  for (let count = 0; count < 6; count++) {
    const response = await rawRequest(gateway.port, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi')
    t.equal(JSON.parse(response.body).body, 'hi')
  }
  t.ok(one.seen.length >= 2 && two.seen.length >= 2)
})
