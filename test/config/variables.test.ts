import t from 'tap'
import { createLoader, routes } from './load-text.ts'

const { faults, config } = createLoader(t)

t.test('${VAR} is what the environment says', async (t) => {
  t.equal(config(`audience: \${AUD}\n${routes}`, { AUD: 'api' }).audience, 'api')
  t.equal(config(`audience: a-\${ONE}-\${TWO}\n${routes}`, { ONE: '1', TWO: '2' }).audience, 'a-1-2')
  t.equal(config(`audience: "\${AUD}"\n${routes}`, { AUD: 'x y' }).audience, 'x y')
})

t.test('${VAR:-default} where it is unset or empty', async (t) => {
  const yaml = `audience: \${AUD:-fallback}\n${routes}`
  t.equal(config(yaml).audience, 'fallback')
  t.equal(config(yaml, { AUD: '' }).audience, 'fallback')
  t.equal(config(yaml, { AUD: 'api' }).audience, 'api')
  t.equal(config(`issuer: "\${URL:-https://a.example:8443}"\n${routes}`).issuer, 'https://a.example:8443')
  t.strictSame(faults(`audience: "\${AUD:-}"\n${routes}`), ['c:1:11 audience: must not be empty'])
})

t.test('an unset variable without a default is a fault, with its place and name', async (t) => {
  t.strictSame(faults(`audience: \${AUD}\nissuer: https://\${HOST}\n${routes}`), [
    'c:1:11 audience: the environment variable AUD is not set; set it, or give a default: ${AUD:-…}',
    'c:2:9 issuer: the environment variable HOST is not set; set it, or give a default: ${HOST:-…}',
  ])
})

t.test('$${ is ${', async (t) => {
  t.equal(config(`audience: $\${AUD}\n${routes}`, { AUD: 'x' }).audience, '${AUD}')
  t.equal(config(`audience: $AUD\n${routes}`, { AUD: 'x' }).audience, '$AUD')
})

t.test('what is no variable is a fault', async (t) => {
  for (const wrong of ['${}', '${9A}', '${A B}', '${A-b}', '${A:b}', '${A:-${B}}']) {
    t.strictSame(faults(`audience: "${wrong}"\n${routes}`), ['c:1:11 audience: a variable is written ${NAME} or ${NAME:-default}; $${ stands for ${ itself'], wrong)
  }
})

t.test('no value of a variable is more than a text in its place', async (t) => {
  const hostile = ['x\nissuer: http://evil', 'x }, b: {', '{ a: b }', '[a]', '*alias', '&anchor', '!!js/function x', '"', "'", '# comment', '${HOME}', '$${HOME}', '- a', '~', 'null', '$&', '$1', '\0', '__proto__', '|', '|\n  x']
  for (const value of hostile) {
    const loaded = config(`audience: \${V}\nissuer: http://good\n${routes}`, { V: value, HOME: 'not read' })
    t.equal(loaded.audience, value)
    t.equal(loaded.issuer, 'http://good')
  }
})

t.test('a key holds no variable', async (t) => {
  t.match(faults(`"\${KEY}": x\n${routes}`, { KEY: 'audience' })[0], /^c:1:1 \$\{KEY\}: unknown key/)
})

t.test('a variable alone may be a number, or true or false, where one is asked for', async (t) => {
  const yaml = `listen: { port: "\${PORT}" }\nlog: { access: \${ACCESS:-true} }\n${routes}`
  t.match(config(yaml, { PORT: '81' }), { listen: { port: 81 }, log: { access: true } })
  t.strictSame(faults(yaml, { PORT: '8 1' }), ['c:1:17 listen.port: must be a whole number'])
  t.strictSame(faults(yaml, { PORT: '1', ACCESS: 'yes' }), ['c:2:16 log.access: must be true or false'])
  t.strictSame(faults(`listen: { port: "8\${PORT}" }\n${routes}`, { PORT: '1' }), ['c:1:17 listen.port: must be a whole number'])
  t.equal(config(`audience: \${AUD}\n${routes}`, { AUD: '5' }).audience, '5', 'and stays a text where one is asked for')
})

t.test('within braces a variable needs no quotes', async (t) => {
  t.match(config(`listen: { port: \${PORT}, host: \${HOST:-::1} }\naccessToken: { algorithm: HS256, secret: \${SECRET} }\n${routes}`, { PORT: '81', SECRET: 'f3a9c1d7e5b2048896a1c3e5f7092b4d6e8f0a1b2c3d4e5f60718293a4b5c6d7' }), {
    listen: { port: 81, host: '::1' },
    accessToken: { secret: /^f3a9/ },
  })
  t.strictSame(faults(`listen: { port: \${PORT}, host: \${HOST} }\n${routes}`), [
    'c:1:17 listen.port: the environment variable PORT is not set; set it, or give a default: ${PORT:-…}',
    'c:1:32 listen.host: the environment variable HOST is not set; set it, or give a default: ${HOST:-…}',
  ])
  t.equal(config(`audience: { }\n${routes}`.replace('{ }', '"a {b} $ {c} }"')).audience, 'a {b} $ {c} }')
  t.equal(config(`audience: "\uE000\uE001"\n${routes}`).audience, '\uE000\uE001')
})

t.test('in lists and in routes too', async (t) => {
  const loaded = config('trustedProxies: [ "${NET}" ]\nroutes:\n  - path: /\n    upstream: ["http://${A}:1", "http://${B}:2"]\n    access: { roles: ["${ROLE}"] }\n    stripPrefix: ${STRIP}\n', { NET: '10.0.0.0/8', A: 'a', B: 'b', ROLE: 'admin', STRIP: 'true' })
  t.match(loaded, { trustedProxies: ['10.0.0.0/8'], routes: [{ upstream: ['http://a:1', 'http://b:2'], access: { roles: ['admin'] }, stripPrefix: true }] })
})
