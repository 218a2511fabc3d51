import t from 'tap'
import { catalogue, Refusal, type RefusalCode } from '../../src/errors.ts'
import { refusalResponse } from '../../src/ops/refusal-response.ts'

const realm = 'https://gate.example'
const codes = Object.keys(catalogue) as RefusalCode[]

function shape (code: RefusalCode, details = {}) {
  const { status, headers, body } = refusalResponse(new Refusal(code, details), 'req-1', realm)
  return { status, headers: Object.fromEntries(headers), body: JSON.parse(body), bytes: Buffer.byteLength(body) }
}

t.test('every refusal has the one shape: error, error_description, code, request_id', async (t) => {
  for (const code of codes) {
    const { status, headers, body, bytes } = shape(code)
    t.equal(status, catalogue[code].status, code)
    t.strictSame(body, { error: catalogue[code].error, error_description: catalogue[code].description, code, request_id: 'req-1' }, code)
    t.match(headers, {
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': String(bytes),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'X-Request-Id': 'req-1',
    }, code)
  }
})

t.test('every 401 carries a challenge, and nothing but 401 and 403 does', async (t) => {
  for (const code of codes) {
    const { status, headers } = shape(code)
    t.equal(headers['WWW-Authenticate'] !== undefined, status === 401 || status === 403, code)
  }
})

t.test('without a token the challenge is just the realm (RFC 6750 §3)', async (t) => {
  t.equal(shape('GW_TOKEN_MISSING').headers['WWW-Authenticate'], 'Bearer realm="https://gate.example"')
})

t.test('a wrong password or refresh token gets the realm and no error attribute: there was no token to be wrong', async (t) => {
  t.equal(shape('GW_CREDENTIALS_INVALID').headers['WWW-Authenticate'], 'Bearer realm="https://gate.example"')
  t.equal(shape('GW_REFRESH_TOKEN_INVALID').headers['WWW-Authenticate'], 'Bearer realm="https://gate.example"')
})

t.test('a bad token gets error="invalid_token" and why (RFC 6750 §3.1)', async (t) => {
  for (const code of ['GW_TOKEN_INVALID', 'GW_TOKEN_EXPIRED', 'GW_SESSION_ENDED'] as const) {
    t.equal(shape(code).headers['WWW-Authenticate'],
      `Bearer realm="https://gate.example", error="invalid_token", error_description="${catalogue[code].description}"`)
  }
})

t.test('a 403 says insufficient_scope, and the scope that would do where there is one', async (t) => {
  const plain = 'Bearer realm="https://gate.example", error="insufficient_scope", error_description="The token is valid, but does not grant this."'
  t.equal(shape('GW_ACCESS_DENIED').headers['WWW-Authenticate'], plain)
  t.equal(shape('GW_ACCESS_DENIED', { scope: 'orders:read orders:write' }).headers['WWW-Authenticate'], `${plain}, scope="orders:read orders:write"`)
})

t.test('an unknown client is challenged by Basic (RFC 6749 §5.2)', async (t) => {
  t.equal(shape('GW_CLIENT_INVALID').headers['WWW-Authenticate'], 'Basic realm="https://gate.example", charset="UTF-8"')
})

t.test('Retry-After is in whole seconds, rounded up, and never negative', async (t) => {
  t.equal(shape('GW_TOO_MANY_ATTEMPTS', { retryAfterSeconds: 1.2 }).headers['Retry-After'], '2')
  t.equal(shape('GW_TOO_MANY_ATTEMPTS', { retryAfterSeconds: -3 }).headers['Retry-After'], '0')
  t.equal(shape('GW_TOO_MANY_ATTEMPTS').headers['Retry-After'], undefined)
})

t.test('Allow of a 405 is sent as it was given', async (t) => {
  t.equal(shape('GW_METHOD_NOT_ALLOWED', { allow: 'GET, HEAD' }).headers['Allow'], 'GET, HEAD')
})

t.test('reason and cause are for the log: no byte of them is sent', async (t) => {
  const { headers, body } = shape('GW_INTERNAL', { reason: 'REASON', cause: new Error('CAUSE') })
  t.notMatch(JSON.stringify([headers, body]), /REASON|CAUSE/)
})

t.test('a realm or a scope cannot break out of its quotes, nor out of the header', async (t) => {
  const { headers } = refusalResponse(new Refusal('GW_ACCESS_DENIED', { scope: 'a"b\\c\r\nX-Evil: 1é' }), 'req-1', 'r"\n')
  const challenge = Object.fromEntries(headers)['WWW-Authenticate'] ?? ''
  t.match(challenge, 'realm="r\\""')
  t.match(challenge, 'scope="a\\"b\\\\cX-Evil: 1"')
  t.notMatch(challenge, /[\r\n]/)
})
