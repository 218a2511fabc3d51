import t from 'tap'
import type { FastifyRequest } from 'fastify'
import { Refusal } from '../../src/errors.ts'
import { createClientAuthentication } from '../../src/login/client-authentication.ts'

const authenticate = createClientAuthentication([
  { id: 'app' },
  { id: 'orders-api', secret: 's3cret+/%=' },
  { id: 'späti:client', secret: 'pä ss' },
])

type Request = Pick<FastifyRequest, 'raw'>

function ask (form: Record<string, string>, ...authorization: string[]) {
  const raw = { rawHeaders: authorization.flatMap((value) => ['Authorization', value]) }
  try {
    // A stand-in: of a request, this function reads one header.
    return authenticate({ raw } as unknown as Request, new Map(Object.entries(form)))
  } catch (thrown) {
    if (thrown instanceof Refusal) return thrown.code
    throw thrown
  }
}

const basic = (id: string, secret: string) => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
const encoded = (id: string, secret: string) => basic(encodeURIComponent(id).replaceAll('%20', '+'), encodeURIComponent(secret).replaceAll('%20', '+'))

t.test('a request that names no client has none', async (t) => {
  t.equal(ask({}), null)
})

t.test('a public client is who it says, without a secret', async (t) => {
  t.strictSame(ask({ client_id: 'app' }), { id: 'app', confidential: false })
  t.strictSame(ask({}, basic('app', '')), { id: 'app', confidential: false })
})

t.test('a confidential client authenticates by form or by Basic', async (t) => {
  t.strictSame(ask({ client_id: 'orders-api', client_secret: 's3cret+/%=' }), { id: 'orders-api', confidential: true })
  t.strictSame(ask({}, encoded('orders-api', 's3cret+/%=')), { id: 'orders-api', confidential: true })
  t.strictSame(ask({ client_id: 'orders-api' }, encoded('orders-api', 's3cret+/%=')), { id: 'orders-api', confidential: true })
})

t.test('id and secret of Basic are form-encoded (RFC 6749 §2.3.1)', async (t) => {
  t.strictSame(ask({}, encoded('späti:client', 'pä ss')), { id: 'späti:client', confidential: true })
})

t.test('a client that leaves the encoding out gets through too, whatever its secret holds', async (t) => {
  t.strictSame(ask({}, basic('orders-api', 's3cret+/%=')), { id: 'orders-api', confidential: true })
})

t.test('an unknown client, a wrong secret, a missing one and one too many are invalid_client', async (t) => {
  const refused = 'GW_CLIENT_INVALID'
  t.equal(ask({ client_id: 'nobody' }), refused)
  t.equal(ask({ client_id: '' }), refused)
  t.equal(ask({ client_id: '__proto__' }), refused)
  t.equal(ask({}, basic('nobody', '')), refused)
  t.equal(ask({ client_id: 'orders-api' }), refused)
  t.equal(ask({}, basic('orders-api', '')), refused)
  t.equal(ask({ client_id: 'orders-api', client_secret: 's3cret' }), refused)
  t.equal(ask({}, basic('orders-api', 's3cret')), refused)
  t.equal(ask({ client_id: 'app', client_secret: 'x' }), refused)
  t.equal(ask({ client_id: 'nobody', client_secret: 'x' }), refused)
})

t.test('an Authorization that is no Basic is invalid_client', async (t) => {
  for (const value of ['Bearer abc', 'Basic', 'Basic ', 'Basic !!!', 'Basic YXBw', `Basic ${Buffer.from(':x').toString('base64')}`, 'Digest username="app"', '']) {
    t.equal(ask({}, value), 'GW_CLIENT_INVALID', value)
  }
})

t.test('credentials in two places are invalid_request (RFC 6749 §2.3)', async (t) => {
  const header = basic('orders-api', 's3cret+/%=')
  t.equal(ask({ client_id: 'orders-api', client_secret: 's3cret+/%=' }, header), 'GW_REQUEST_INVALID')
  t.equal(ask({ client_secret: 's3cret+/%=' }, header), 'GW_REQUEST_INVALID')
  t.equal(ask({ client_id: 'app' }, header), 'GW_REQUEST_INVALID')
  t.equal(ask({}, header, header), 'GW_REQUEST_INVALID')
  t.equal(ask({ client_secret: 'x' }), 'GW_REQUEST_INVALID')
})

t.test('the id of sessions that belong to no client cannot be configured', async (t) => {
  t.throws(() => createClientAuthentication([{ id: 'gatewarden' }]), { name: 'StartupFault' })
})
