import t, { type Test } from 'tap'
import Fastify, { LogController, type FastifyInstance } from 'fastify'
import { bodyLimit, formOf, jsonObject, takeForms, takeJson, textMember } from '../../src/login/body.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { createLogSink } from '../ops/log-sink.ts'

async function start (t: Test, routes: (app: FastifyInstance) => void) {
  const app = Fastify({ loggerInstance: createLogSink().logger, logController: new LogController({ disableRequestLogging: true }) }) as unknown as FastifyInstance
  await app.register(errorHandler, { refuse: createRefuse({ realm: 'r' }) })
  await app.register(async (scope) => { routes(scope) })
  t.teardown(() => app.close())
  return {
    async post (contentType: string | undefined, payload: string | Buffer, headers = {}) {
      const answer = await app.inject({ method: 'POST', url: '/x', headers: { ...(contentType === undefined ? {} : { 'content-type': contentType }), ...headers }, payload })
      return { status: answer.statusCode, body: answer.json() }
    },
  }
}

const echoJson = (app: FastifyInstance) => {
  takeJson(app)
  app.post('/x', async ({ body }) => body === undefined ? { none: true } : { name: textMember(jsonObject(body), 'name', 5) })
}

const echoForm = (app: FastifyInstance) => {
  takeForms(app)
  app.post('/x', async ({ body }) => [...formOf(body)])
}

t.test('JSON: application/json is taken, with charset=utf-8 or without', async (t) => {
  const { post } = await start(t, echoJson)
  for (const type of ['application/json', 'Application/JSON', 'application/json;charset=utf-8', 'application/json; charset=UTF-8', 'application/json ; charset="utf-8"']) {
    t.strictSame(await post(type, '{"name":"x"}'), { status: 200, body: { name: 'x' } }, type)
  }
})

t.test('JSON: any other content type is 415, and so is one that only begins like it', async (t) => {
  const { post } = await start(t, echoJson)
  const types = [
    undefined, '', 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'application/json+x', 'application/problem+json',
    'application/json; charset=utf-16', 'application/json; charset=utf-8; x=1', 'application/json;', 'application/json, text/plain',
    'text/plain; a=application/json', 'application/json\t; boundary=x', ' application/json;a', 'application / json', 'multipart/form-data; boundary=x',
  ]
  for (const type of types) t.match(await post(type, '{"name":"x"}'), { status: 415, body: { code: 'GW_MEDIA_TYPE_UNSUPPORTED' } }, JSON.stringify(type))
})

t.test('a body in a content encoding is 415', async (t) => {
  const { post } = await start(t, echoJson)
  t.match(await post('application/json', '{"name":"x"}', { 'content-encoding': 'gzip' }), { status: 415 })
  t.match(await post('application/json', '{"name":"x"}', { 'content-encoding': 'identity' }), { status: 200 })
})

t.test('JSON: what is malformed is 400 GW_BODY_INVALID', async (t) => {
  const { post } = await start(t, echoJson)
  const bodies = [
    '{', '{"name":"x"} x', 'name=x', "{'name':'x'}", '{"name":"x",}', '"text"', '[]', 'null', '7', '{}', '{"name":7}', '{"name":null}', '{"name":["x"]}', '{"name":"longer"}',
    '{"name":"\\ud800"}', '\u0000',
  ]
  for (const body of bodies) t.match(await post('application/json', body), { status: 400, body: { error: 'invalid_request', code: 'GW_BODY_INVALID' } }, JSON.stringify(body))
  t.match(await post('application/json', Buffer.from([0x7b, 0x22, 0x6e, 0xff, 0x22, 0x7d])), { status: 400, body: { code: 'GW_BODY_INVALID' } }, 'not UTF-8')
})

t.test('JSON: keys that would reach a prototype are 400', async (t) => {
  const { post } = await start(t, echoJson)
  for (const body of ['{"name":"x","__proto__":{"admin":true}}', '{"__proto__":{"name":"x"}}', '{"name":"x","\\u005f_proto__":{}}', '{"name":"x","constructor":{"prototype":{"admin":true}}}']) {
    t.match(await post('application/json', body), { status: 400, body: { code: 'GW_BODY_INVALID' } }, JSON.stringify(body))
  }
  t.notOk('admin' in {})
})

