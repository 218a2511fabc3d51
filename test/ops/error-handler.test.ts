import t, { type Test } from 'tap'
import Fastify, { LogController, type FastifyInstance } from 'fastify'
import { connect } from 'node:net'
import { once } from 'node:events'
import { Refusal } from '../../src/errors.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { createLogSink, type LogSink } from './log-sink.ts'

const realm = 'https://gate.example'

async function start (t: Test, routes: (app: FastifyInstance) => void): Promise<{ app: FastifyInstance, log: LogSink }> {
  const log = createLogSink()
  const refuse = createRefuse({ realm, subjectOf: () => 'alice-id' })
  const app = Fastify({
    loggerInstance: log.logger,
    logController: new LogController({ disableRequestLogging: true }),
    frameworkErrors: refuse,
    genReqId: () => 'req-1',
  }) as unknown as FastifyInstance
  app.register(errorHandler, { refuse })
  app.after(() => { routes(app) })
  await app.ready()
  t.teardown(() => app.close())
  return { app, log }
}

t.test('a thrown refusal becomes its status, its headers and its body', async (t) => {
  const { app } = await start(t, (app) => app.get('/x', () => { throw new Refusal('GW_TOO_MANY_ATTEMPTS', { retryAfterSeconds: 7 }) }))
  const answer = await app.inject('/x')
  t.equal(answer.statusCode, 429)
  t.equal(answer.headers['retry-after'], '7')
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  t.strictSame(answer.json(), {
    error: 'too_many_attempts', error_description: 'Too many attempts. Wait as long as Retry-After says.', code: 'GW_TOO_MANY_ATTEMPTS', request_id: 'req-1',
  })
})

t.test('an error that nobody foresaw is 500 GW_INTERNAL, without a word of it to the caller and with its stack in the log', async (t) => {
  const { app, log } = await start(t, (app) => app.get('/x', async () => { throw new TypeError('the inside of the gateway') }))
  const answer = await app.inject('/x')
  t.equal(answer.statusCode, 500)
  t.equal(answer.json().code, 'GW_INTERNAL')
  t.notMatch(answer.body, 'inside')
  const [line] = log.lines()
  t.match(line, { level: 'error', code: 'GW_INTERNAL', err: { type: 'TypeError', message: 'the inside of the gateway', stack: /error-handler\.test/ } })
})

t.test('an error that claims a status is not believed about it', async (t) => {
  const { app } = await start(t, (app) => app.get('/x', async () => { throw Object.assign(new Error('mine'), { statusCode: 200, code: 'OK' }) }))
  t.equal((await app.inject('/x')).statusCode, 500)
})

t.test('something thrown that is no error is 500 too', async (t) => {
  const { app, log } = await start(t, (app) => app.get('/x', async () => { throw 'text' })) // eslint-disable-line no-throw-literal -- the point
  t.equal((await app.inject('/x')).json().code, 'GW_INTERNAL')
  t.match(log.lines()[0], { err: { type: 'string' } })
  t.notMatch(log.text(), '"text"')
})

t.test('errors of the framework have the one shape', async (t) => {
  const { app } = await start(t, (app) => {
    app.post('/x', { bodyLimit: 10 }, async () => 'ok')
    app.post('/schema', { schema: { body: { type: 'object', required: ['a'] } } }, async () => 'ok')
    app.get('/p/:id', async () => 'ok')
  })
  const json = { 'content-type': 'application/json' }
  const cases = [
    ['a body that is too large', { method: 'POST', url: '/x', headers: json, payload: '"12345678901"' }, 413, 'GW_BODY_TOO_LARGE'],
    ['a media type that is not taken', { method: 'POST', url: '/x', headers: { 'content-type': 'a/b' }, payload: '1' }, 415, 'GW_MEDIA_TYPE_UNSUPPORTED'],
    ['a media type that is none', { method: 'POST', url: '/x', headers: { 'content-type': 'none' }, payload: '1' }, 415, 'GW_MEDIA_TYPE_UNSUPPORTED'],
    ['an empty body where JSON is announced', { method: 'POST', url: '/x', headers: json, payload: '' }, 400, 'GW_BODY_INVALID'],
    ['malformed JSON', { method: 'POST', url: '/x', headers: json, payload: '{' }, 400, 'GW_BODY_INVALID'],
    ['a body that fails its schema', { method: 'POST', url: '/schema', headers: json, payload: '{}' }, 400, 'GW_BODY_INVALID'],
    ['a path that is no path', { method: 'GET', url: '/p/%' }, 400, 'GW_PATH_AMBIGUOUS'],
    ['a path parameter that is too long', { method: 'GET', url: `/p/${'x'.repeat(200)}` }, 404, 'GW_ROUTE_NOT_FOUND'],
    ['a path that nothing is served at', { method: 'GET', url: '/nowhere' }, 404, 'GW_ROUTE_NOT_FOUND'],
  ] as const
  for (const [title, request, status, code] of cases) {
    const answer = await app.inject(request)
    t.equal(answer.statusCode, status, title)
    t.strictSame(Object.keys(answer.json()), ['error', 'error_description', 'code', 'request_id'], title)
    t.equal(answer.json().code, code, title)
    t.equal(answer.headers['x-request-id'], 'req-1', title)
  }
})

