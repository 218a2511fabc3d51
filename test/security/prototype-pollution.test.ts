/**
 * Prototype pollution (CWE-1321): a member named `__proto__` or `constructor` that some parser, merge or map lookup follows, so that
 * one request changes what every object has (`isAdmin`), or finds `toString` where a claim should be. Every input that becomes an
 * object is tried: JSON and form bodies, query strings, cookies, headers, configuration, token headers and claims, user attributes,
 * access rules and header mappings that name such members. Afterwards every object has what it had.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { compileIdentityHeaders } from '../../src/gateway/identity-headers.ts'
import { compileAccess } from '../../src/routes/access.ts'
import { readStrictJson } from '../../src/tokens/strict-json.ts'
import type { Identity } from '../../src/tokens/identity.ts'
import { password, startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

const inherited = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__', '__lookupGetter__']
const before = Object.getOwnPropertyNames(Object.prototype).sort()
/** What all of it tries to write. */
const payloads = [
  '{"__proto__":{"polluted":true}}', '{"__proto__":{"__proto__":{"polluted":true}}}', '{"\\u005f\\u005fproto__":{"polluted":true}}', '{"constructor":{"prototype":{"polluted":true}}}', '{"a":{"__proto__":{"polluted":true}}}',
  '{"a":[{"constructor":{"prototype":{"polluted":true}}}]}', '{"__proto__":["polluted"]}', '{"__proto__":null}',
]

function assertClean (t: Test) {
  t.strictSame(Object.getOwnPropertyNames(Object.prototype).sort(), before)
  t.notOk('polluted' in {})
  t.notOk('polluted' in [])
  t.notOk('polluted' in (() => {}))
}

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  throttle: { attemptsPerAddress: 1_000, attempts: 1_000 },
  trustedProxies: ['127.0.0.1'],
  routes: [
    { path: '/api', upstream: upstream.url, access: 'authenticated', identity: { headers: { 'X-User-Id': 'sub', 'X-User-Proto': 'constructor', 'X-User-Text': 'toString', 'X-User-Mail': 'email' } } },
    { path: '/rule', upstream: upstream.url, access: { claims: { constructor: 'x', hasOwnProperty: true } } },
  ],
})
const { url } = gateway

t.test('JSON bodies', async (t) => {
  for (const path of ['/auth/login', '/auth/refresh', '/auth/logout']) {
    for (const payload of payloads) {
      const body = `${payload.slice(0, -1)},"username":"alice","password":${JSON.stringify(password)},"refresh_token":"x"}`
      const { status } = await fetch(`${url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
      t.equal(status, 400, `${path} ${payload}`)
    }
  }
  assertClean(t)
})

t.test('forms, query strings and cookies', async (t) => {
  for (const name of [...inherited, '__proto__[polluted]', '__proto__.polluted', 'constructor[prototype][polluted]', 'a[__proto__][polluted]']) {
    const pair = `${encodeURIComponent(name)}=true`
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'cookie': `${name}=true` }
    t.equal((await fetch(`${url}/oauth/token?${pair}`, { method: 'POST', headers, body: pair })).status, 400, name)
    t.equal((await fetch(`${url}/oauth/revoke`, { method: 'POST', headers, body: `${pair}&token=x` })).status, 200, name)
    t.not((await fetch(`${url}/auth/verify?${pair}`)).status, 500, name)
    t.not((await fetch(`${url}/auth/verify?roles=${encodeURIComponent(name)}`, { headers: { authorization: `Bearer ${await gateway.token()}` } })).status, 200, 'nobody has such a role')
  }
  assertClean(t)
})

t.test('header names', async (t) => {
  for (const name of inherited) {
    const { status } = await fetch(`${url}/api`, { headers: { [name]: 'polluted', authorization: `Bearer ${await gateway.token()}` } })
    t.equal(status, 200, name)
    t.equal((await fetch(`${url}/auth/verify`, { headers: { 'x-forwarded-method': name, 'x-forwarded-uri': `/${name}`, 'x-forwarded-host': name } })).status < 500, true, name)
  }
  assertClean(t)
})

t.test('names of users, methods, sessions and paths', async (t) => {
  for (const name of inherited) {
    const login = await fetch(`${url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: name, password }) })
    t.equal(login.status, 401, name)
    t.equal((await fetch(`${url}/${name}`)).status, 404)
    t.equal((await fetch(`${url}/auth/sessions/${name}`, { method: 'DELETE', headers: { authorization: `Bearer ${await gateway.token()}` } })).status, 404)
    const form = new URLSearchParams({ grant_type: name, client_id: name })
    t.not((await fetch(`${url}/oauth/token`, { method: 'POST', body: form })).status, 500)
  }
  assertClean(t)
})

