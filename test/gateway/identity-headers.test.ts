import t from 'tap'
import { compileIdentityHeaders, headerValue } from '../../src/gateway/identity-headers.ts'
import type { Identity } from '../../src/tokens/identity.ts'

function identity (claims: Record<string, unknown>, subject = 'u-1'): Identity {
  return { subject, issuer: 'i', sessionId: 's', expiresAt: 1, roles: [], scopes: [], claims }
}

function headersOf (mapping: Record<string, string>, ...identities: readonly Identity[]): string[] {
  const headers: string[] = []
  const add = compileIdentityHeaders(mapping)
  for (const identity of identities) add(headers, identity)
  return headers
}

t.test('writes a header for each claim that the token has, and none for the others', async (t) => {
  const mapping = { 'X-User-Id': 'sub', 'X-User-Roles': 'roles', 'X-User-Email': 'email' }
  t.strictSame(headersOf(mapping, identity({ sub: 'raw', roles: ['admin', 'staff'] })), ['X-User-Id', 'u-1', 'X-User-Roles', 'admin,staff'])
  t.strictSame(headersOf(mapping, identity({ email: 'a@b.c' })), ['X-User-Id', 'u-1', 'X-User-Email', 'a@b.c'])
})

t.test('the id is what the gateway calls the subject, not what the claim says', async (t) => {
  t.strictSame(headersOf({ 'X-User-Id': 'sub' }, identity({ sub: '5' }, 'corp|5')), ['X-User-Id', 'corp|5'])
})

t.test('two who share the object of their claims are told apart by their id', async (t) => {
  const claims = { roles: ['staff'] }
  const mapping = { 'X-User-Roles': 'roles', 'X-User-Id': 'sub' }
  t.strictSame(headersOf(mapping, identity(claims, 'u-1'), identity(claims, 'Zoë'), identity(claims, 'u-1')), [
    'X-User-Roles', 'staff', 'X-User-Id', 'u-1',
    'X-User-Roles', 'staff', 'X-User-Id', 'Zo%C3%AB',
    'X-User-Roles', 'staff', 'X-User-Id', 'u-1',
  ])
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
  t.strictSame(headersOf({ 'X-A': 'constructor', 'X-B': '__proto__', 'X-C': 'toString' }, identity({})), [])
})