t.test('the answer to HEAD has no body, and the headers that GET would have had', async (t) => {
  const { app } = await start(t, () => {})
  await app.listen({ port: 0, host: '127.0.0.1' })
  const [head, get] = [await rawExchange(app, 'HEAD /x HTTP/1.1'), await rawExchange(app, 'GET /x HTTP/1.1')]
  t.match(head, /^HTTP\/1\.1 404 /)
  t.ok(head.endsWith('\r\n\r\n'))
  t.equal(/content-length: (\d+)/i.exec(head)?.[1], /content-length: (\d+)/i.exec(get)?.[1])
})

t.test('a refusal is one line at info: who, what and why, the pattern of the route and no URL', async (t) => {
  const { app, log } = await start(t, (app) => app.get('/things/:id', () => { throw new Refusal('GW_ACCESS_DENIED', { reason: 'needs a role' }) }))
  await app.inject('/things/7?access_token=very-secret')
  t.equal(log.lines().length, 1)
  const [line = {}] = log.lines()
  t.match(line, {
    level: 'info',
    request_id: 'req-1',
    method: 'GET',
    route: '/things/:id',
    status: 403,
    code: 'GW_ACCESS_DENIED',
    reason: 'needs a role',
    subject: 'alice-id',
    address: '127.0.0.1',
    duration_ms: Number,
    msg: 'request refused',
  })
  t.notMatch(log.text(), /very-secret|things\/7/)
})

t.test('a failure that was foreseen is one line at error, with the code of its cause and no stack', async (t) => {
  const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  const { app, log } = await start(t, (app) => app.get('/x', () => { throw new Refusal('GW_UPSTREAM_UNREACHABLE', { cause, reason: 'refused' }) }))
  t.equal((await app.inject('/x')).statusCode, 502)
  t.equal(log.lines().length, 1)
  t.match(log.lines()[0], { level: 'error', status: 502, code: 'GW_UPSTREAM_UNREACHABLE', cause: { code: 'ECONNREFUSED' }, msg: 'request failed' })
  t.notMatch(log.text(), '"stack"')
})

t.test('who is refused cannot make the gateway read on: the connection closes on a large or endless body', async (t) => {
  const { app } = await start(t, (app) => app.post('/x', { onRequest: () => { throw new Refusal('GW_TOKEN_MISSING') } }, async () => 'ok'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.match(await rawExchange(app, 'POST /x HTTP/1.1\r\nContent-Length: 100000000'), /connection: close/i)
  t.match(await rawExchange(app, 'POST /x HTTP/1.1\r\nTransfer-Encoding: chunked'), /connection: close/i)
  t.notMatch(await rawExchange(app, 'POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc'), /connection: close/i)
})

t.test('a client that goes away in the middle of its body is no failure of the gateway', async (t) => {
  const { app, log } = await start(t, (app) => app.post('/x', async () => 'ok'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect(portOf(app), '127.0.0.1')
  socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{')
  await new Promise((resolve) => app.server.once('request', resolve))
  socket.destroy()
  const refused = () => log.lines().find(({ code }) => code !== undefined)
  while (refused() === undefined) await new Promise((resolve) => setImmediate(resolve))
  t.match(refused(), { level: 'info', code: 'GW_REQUEST_INVALID', reason: 'the client went away' })
})

function portOf (app: FastifyInstance): number {
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

/** Sends bytes, and reads until an answer has come and the socket is still for a moment, or closed. */
async function rawExchange (app: FastifyInstance, request: string): Promise<string> {
  const socket = connect(portOf(app), '127.0.0.1')
  socket.setEncoding('latin1')
  const [head = '', body = ''] = request.split('\r\n\r\n')
  socket.write(`${head}\r\nHost: a\r\n\r\n${body}`)
  let received = ''
  socket.on('data', (chunk) => { received += chunk })
  await once(socket, 'data')
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.destroy()
  return received
}