t.test('user attributes: what is inherited is none, and what is own is text', async (t) => {
  await gateway.users.add({ name: 'mallory', password, attributes: JSON.parse('{"__proto__":{"email":"polluted","isAdmin":true},"constructor":"own","toString":"own too"}') as Record<string, unknown> })
  const { status } = await fetch(`${url}/api`, { headers: { authorization: `Bearer ${await gateway.token('mallory')}` } })
  t.equal(status, 200)
  const headers = upstream.seen.at(-1)?.headers ?? {}
  t.strictSame([headers['x-user-proto'], headers['x-user-text'], headers['x-user-mail']], ['own', 'own too', undefined])
  await fetch(`${url}/api`, { headers: { authorization: `Bearer ${await gateway.token('alice')}` } })
  const plain = upstream.seen.at(-1)?.headers ?? {}
  t.strictSame([plain['x-user-proto'], plain['x-user-text']], [undefined, undefined], 'alice has no attribute of these names')
  t.equal((await fetch(`${url}/rule`, { headers: { authorization: `Bearer ${await gateway.token('alice')}` } })).status, 403)
  assertClean(t)
})

t.test('claims of a token', async (t) => {
  for (const payload of payloads) {
    const read = readStrictJson(Buffer.from(payload))
    if (!('fault' in read)) t.notMatch(payload, /proto__/, 'a member that would become a prototype is refused')
  }
  const identity: Identity = { subject: 'u', issuer: 'i', sessionId: null, expiresAt: 1, roles: [], scopes: [], claims: JSON.parse('{"own":"x"}') as Record<string, unknown> }
  for (const name of inherited) {
    const headers: string[] = []
    compileIdentityHeaders({ X: name })(headers, identity)
    t.strictSame(headers, [], name)
    t.notOk(compileAccess({ claims: { [name]: 'x' } }).allows(identity), name)
    t.notOk(compileAccess({ roles: [name] }).allows(identity), name)
    t.notOk(compileAccess({ scopes: [name] }).allows(identity), name)
  }
  assertClean(t)
})

t.test('the configuration', async (t) => {
  const file = join(t.testdir({}), 'config.yaml')
  const route = 'routes: [{ path: /, upstream: "http://127.0.0.1:1", access: public }]'
  for (const yaml of [
    `__proto__: { polluted: true }\n${route}`, `"__proto__": { polluted: true }\n${route}`, `"\\u005f_proto__": { polluted: true }\n${route}`, `constructor: { prototype: { polluted: true } }\n${route}`, `listen: { __proto__: { polluted: true } }\n${route}`,
    `base: &b { polluted: true }\n<<: *b\n${route}`, `listen: { <<: { polluted: true } }\n${route}`, 'routes: [{ path: /, upstream: "http://127.0.0.1:1", __proto__: { access: public } }]', `? [__proto__]\n: polluted\n${route}`, `toString: 1\n${route}`, `identity: { headers: { __proto__: sub } }\n${route}`,
  ]) {
    writeFileSync(file, yaml)
    t.ok('faults' in loadConfig(file, {}), yaml)
  }
  writeFileSync(file, `issuer: \${__proto__:-http://localhost:1}\naudience: \${constructor:-api}\n${route}`)
  t.match(loadConfig(file, {}), { config: { audience: 'api' } }, 'no variable is found on the prototype of the environment')
  assertClean(t)
})