t.test('JSON: a member that stands twice is 400, in any spelling and at any depth', async (t) => {
  const { post } = await start(t, echoJson)
  for (const body of ['{"name":"x","name":"y"}', '{"name":"x","n\\u0061me":"y"}', '{"name":"x","more":{"a":1,"a":2}}']) {
    t.match(await post('application/json', body), { status: 400, body: { code: 'GW_BODY_INVALID' } }, body)
  }
})

t.test('JSON: what is nested deeper than any body of ours is 400', async (t) => {
  const { post } = await start(t, echoJson)
  const nested = (depth: number) => `{"name":"x","more":${'['.repeat(depth)}${']'.repeat(depth)}}`
  t.match(await post('application/json', nested(15)), { status: 200, body: { name: 'x' } })
  for (const depth of [16, 100, 8000]) t.match(await post('application/json', nested(depth)), { status: 400, body: { code: 'GW_BODY_INVALID' } })
  t.match(await post('application/json', '['.repeat(16_000)), { status: 400 })
})

t.test('an empty body is none, whatever its type', async (t) => {
  const { post } = await start(t, echoJson)
  t.strictSame(await post('application/json', ''), { status: 200, body: { none: true } })
  t.strictSame(await post('text/plain', ''), { status: 200, body: { none: true } })
})

t.test('a body above the limit is 413, of either kind', async (t) => {
  const json = await start(t, echoJson)
  const large = JSON.stringify({ name: 'x', more: 'y'.repeat(bodyLimit) })
  t.match(await json.post('application/json', large), { status: 413, body: { code: 'GW_BODY_TOO_LARGE' } })
  const form = await start(t, echoForm)
  t.match(await form.post('application/x-www-form-urlencoded', `a=${'y'.repeat(bodyLimit)}`), { status: 413, body: { code: 'GW_BODY_TOO_LARGE' } })
})

const form = 'application/x-www-form-urlencoded'

t.test('forms are decoded as RFC 6749 appendix B says', async (t) => {
  const { post } = await start(t, echoForm)
  t.strictSame(await post(form, 'a=b+c&d=%2B%26%3D&%C3%A9=%E2%82%AC&&'), { status: 200, body: [['a', 'b c'], ['d', '+&='], ['é', '€']] })
  t.strictSame(await post(`${form}; charset=UTF-8`, 'a=b=c'), { status: 200, body: [['a', 'b=c']] })
})

t.test('a parameter without a value was not sent (RFC 6749 §3.2)', async (t) => {
  const { post } = await start(t, echoForm)
  t.strictSame(await post(form, 'a=&b&c=1'), { status: 200, body: [['c', '1']] })
})

t.test('a repeated parameter is invalid_request (RFC 6749 §3.2)', async (t) => {
  const { post } = await start(t, echoForm)
  for (const body of ['a=1&a=2', 'a=1&a=1', 'a=1&%61=2', 'a=&a=1', 'a&a']) {
    t.match(await post(form, body), { status: 400, body: { error: 'invalid_request', code: 'GW_BODY_INVALID' } }, JSON.stringify(body))
  }
})

t.test('malformed percent-encoding is invalid_request', async (t) => {
  const { post } = await start(t, echoForm)
  for (const body of ['a=%', 'a=%zz', 'a=%ff', '%=1', 'a=%ed%a0%80']) t.match(await post(form, body), { status: 400, body: { code: 'GW_BODY_INVALID' } }, JSON.stringify(body))
})

t.test('forms take no other type, and no prototype', async (t) => {
  const { post } = await start(t, echoForm)
  t.match(await post('application/json', '{"a":1}'), { status: 415 })
  t.match(await post('multipart/form-data; boundary=x', '--x--'), { status: 415 })
  t.strictSame(await post(form, '__proto__=1&constructor=2'), { status: 200, body: [['__proto__', '1'], ['constructor', '2']] })
})
