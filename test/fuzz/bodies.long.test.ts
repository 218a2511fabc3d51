/** What comes as a body, or as a client's credentials: read in one way, or refused in our words. Never a 500, never a prototype. */
import t from 'tap'
import Fastify, { LogController, type FastifyInstance, type FastifyRequest } from 'fastify'
import fc from 'fast-check'
import { Refusal } from '../../src/errors.ts'
import { decodeFormText, formOf, formParameter, jsonObject, takeForms, takeJson, textMember } from '../../src/login/body.ts'
import { createClientAuthentication } from '../../src/login/client-authentication.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { createLogSink } from '../ops/log-sink.ts'
import { holds, isWellFormed, mixtureOf, slipsOf } from './property.ts'

const app = Fastify({ loggerInstance: createLogSink().logger, logController: new LogController({ disableRequestLogging: true }) }) as unknown as FastifyInstance
await app.register(errorHandler, { refuse: createRefuse({ realm: 'r' }) })
await app.register(async (scope) => {
  takeJson(scope)
  scope.post('/json', async ({ body }) => ({ name: textMember(jsonObject(body), 'name', 20), own: Object.keys(jsonObject(body)) }))
})
await app.register(async (scope) => {
  takeForms(scope)
  scope.post('/form', async ({ body }) => ({ name: formParameter(formOf(body), 'name', 20), own: [...formOf(body).keys()] }))
})
t.teardown(() => app.close())

const types = fc.oneof({ weight: 3, arbitrary: fc.constantFrom('application/json', 'application/x-www-form-urlencoded') },
  { weight: 1, arbitrary: mixtureOf(['application/json', 'application/x-www-form-urlencoded', ';', ' ', 'charset=utf-8', '"', ',', 'text/plain', '\t']).map((type) => type.replace(/[^\t\x20-\x7e]/g, '')) })

async function post (url: string, type: string, payload: Buffer): Promise<string | undefined> {
  const { statusCode, body } = await app.inject({ method: 'POST', url, headers: { 'content-type': type }, payload })
  const said = JSON.parse(body) as { code?: string, name?: unknown, own?: string[] }
  if (statusCode === 200) {
    if (typeof said.name !== 'string' || said.name.length > 20 || !isWellFormed(said.name)) return 'a name that is none'
    return said.own?.includes('__proto__') === true && url === '/json' ? 'a prototype as a member' : undefined
  }
  return (statusCode === 400 || statusCode === 415 || statusCode === 413) && said.code?.startsWith('GW_') === true ? undefined : `${statusCode} ${body}`
}

await t.test('bodies', async (t) => {
  const json = fc.oneof(fc.json().map(Buffer.from), fc.dictionary(fc.constantFrom('name', '__proto__', 'constructor', 'x'), fc.jsonValue({ maxDepth: 2 })).map((value) => Buffer.from(JSON.stringify(value))),
    slipsOf('{"name":"alice","constructor":{"prototype":{"x":1}}}', [...'{}[]",:\\ux0 \0', '"__proto__":', '\ud800']).map((text) => Buffer.from(text)), fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)))
  await holds(t, 'any bytes as JSON', 300, fc.tuple(types, json), async ([type, body]) => await post('/json', type, body))
  const form = fc.oneof(mixtureOf(['name', '=', '&', '%', '%41', '%zz', '%c3%28', '+', '%00', 'name=alice', '__proto__', '[]', ';', '%f0%9f%94%91', '\xff']).map((text) => Buffer.from(text, 'latin1')), fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)))
  await holds(t, 'any bytes as a form', 300, fc.tuple(types, form), async ([type, body]) => await post('/form', type, body))
  t.equal(({} as { x?: unknown }).x, undefined, 'nothing got onto the prototype of all objects')
})

await t.test('form text', async (t) => {
  await holds(t, 'what URLSearchParams writes is read back', 500, fc.string({ unit: 'binary' }), (text) => {
    if (!isWellFormed(text)) return undefined
    return decodeFormText(new URLSearchParams({ a: text }).toString().slice(2)) === text ? undefined : 'another text'
  })
})

await t.test('client credentials', async (t) => {
  const clients = [{ id: 'app' }, { id: 'orders', secret: 's3cret+/%=' }, { id: 'a:b', secret: 'x' }]
  const authenticate = createClientAuthentication(clients)
  const ask = (authorization: readonly string[], form: Readonly<Record<string, string>>): string | undefined => {
    try {
      // A stand-in: of a request, this function reads one header.
      const client = authenticate({ raw: { rawHeaders: authorization.flatMap((value) => ['Authorization', value]) } } as unknown as Pick<FastifyRequest, 'raw'>, new Map(Object.entries(form)))
      return client?.confidential === true ? `confidential ${client.id}` : undefined
    } catch (error) {
      return error instanceof Refusal && (error.code === 'GW_CLIENT_INVALID' || error.code === 'GW_REQUEST_INVALID') ? undefined : `threw ${String(error)}`
    }
  }
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  t.equal(ask([basic('orders:s3cret+/%=')], {}), 'confidential orders')

  await holds(t, 'without the secret nobody is a confidential client', 800, fc.tuple(fc.array(fc.oneof(
    mixtureOf(['app', 'orders', ':', '%3a', '+', 's3cret', 'x', '', '\0', 'a:b', 'a%3Ab']).map(basic), mixtureOf(['Basic ', 'basic', ' ', 'b3JkZXJz', 'Og==', '=', ',', 'Bearer ']), fc.string({ unit: 'binary' })), { maxLength: 2 }),
  fc.dictionary(fc.constantFrom('client_id', 'client_secret', 'grant_type'), fc.constantFrom('app', 'orders', 'x', '', '__proto__', 'toString', 'gatewarden'))), ([authorization, form]) => {
    const outcome = ask(authorization, form)
    // The one of a single letter is guessed at times, and then it is right.
    return outcome === 'confidential a:b' ? undefined : outcome
  })
  await holds(t, 'a secret with slips is none', 500, slipsOf('orders:s3cret+/%=', [...'abcorders3t+/%=: \0', '%2B', '%25']), (text) => {
    // RFC 6749 §2.3.1 has the pair form-encoded, and as it stands is taken as well.
    const colon = text.indexOf(':')
    const [id, secret] = [text.slice(0, colon), text.slice(colon + 1)]
    const right = [[id, secret], [decodeFormText(id), decodeFormText(secret)]].some(([one, other]) => one === 'orders' && other === 's3cret+/%=')
    const outcome = ask([basic(text)], {})
    return right === (outcome === 'confidential orders') ? undefined : String(outcome)
  })
})
