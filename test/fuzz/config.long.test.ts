/** Whatever stands in the file: it loads, or there are faults, and each says where. Nothing is thrown, nothing of a secret is said. */
import t from 'tap'
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { lintConfig } from '../../src/config/lint.ts'
import { compileRoutes } from '../../src/routes/compile.ts'
import { createLoader } from '../config/load-text.ts'
import { holds, mixtureOf, slipsOf } from './property.ts'

const { load, config } = createLoader(t)
const example = readFileSync(new URL('../../config.yaml', import.meta.url), 'utf8')
const small = `issuer: http://a.test
accessToken: { algorithm: HS256, secret: "${'$'}{SECRET}", lifetime: 5m }
clients: [{ id: app, secret: hush-hush-hush }]
identity: { headers: { X-User-Id: sub } }
trustedProxies: [10.0.0.0/8, "fd00::/8"]
routes:
  - { path: /a, upstream: "http://127.0.0.1:1", access: { roles: [admin], claims: { a: [1, true, x] } }, methods: [GET], limits: { body: 1kb } }
  - { path: /, upstream: ["http://[::1]:1", "https://b.test"], access: public, timeout: 1s, identity: { headers: { X-T: t } } }
`
const secret = 'do-not-tell-0123456789-ABCDEFGHIJKLMN'
const environment = { SECRET: secret, ONE: '1', EMPTY: '' }
const pieces = [
  'routes', 'path', 'access', 'upstream', 'public', 'identity', 'headers', 'accessToken', 'secret', 'secretFile', 'keys', 'masterKey', '__proto__', 'constructor', 'toString',
  ': ', ':', '- ', '\n', '\n  ', '\n    ', '{', '}', '[', ']', ', ', '"', "'", '|', '>', '#', '&a', '*a', '<<', '!!binary', '!!js', '? ', '---\n', '%YAML 1.1\n', '${', '${ONE}', '${SECRET}', '${NOPE}',
  '${EMPTY:-x}', '$${', '~', 'null', 'true', '1', '-1', '1e400', '0x1f', '.inf', '2026-01-01', '5m', '99999999999d', '/a', '/', 'http://127.0.0.1:1', 'http://[::', '10.0.0.0/99', '\uE000', '\uE001', '\0', '\uFEFF', '\t', '🔑',
]

function fault (text: string): string | undefined {
  const loaded = load(text, environment)
  if (!('faults' in loaded)) {
    lintConfig(loaded.config)
    compileRoutes(loaded.config)
    return undefined
  }
  if (loaded.faults.length === 0) return 'neither a configuration nor a fault'
  const lines = text.split('\n').length
  for (const { line, column, path, message } of loaded.faults) {
    if (!Number.isInteger(line) || line < 1 || line > lines + 1 || !Number.isInteger(column) || column < 1) return `at ${line}:${column} of ${lines} lines: ${message}`
    if (message === '' || typeof path !== 'string') return 'a fault without words'
    if (message.includes(secret) || path.includes(secret)) return 'a secret is told'
  }
  return undefined
}

await t.test('the texts that are changed would load', async (t) => {
  t.equal(fault(small), undefined)
  t.equal(config(small, environment).accessToken.secret, secret)
})
await t.test('random mixtures', async (t) => { await holds(t, 'a mixture of YAML and of our words loads or is faulted in its place', 250, mixtureOf(pieces, { maxLength: 30 }), fault) })
await t.test('slips of the pen', async (t) => {
  await holds(t, 'a small configuration with slips loads or is faulted in its place', 200, slipsOf(small, pieces), fault)
  await holds(t, 'the example with slips loads or is faulted in its place', 20, slipsOf(example, pieces), fault)
})
await t.test('any value under any key', async (t) => {
  const key = fc.constantFrom('listen', 'admin', 'issuer', 'storage', 'accessToken', 'keys', 'limits', 'timeouts', 'credentials', 'clients', 'identity', 'trustedProxies', 'routes', 'log', 'workers', 'toString')
  const value = fc.jsonValue({ maxDepth: 3 })
  await holds(t, 'any JSON in the place of a section loads or is faulted in its place', 200, fc.dictionary(key, value, { maxKeys: 4 }), (content) => fault(JSON.stringify(content, null, 1)))
})
await t.test('any value within a route', async (t) => {
  const key = fc.constantFrom('path', 'methods', 'upstream', 'access', 'stripPrefix', 'timeout', 'limits', 'identity')
  const word = fc.constantFrom('/a', '/', '/a/', '//', 'public', 'GET', 'http://127.0.0.1:1', 'http://a:99999', 'https://u@h', '1s', '1kb', 'X-A', '-', '__proto__', 'constructor')
  const value = fc.oneof(word, fc.array(word, { maxLength: 3 }), fc.dictionary(word, word, { maxKeys: 2 }), fc.jsonValue({ maxDepth: 2 }))
  const route = fc.dictionary(key, value).map((given) => ({ path: '/', upstream: 'http://127.0.0.1:1', access: 'public', ...given }))
  await holds(t, 'any member of a route loads or is faulted in its place', 200, fc.array(route, { maxLength: 2 }), (routes) => fault(JSON.stringify({ routes })))
})
