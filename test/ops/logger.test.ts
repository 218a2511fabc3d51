import t from 'tap'
import Fastify, { LogController } from 'fastify'
import { Refusal } from '../../src/errors.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { accessLog, logAuthEvent, scrub } from '../../src/ops/logger.ts'
import { createLogSink } from './log-sink.ts'

const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl'
const refreshToken = 'k3J9x_Zq1w8VtR5uY2nB7mP0sD4fG6hL-aCeIoKjXzQ'
const passwordHash = '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g'

t.test('a line has a level by its name and a time in ISO 8601, and tells neither pid nor host', async (t) => {
  const log = createLogSink()
  log.logger.info({ a: 1 }, 'hello')
  const [line = {}] = log.lines()
  t.strictSame(Object.keys(line), ['level', 'time', 'a', 'msg'])
  t.match(line, { level: 'info', time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, msg: 'hello' })
})

t.test('what is named like a secret is redacted, one level down too', async (t) => {
  const log = createLogSink()
  for (const name of ['password', 'refresh_token', 'access_token', 'client_secret', 'authorization', 'Authorization', 'cookie', 'headers', 'body', 'url', 'query']) {
    log.logger.info({ [name]: 'hunter2', inner: { [name]: 'hunter2' } })
  }
  t.notMatch(log.text(), 'hunter2')
  t.match(log.text(), '[redacted]')
})

t.test('what looks like a secret is taken out of texts', async (t) => {
  t.equal(scrub(`got ${jwt} here`), 'got [jwt] here')
  t.equal(scrub(`Authorization: Bearer ${jwt}`), 'Authorization: Bearer [jwt]')
  t.equal(scrub('bearer opaque-token'), 'bearer [redacted]')
  t.equal(scrub('basic dXNlcjpwYXNz!'), 'basic [redacted]!')
  t.equal(scrub(`unknown ${refreshToken}`), 'unknown [redacted]')
  t.equal(scrub(`bad hash ${passwordHash}`), 'bad hash [password hash]')
  t.equal(scrub('$2b$12$abcdefghijklmnopqrstuv'), '[password hash]')
  t.equal(scrub('postgres://user:pa:ss@db/x failed'), 'postgres://[redacted]@db/x failed')
  t.equal(scrub('-----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY----- end'), '[private key] end')
  t.equal(scrub('-----BEGIN EC PRIVATE KEY-----\nMIGH'), '[private key]')
  t.equal(scrub('an ordinary sentence, /api/things and ECONNREFUSED 10.0.0.1:3000'), 'an ordinary sentence, /api/things and ECONNREFUSED 10.0.0.1:3000')
})

t.test('an error is told with its causes and its stack, without the secrets in either', async (t) => {
  const log = createLogSink()
  const cause = Object.assign(new Error(`cannot use ${passwordHash}`), { code: 'EHASH', password: 'hunter2' })
  log.logger.error({ err: new Error(`while reading ${refreshToken}`, { cause }) })
  const [line] = log.lines()
  t.match(line, { err: { type: 'Error', message: 'while reading [redacted]', stack: String, cause: { code: 'EHASH', message: 'cannot use [password hash]', stack: String } } })
  t.notMatch(log.text(), /hunter2|argon2id|k3J9x/)
})

t.test('a message is searched like the rest, its own or that of an error', async (t) => {
  const log = createLogSink()
  const error = new Error(`failed at ${refreshToken}`)
  log.logger.error(error)
  log.logger.error({ err: error })
  log.logger.error({ err: error }, error.message)
  log.logger.error(error.message)
  log.logger.info('%s of %d', 'one', 2)
  t.match(log.lines(), [...Array(4).fill({ msg: 'failed at [redacted]' }), { msg: 'one of 2' }])
  t.notMatch(log.text(), refreshToken)
})

t.test('a line without a message has none', async (t) => {
  const log = createLogSink()
  log.logger.info({ a: 1 })
  t.notOk('msg' in (log.lines()[0] ?? {}))
})

t.test('a cause that is its own cause ends somewhere', async (t) => {
  const log = createLogSink()
  const error = new Error('round')
  error.cause = error
  log.logger.error({ err: error })
  t.equal(log.lines().length, 1)
})

t.test('a request or an answer that somebody logs shows no URL and no header', async (t) => {
  const log = createLogSink()
  log.logger.info({ req: { method: 'GET', url: '/x?token=hunter2', headers: { authorization: 'hunter2' } }, res: { statusCode: 200, headers: { 'set-cookie': 'hunter2' } } })
  t.match(log.lines()[0], { req: { method: 'GET' }, res: { statusCode: 200 } })
  t.notMatch(log.text(), 'hunter2')
})

t.test('each auth event is one line; a reuse is a warning', async (t) => {
  const log = createLogSink()
  logAuthEvent(log.logger, { event: 'login', request_id: 'r', subject: 'alice', session_id: 's', client_id: 'app', source: 'store', address: '::1' })
  logAuthEvent(log.logger, { event: 'reuse', subject: 'alice', session_id: 's' })
  t.match(log.lines(), [
    { level: 'info', event: 'login', request_id: 'r', subject: 'alice', session_id: 's', client_id: 'app', source: 'store', address: '::1', msg: 'auth' },
    { level: 'warn', event: 'reuse', subject: 'alice', session_id: 's', msg: 'auth' },
  ])
  t.equal(log.lines().length, 2)
})

t.test('the access log has a line for each request: those refused keep the one they have', async (t) => {
  const log = createLogSink()
  const refuse = createRefuse({ realm: 'r' })
  const app = Fastify({ loggerInstance: log.logger, logController: new LogController({ disableRequestLogging: true }), genReqId: () => 'req-1' })
  await app.register(errorHandler, { refuse })
  await app.register(accessLog, { routeOf: () => '/pattern', subjectOf: () => 'alice' })
  app.get('/ok', async () => 'ok')
  app.get('/refused', async () => { throw new Refusal('GW_ACCESS_DENIED') })
  await app.inject('/ok?token=hunter2')
  await app.inject('/refused?token=hunter2')
  t.match(log.lines(), [
    { level: 'info', request_id: 'req-1', method: 'GET', route: '/pattern', subject: 'alice', address: '127.0.0.1', status: 200, duration_ms: Number, msg: 'request' },
    { level: 'info', status: 403, msg: 'request refused' },
  ])
  t.equal(log.lines().length, 2)
  t.notMatch(log.text(), 'hunter2')
  await app.close()
})
