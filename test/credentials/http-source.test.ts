import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { generateCertificate } from '../helpers/certificate.ts'
import { localhostCertificate, localhostKey } from '../helpers/localhost-certificate.ts'
import { newFolder, openChain } from './sql-rig.ts'

const password = 'correct horse battery staple'

interface Asked { readonly url: string, readonly headers: IncomingMessage['headers'], readonly body: Record<string, unknown> }
type Answer = (response: ServerResponse, asked: Asked) => void

/** What an application answers: alice is one, mallory is locked out. */
const application: Answer = (response, { url, body }) => {
  const alice = { id: 42, email: 'alice@example.com', roles: ['admin'], secret_note: { nested: true } }
  if (url === '/find') answer(response, body['id'] === '42' ? 200 : 404, alice)
  else if (body['username'] === 'mallory') answer(response, 403, {})
  else answer(response, body['username'] === 'alice' && body['password'] === password ? 200 : 401, alice)
}

function answer (response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = { 'content-type': 'application/json' }): void {
  response.writeHead(status, headers).end(typeof value === 'string' ? value : JSON.stringify(value))
}

async function endpoint (t: Test, how: Answer = application, server: Server = createServer()) {
  const asked: Asked[] = []
  const state = { how, connections: 0 }
  server.on('connection', () => { state.connections++ })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => { text += chunk }).on('end', () => {
      const one = { url: request.url ?? '', headers: request.headers, body: JSON.parse(text) as Record<string, unknown> }
      asked.push(one)
      state.how(response, one)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { asked, state, server, port: (server.address() as AddressInfo).port }
}

const source = (port: number, changes: Record<string, unknown> = {}) => JSON.stringify({ type: 'http', url: `http://127.0.0.1:${port}/check`, ...changes })

t.test('an endpoint decides, and says who that is', async (t) => {
  const { port, asked } = await endpoint(t)
  const { chain } = await openChain(t, [source(port, { secret: 'shared between the two' })])
  const verdict = await chain.check({ username: 'alice', password })
  t.match(verdict, { source: 'http', subject: { id: 'http:42', name: 'alice', roles: ['admin'], scopes: [], attributes: { email: 'alice@example.com', secret_note: undefined } } })
  t.match(await chain.check({ username: 'alice', password: 'wrong' }), { subject: null, reason: 'no such user' })
  t.match(await chain.check({ username: 'mallory', password }), { subject: null, reason: 'http answers 403' })
  t.match(asked[0], { url: '/check', headers: { 'authorization': 'Bearer shared between the two', 'content-type': 'application/json' }, body: { username: 'alice', password } })
  if (verdict.subject === null) return
  t.strictSame(await chain.find(verdict.handle, verdict.subject.id), verdict.subject, 'it cannot be asked again: as at the login')
  t.equal(await chain.find(verdict.handle, 'http:43'), null)
  t.equal(asked.length, 3)
})

t.test('with findUrl every refresh sees what changed', async (t) => {
  const { port, asked, state } = await endpoint(t)
  const { chain } = await openChain(t, [source(port, { name: 'accounts', findUrl: `http://127.0.0.1:${port}/find`, secret: 's', secretHeader: 'X-Internal-Key', fields: { version: 'v' } })])
  const verdict = await chain.check({ username: 'alice', password })
  if (verdict.subject === null) throw new Error(verdict.reason)
  const find = async () => await chain.find(verdict.handle, 'accounts:42')
  t.match(await find(), { id: 'accounts:42', roles: ['admin'] })
  t.match(asked.at(-1), { url: '/find', headers: { 'x-internal-key': 's', 'authorization': undefined }, body: { id: '42', password: undefined } })
  state.how = (response) => { answer(response, 200, { id: 42, roles: ['staff'], v: 2 }) }
  t.match(await find(), { roles: ['staff'], credentialTag: String })
  for (const status of [401, 403, 404, 410]) {
    state.how = (response) => { answer(response, status, {}) }
    t.equal(await find(), null, String(status))
  }
  state.how = (response) => { answer(response, 200, { id: 42, disabled: true }) }
  t.equal(await find(), null)
  state.how = (response) => { answer(response, 200, { id: 43 }) }
  await t.rejects(find(), { code: 'GW_UNAVAILABLE' }, 'nobody becomes somebody else')
  state.how = (response) => { answer(response, 500, {}) }
  await t.rejects(find(), { code: 'GW_UNAVAILABLE' }, 'and nobody is logged out by a fault')
})

t.test('whatever is no clear answer is 503, and lets nobody in', async (t) => {
  const { port, state } = await endpoint(t)
  const json = { 'content-type': 'application/json' }
  const answers: [what: string, how: Answer][] = [
    ['a redirect', (response) => { answer(response, 302, '', { location: `http://127.0.0.1:${port}/elsewhere` }) }],
    ['a redirect that keeps the body', (response) => { answer(response, 307, '', { location: `http://127.0.0.1:${port}/elsewhere` }) }],
    ['no JSON', (response) => { answer(response, 200, '<html>', json) }],
    ['another type', (response) => { answer(response, 200, { id: 1 }, { 'content-type': 'text/html' }) }],
    ['a list', (response) => { answer(response, 200, [{ id: 1 }]) }],
    ['nothing', (response) => { answer(response, 204, '') }],
    ['no id', (response) => { answer(response, 200, { name: 'x' }) }],
    ['an id that is a list', (response) => { answer(response, 200, { id: ['x'] }) }],
    ['an empty id', (response) => { answer(response, 200, { id: '' }) }],
    ['an id that is no whole number', (response) => { answer(response, 200, { id: 1.5 }) }],
    ['an id with a line feed', (response) => { answer(response, 200, { id: '1\r\nX-User-Roles: admin' }) }],
    ['roles that travel as two', (response) => { answer(response, 200, { id: 1, roles: ['staff,admin'] }) }],
    ['roles of another kind', (response) => { answer(response, 200, { id: 1, roles: { admin: true } }) }],
    ['too much', (response) => { answer(response, 200, { id: 1, filler: 'x'.repeat(20_000) }) }],
    ['far too much, without a length', (response) => { response.writeHead(200, json); const write = () => { while (response.write('x'.repeat(60_000))); response.once('drain', write) }; write() }],
    ['no UTF-8', (response) => { response.writeHead(200, json).end(Buffer.from('7b226964223a22ff227d', 'hex')) }],
    ['half an answer', (response) => { response.writeHead(200, { ...json, 'content-length': '100' }).write('{"id":1}'); setTimeout(() => { response.destroy() }, 10) }],
    ['a closed door', (response) => { response.destroy() }],
    ['silence', () => {}],
  ]
  for (const [what, how] of answers) {
    state.how = how
    const { chain } = await openChain(t, [source(port, { timeout: '200ms' })])
    const refused: unknown = await chain.check({ username: 'alice', password }).catch((error: unknown) => error)
    t.match(refused, { code: 'GW_UNAVAILABLE', statusCode: 503, details: { retryAfterSeconds: 2, reason: /^credentials: http: / } }, what)
    t.notMatch(JSON.stringify(refused), password)
    await chain.close()
  }
  state.how = (response) => { answer(response, 429, {}, { 'retry-after': '17' }) }
  const { chain } = await openChain(t, [source(port)])
  t.match(await chain.check({ username: 'alice', password }).catch((error: unknown) => error), { details: { retryAfterSeconds: 17 } })
})

t.test('what was sent is not sent again, what could not be is tried once more', async (t) => {
  const { port, asked, state, server } = await endpoint(t, (response) => { response.destroy() })
  const { chain } = await openChain(t, [source(port)])
  await t.rejects(chain.check({ username: 'alice', password }), { code: 'GW_UNAVAILABLE' })
  t.equal(asked.length, 1)
  state.how = application
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
  // Up again between the first try and the second.
  const login = chain.check({ username: 'alice', password })
  setTimeout(() => { server.listen(port, '127.0.0.1') }, 20)
  t.match(await login, { subject: { id: 'http:42' } })
})

t.test('after a few failures nobody waits for it; one question in five seconds finds out whether it is back', async (t) => {
  const { port, asked, state } = await endpoint(t, (response) => { answer(response, 500, {}) })
  const { chain, warnings, clock } = await openChain(t, [source(port)])
  const refusal = async () => await chain.check({ username: 'alice', password }).then(() => null, (error: unknown) => error)
  for (let time = 0; time < 5; time++) t.match(await refusal(), { details: { reason: 'credentials: http: it answers 500' } })
  t.match(await refusal(), { code: 'GW_UNAVAILABLE', details: { reason: /is down/, retryAfterSeconds: 5 } })
  t.equal(asked.length, 5)
  clock.now += 5_000
  t.match(await Promise.all([refusal(), refusal(), refusal()]), [{ details: { reason: /answers 500/ } }, { details: { reason: /is down/ } }, { details: { reason: /is down/ } }])
  t.equal(asked.length, 6)
  state.how = application
  clock.now += 5_000
  t.equal(await refusal(), null)
  t.equal(await refusal(), null)
  t.match(warnings, [/does not answer; logins that need it are refused with 503/, /answers again/])
})

t.test('a wrong password is no failure of the endpoint', async (t) => {
  const { port, asked } = await endpoint(t)
  const { chain } = await openChain(t, [source(port)])
  for (let time = 0; time < 12; time++) t.match(await chain.check({ username: 'alice', password: 'wrong' }), { subject: null })
  t.equal(asked.length, 12)
})

t.test('no more questions at a time than configured; who waits too long is told to come again', async (t) => {
  const { port, state } = await endpoint(t, (response) => { setTimeout(() => { answer(response, 401, {}) }, 300) })
  const { chain } = await openChain(t, [source(port, { connections: 1, timeout: '500ms' })])
  const outcomes = await Promise.all(Array.from({ length: 20 }, async () => await chain.check({ username: 'x', password }).then(({ subject }) => subject, (error: unknown) => error)))
  t.equal(state.connections, 1)
  t.equal(outcomes.filter((outcome) => outcome === null).length, 2)
  t.match(outcomes.filter((outcome) => outcome !== null)[0], { code: 'GW_UNAVAILABLE', details: { reason: /^credentials: http: (the queue is full|waited too long)/ } })
})

t.test('mutual TLS: the gateway shows its certificate, and takes none that its CA does not know', async (t) => {
  const folder = newFolder(t)
  const client = generateCertificate()
  writeFileSync(join(folder, 'ca.pem'), localhostCertificate)
  writeFileSync(join(folder, 'client.pem'), client.cert)
  writeFileSync(join(folder, 'client-key.pem'), client.key)
  writeFileSync(join(folder, 'other.pem'), generateCertificate().cert)
  const server = createTlsServer({ cert: localhostCertificate, key: localhostKey, requestCert: true, rejectUnauthorized: true, ca: client.cert })
  let shown: string | undefined
  const { port, asked } = await endpoint(t, (response, one) => { application(response, one) }, server as unknown as Server)
  server.on('secureConnection', (socket: TLSSocket) => { shown = socket.getPeerCertificate().subject.CN as string | undefined })
  const files = (ca: string) => ({ ca: join(folder, ca), cert: join(folder, 'client.pem'), key: join(folder, 'client-key.pem') })
  const open = async (tls: Record<string, string>) => (await openChain(t, [source(port, { url: `https://localhost:${port}/check`, tls })])).chain
  t.match(await (await open(files('ca.pem'))).check({ username: 'alice', password }), { subject: { id: 'http:42' } })
  t.equal(shown, 'gateway.test')
  t.equal(asked.length, 1)
  await t.rejects((await open({ ca: join(folder, 'ca.pem') })).check({ username: 'alice', password }), { code: 'GW_UNAVAILABLE' }, 'without a certificate')
  await t.rejects((await open(files('other.pem'))).check({ username: 'alice', password }), { code: 'GW_UNAVAILABLE' }, 'another CA')
  await t.rejects((await open({})).check({ username: 'alice', password }), { code: 'GW_UNAVAILABLE' }, 'no CA')
  t.equal(asked.length, 1, 'no password left the gateway')
  await t.rejects(open({ ca: join(folder, 'none.pem') }), { name: 'StartupFault', message: /^credentials: tls\.ca: .*none\.pem cannot be read \(ENOENT\)/ })
})
