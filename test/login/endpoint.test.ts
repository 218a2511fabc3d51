import t, { type Test } from 'tap'
import Fastify, { LogController, type FastifyInstance } from 'fastify'
import { endpoint, type Handlers } from '../../src/login/endpoint.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { createLogSink } from '../ops/log-sink.ts'

async function start (t: Test, handlers: Handlers) {
  const observed: [string, number][] = []
  const app = Fastify({ loggerInstance: createLogSink().logger, logController: new LogController({ disableRequestLogging: true }), exposeHeadRoutes: false }) as unknown as FastifyInstance
  app.addHttpMethod('PROPFIND', { hasBody: true })
  await app.register(errorHandler, { refuse: createRefuse({ realm: 'r' }) })
  await app.register(async (scope) => {
    endpoint(scope, '/x', handlers, (pattern) => (status) => { observed.push([pattern, status]) })
  })
  // What a gateway has beside it: a route that takes everything.
  app.all('/*', async () => 'the upstream')
  t.teardown(() => app.close())
  return { app, observed }
}

t.test('HEAD is served where GET is, without a body', async (t) => {
  const { app } = await start(t, { GET: async () => ({ a: 1 }) })
  const answer = await app.inject({ method: 'HEAD', url: '/x' })
  t.equal(answer.statusCode, 200)
  t.equal(answer.body, '')
  t.equal(answer.headers['content-length'], '7')
})

t.test('OPTIONS is 204 with what is allowed', async (t) => {
  const { app } = await start(t, { GET: async () => 'x', DELETE: async () => 'x' })
  const answer = await app.inject({ method: 'OPTIONS', url: '/x', headers: { 'content-type': 'what/ever' }, payload: '{' })
  t.equal(answer.statusCode, 204)
  t.equal(answer.headers.allow, 'GET, HEAD, DELETE, OPTIONS')
  t.equal(answer.body, '')
})

t.test('other methods are 405 with Allow, whatever their body, and reach no route', async (t) => {
  const { app } = await start(t, { POST: async () => 'x' })
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND'] as const) {
    const answer = await app.inject({ method: method as 'GET', url: '/x', headers: { 'content-type': 'what/ever' }, ...(method === 'PUT' ? { payload: '{' } : {}) })
    t.equal(answer.statusCode, 405, method)
    t.equal(answer.headers.allow, 'POST, OPTIONS', method)
    if (method !== 'HEAD') t.equal(answer.json().code, 'GW_METHOD_NOT_ALLOWED', method)
  }
})

t.test('every answer is observed under the pattern of its path', async (t) => {
  const { app, observed } = await start(t, { GET: async () => 'x' })
  await app.inject('/x?a=b')
  await app.inject({ method: 'HEAD', url: '/x' })
  await app.inject({ method: 'OPTIONS', url: '/x' })
  await app.inject({ method: 'POST', url: '/x' })
  t.strictSame(observed, [['/x', 200], ['/x', 200], ['/x', 204], ['/x', 405]])
})
