import t from 'tap'
import { compileAccess } from '../../src/routes/access.ts'
import type { Identity } from '../../src/tokens/identity.ts'

function identity (claims: Record<string, unknown>, roles: string[] = [], scopes: string[] = []): Identity {
  return { subject: 'u', issuer: 'i', sessionId: 's', expiresAt: 1, roles, scopes, claims }
}

t.test('public looks at no token, optional at one that is there, authenticated demands one', async (t) => {
  t.equal(compileAccess('public').token, 'none')
  t.equal(compileAccess('optional').token, 'optional')
  t.equal(compileAccess('authenticated').token, 'required')
  t.ok(compileAccess('authenticated').allows(identity({})))
})

t.test('of a kind any value does', async (t) => {
  const { allows, token } = compileAccess({ roles: ['admin', 'staff'] })
  t.equal(token, 'required')
  t.ok(allows(identity({}, ['staff'])))
  t.notOk(allows(identity({}, ['guest'])))
  t.notOk(allows(identity({})))
})

t.test('all named kinds must hold', async (t) => {
  const { allows, scope } = compileAccess({ roles: ['admin'], scopes: ['write', 'all'], claims: { tenant: 'acme' } })
  t.ok(allows(identity({ tenant: 'acme' }, ['admin'], ['write'])))
  t.notOk(allows(identity({ tenant: 'acme' }, ['admin'])))
  t.notOk(allows(identity({ tenant: 'acme' }, [], ['write'])))
  t.notOk(allows(identity({ tenant: 'evil' }, ['admin'], ['write'])))
  t.equal(scope, 'write all')
})

t.test('a claim has one of the values, as a value or in a list, of the same type', async (t) => {
  const { allows } = compileAccess({ claims: { level: [1, 2] } })
  t.ok(allows(identity({ level: 2 })))
  t.ok(allows(identity({ level: [9, 1] })))
  t.notOk(allows(identity({ level: '2' })))
  t.notOk(allows(identity({ level: { 2: 2 } })))
  t.notOk(allows(identity({})))
})

t.test('a claim is never found on the prototype', async (t) => {
  t.notOk(compileAccess({ claims: { constructor: 'x' } }).allows(identity({})))
})
