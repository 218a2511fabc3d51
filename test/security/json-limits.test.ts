/**
 * JSON as an attack on whoever reads it: nesting that overflows a stack (CVE-2020-36518 and its kind), numbers of a million digits,
 * members of one name that two parsers read differently, thousands of members, bodies without an end. Here a body of the gateway's own
 * endpoints has 16 KiB and 16 levels at most, has each member once, and is answered at once.
 */
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'

const gateway = await startTestGateway(t, { throttle: { attemptsPerAddress: 1_000, attempts: 1_000 }, routes: [{ path: '/api', upstream: 'http://127.0.0.1:9', access: 'authenticated' }] })
const name = '"username":"alice","password":"wrong password"'
const nested = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth)

const cases: Readonly<Record<string, readonly [body: string, status: number]>> = {
  'arrays in arrays': [`{${name},"x":${nested(7_000, '[', ']')}}`, 400],
  'objects in objects': [`{${name},"x":${'{"a":'.repeat(2_000)}0${'}'.repeat(2_000)}}`, 400],
  'brackets that never close': ['['.repeat(16_000), 400],
  'braces that never close': ['{"a":'.repeat(3_000), 400],
  'seventeen levels': [`{${name},"x":${nested(16, '[', ']')}}`, 400],
  'sixteen levels': [`{${name},"x":${nested(15, '[', ']')}}`, 401],
  'a number of fifteen thousand digits': [`{${name},"x":${'9'.repeat(15_000)}}`, 401],
  'a number beyond all numbers': [`{${name},"x":1e400,"y":-1e999999999}`, 401],
  'two thousand members': [`{${name},${Array.from({ length: 1_500 }, (_, index) => `"${index}":0`).join()}}`, 401],
  'a member twice': [`{${name},"username":"bob"}`, 400],
  'a member twice, once escaped': [`{${name},"\\u0075sername":"bob"}`, 400],
  'a long string of escapes': [`{${name},"x":"${'\\u0041'.repeat(2_600)}"}`, 401],
  'white space without an end': [`{${name}${' '.repeat(16_000)}}`, 401],
  'one byte too many': [`{${name}${' '.repeat(16_384)}}`, 413],
  'a megabyte': [`{${name},"x":"${'y'.repeat(1_000_000)}"}`, 413],
  'half a surrogate pair': ['{"username":"alice","password":"\\ud83d"}', 400],
  'two values': [`{${name}}{${name}}`, 400],
  'a comment': [`{${name}/* x */}`, 400],
  'an array': [`[{${name}}]`, 400],
}

for (const [what, [body, status]] of Object.entries(cases)) {
  t.test(`${what}: ${status}, at once`, async (t) => {
    const started = performance.now()
    const answer = await fetch(`${gateway.url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    t.equal(answer.status, status)
    t.match(await answer.json(), { error: String, error_description: String, code: /^GW_/, request_id: String })
    t.ok(performance.now() - started < 1_000)
  })
}

t.test('a token of nothing but depth or size is refused like any other', async (t) => {
  const part = (text: string) => Buffer.from(text).toString('base64url')
  for (const header of [nested(2_000, '[', ']'), `{"alg":${nested(1_000, '[', ']')}}`, '{"alg":"ES256","alg":"none"}', `{"alg":"ES256","x":${'9'.repeat(5_000)}}`, '{"alg":1e400}', '{"__proto__":{"alg":"none"}}']) {
    for (const token of [`${part(header)}.${part('{}')}.${part('x'.repeat(64))}`, `${part('{"alg":"ES256","typ":"at+jwt","kid":"x"}')}.${part(header)}.${part('x'.repeat(64))}`]) {
      const answer = await fetch(`${gateway.url}/api`, { headers: { authorization: `Bearer ${token}` } })
      t.equal(answer.status, 401)
      t.match(await answer.json(), { code: 'GW_TOKEN_INVALID' })
    }
  }
})
