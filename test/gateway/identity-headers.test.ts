import t from 'tap'
import { compileIdentityHeaders, headerValue } from '../../src/gateway/identity-headers.ts'
import type { Identity } from '../../src/tokens/identity.ts'

function identity (claims: Record<string, unknown>, subject = 'u-1'): Identity {
  return { subject, issuer: 'i', sessionId: 's', expiresAt: 1, roles: [], scopes: [], claims }
}

t.test('writes a header for each claim that the token has, and none for the others', async (t) => {
  const headers = compileIdentityHeaders({ 'X-User-Id': 'sub', 'X-User-Roles': 'roles', 'X-User-Email': 'email' })
  t.strictSame(headers(identity({ sub: 'raw', roles: ['admin', 'staff'] })), ['X-User-Id', 'u-1', 'X-User-Roles', 'admin,staff'])
  t.strictSame(headers(identity({ email: 'a@b.c' })), ['X-User-Id', 'u-1', 'X-User-Email', 'a@b.c'])
})

t.test('the id is what the gateway calls the subject, not what the claim says', async (t) => {
  t.strictSame(compileIdentityHeaders({ 'X-User-Id': 'sub' })(identity({ sub: '5' }, 'corp|5')), ['X-User-Id', 'corp|5'])
})

t.test('makes the headers of an identity once', async (t) => {
  const headers = compileIdentityHeaders({ 'X-User-Id': 'sub' })
  const one = identity({})
  t.equal(headers(one), headers(one))
})

t.test('a value decodes to exactly the claim, and cannot split a header or a list', async (t) => {
  for (const value of ['plain', 'Zoë 王', '100%', 'a\r\nX-Admin: yes', 'a\0b', ' edges ', 'tab\there', '', 'ünï', '%41']) {
    const header = headerValue(value)
    t.match(header, /^[\x20-\x7e]*$/, JSON.stringify(value))
    t.equal(decodeURIComponent(header ?? ''), value)
  }
  const list = ['a,b', 'c d', 'é', '%2C']
  t.strictSame(headerValue(list)?.split(',').map(decodeURIComponent), list)
})

t.test('numbers and booleans are text, objects and null are nothing', async (t) => {
  t.equal(headerValue(5), '5')
  t.equal(headerValue(false), 'false')
  for (const value of [null, undefined, {}, [], [{}], { toString: () => 'x' }]) t.equal(headerValue(value), null)
})

t.test('a claim is never found on the prototype', async (t) => {
  t.strictSame(compileIdentityHeaders({ 'X-A': 'constructor', 'X-B': '__proto__', 'X-C': 'toString' })(identity({})), [])
})
