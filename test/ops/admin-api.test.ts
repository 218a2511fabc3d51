import t, { type Test } from 'tap'
import Fastify, { LogController } from 'fastify'
import { adminApi, type AdminApiOptions } from '../../src/ops/admin-api.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { createMetrics } from '../../src/ops/metrics.ts'
import { createLogSink } from './log-sink.ts'

async function start (t: Test, checks: AdminApiOptions['checks'], checkTimeout?: number) {
  const log = createLogSink()
  const metrics = createMetrics({
    tokenCache: () => ({ hits: 0, misses: 0, refused: 0, size: 0 }),
    passwordHashing: () => ({ running: 0, queued: 0, rejected: 0 }),
    liveConnections: () => ({ websocket: 0, stream: 0 }),
    endedSessions: () => 0,
    revocationLag: () => 0,
  })
  const app = Fastify({ loggerInstance: log.logger, logController: new LogController({ disableRequestLogging: true }) })
  await app.register(errorHandler, { refuse: createRefuse({ realm: 'admin' }) })
  await app.register(adminApi, { checks, metrics, ...(checkTimeout === undefined ? {} : { checkTimeout }) })
  t.teardown(async () => { metrics.close(); await app.close() })
  return { app, log }
}

t.test('GET /livez is 200 for as long as the process serves, whatever the checks say', async (t) => {
  const { app } = await start(t, { storage: () => { throw new Error('down') } })
  const answer = await app.inject('/livez')
  t.equal(answer.statusCode, 200)
  t.strictSame(answer.json(), { status: 'alive' })
  t.equal(answer.headers['cache-control'], 'no-store')
})

t.test('GET /readyz is 200 when every check passes, and names each', async (t) => {
  const { app } = await start(t, { storage: async () => {}, keys: () => {}, draining: () => {} })
  const answer = await app.inject('/readyz')
  t.equal(answer.statusCode, 200)
  t.strictSame(answer.json(), { status: 'ready', checks: { storage: 'ok', keys: 'ok', draining: 'ok' } })
})

t.test('GET /readyz is 503 when one fails, and says which but not how', async (t) => {
  const { app } = await start(t, { storage: async () => { throw new Error('postgres://user:hunter2@db') }, keys: () => {} })
  const answer = await app.inject('/readyz')
  t.equal(answer.statusCode, 503)
  t.strictSame(answer.json(), { status: 'unready', checks: { storage: 'failed', keys: 'ok' } })
})

t.test('a check that hangs is 503 in short time, and is not asked again while it does', async (t) => {
  const asked: Array<() => void> = []
  const { app } = await start(t, { storage: () => new Promise((resolve) => { asked.push(resolve) }) }, 20)
  t.strictSame((await app.inject('/readyz')).json().checks, { storage: 'timeout' })
  t.equal((await app.inject('/readyz')).statusCode, 503)
  t.equal(asked.length, 1)
  asked[0]?.()
  await new Promise((resolve) => setImmediate(resolve))
  const later = app.inject('/readyz')
  while (asked.length === 1) await new Promise((resolve) => setImmediate(resolve))
  asked[1]?.()
  t.equal((await later).statusCode, 200)
})

t.test('only a change of readiness is logged', async (t) => {
  let up = true
  const { app, log } = await start(t, { storage: () => { if (!up) throw new Error('down') } })
  for (const now of [true, true, false, false, true]) {
    up = now
    await app.inject('/readyz')
  }
  t.match(log.lines(), [{ level: 'info', msg: 'ready' }, { level: 'warn', storage: 'failed', msg: 'not ready' }, { level: 'info', msg: 'ready' }])
  t.equal(log.lines().length, 3)
})

t.test('GET /metrics is Prometheus text', async (t) => {
  const { app } = await start(t, {})
  const answer = await app.inject('/metrics')
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  t.match(answer.body, '# TYPE gatewarden_requests_total counter')
})

t.test('HEAD is answered where GET is, without a body', async (t) => {
  const { app } = await start(t, { storage: () => { throw new Error('down') } })
  for (const [url, status] of [['/livez', 200], ['/readyz', 503], ['/metrics', 200]] as const) {
    const answer = await app.inject({ method: 'HEAD', url })
    t.equal(answer.statusCode, status, url)
    t.equal(answer.body, '', url)
  }
})

t.test('anything else is 404 in the one shape', async (t) => {
  const { app } = await start(t, {})
  for (const request of [{ method: 'GET', url: '/' }, { method: 'GET', url: '/auth/login' }, { method: 'POST', url: '/livez' }] as const) {
    const answer = await app.inject(request)
    t.equal(answer.statusCode, 404)
    t.match(answer.json(), { error: 'not_found', error_description: String, code: 'GW_ROUTE_NOT_FOUND', request_id: String })
  }
})
