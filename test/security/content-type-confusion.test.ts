/**
 * CVE-2025-32442 (Fastify): a content type that is altered a little (`application/ json`, another case, a parameter) was validated by
 * one rule and parsed by another. And its kin: a page of another site can send `text/plain` or a form with a JSON body and no
 * preflight (login CSRF); UTF-7 and UTF-16 hide from a filter what the parser then reads; two Content-Type headers, or one that
 * a comma splits, are two answers to one question. Here an endpoint takes one type in one encoding, or 415, and no rule depends on it.
 */
import t from 'tap'
import { password, startTestGateway } from '../helpers/gateway.ts'
import { rawRequest } from '../helpers/raw-request.ts'
import { startUpstream } from '../helpers/upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, { throttle: { attemptsPerAddress: 1_000, attempts: 1_000 }, routes: [{ path: '/api', upstream: upstream.url, access: 'public' }] })
const { refresh_token: refreshToken } = await gateway.login()

const json: Readonly<Record<string, string>> = {
  '/auth/login': JSON.stringify({ username: 'alice', password }),
  '/auth/refresh': JSON.stringify({ refresh_token: refreshToken }),
  '/auth/logout': JSON.stringify({ refresh_token: refreshToken }),
}
const forms: Readonly<Record<string, string>> = {
  '/oauth/token': new URLSearchParams({ grant_type: 'password', username: 'alice', password }).toString(),
  '/oauth/revoke': new URLSearchParams({ token: refreshToken }).toString(),
}
const post = async (path: string, body: string | Buffer, headers: readonly string[]) => await rawRequest(gateway.port, Buffer.concat([
  Buffer.from([`POST ${path} HTTP/1.1`, 'Host: a', `Content-Length: ${Buffer.byteLength(body)}`, ...headers, '', ''].join('\r\n'), 'latin1'), Buffer.from(body),
]))

const never = [
  'text/plain', 'text/plain;application/json', 'text/html', 'multipart/form-data; boundary=x', '*/*', 'application/*', 'application', 'json', '""', '/', 'application/', '/json', 'text/json', 'application/jsonp', 'application/json5',
  'application/ json', 'application /json', 'application/\tjson', 'application/json+xml', 'application/ld+json', 'application/json;charset=utf-7', 'application/json; charset=utf-16le', 'application/json; charset=iso-8859-1', 'application/json; charset=utf-8; charset=utf-16',
  'application/json; charset', 'application/json;;', 'application/json;a=b', 'application/json, application/x-www-form-urlencoded', 'application/x-www-form-urlencoded, application/json', 'application/json\x80', 'application/json\xa0', 'applicatio\xeb/json',
  'application/x-www-form-urlencoded;charset=utf-16', 'application/x-www-form-urlencoded-x', 'application/x-www-form-urlencoded; boundary=x', 'application/x-url-encoded', 'application/graphql', 'application/octet-stream', 'application/vnd.api+json',
]

t.test('every other type is 415, at each endpoint, and nobody is logged in or out by it', async (t) => {
  for (const [path, body] of Object.entries({ ...json, ...forms })) {
    for (const type of [...never, path in json ? 'application/x-www-form-urlencoded' : 'application/json']) {
      const { status, text } = await post(path, body, [`Content-Type: ${type}`])
      t.equal(status, 415, `${path} ${JSON.stringify(type)}`)
      t.notMatch(text, /access_token/)
    }
    t.equal((await post(path, body, [])).status, 415, `${path} without a type`)
  }
  t.equal((await fetch(`${gateway.url}/auth/refresh`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: json['/auth/refresh'] ?? '' })).status, 200, 'the session has lived through all of it')
})

t.test('two types are no type, whichever comes first', async (t) => {
  for (const types of [['application/json', 'text/plain'], ['text/plain', 'application/json'], ['application/json', 'application/json'], ['application/json', 'APPLICATION/JSON; charset=utf-8']]) {
    t.equal((await post('/auth/login', json['/auth/login'] ?? '', types.map((type) => `Content-Type: ${type}`))).status, 415, types.join(' + '))
  }
  t.equal((await post('/auth/login', json['/auth/login'] ?? '', ['Content-Type: text/plain', 'content_type: application/json'])).status, 415)
})

t.test('what is right in any case is taken', async (t) => {
  for (const type of ['application/json', 'APPLICATION/JSON', 'application/json;charset=UTF-8', '  application/json ; charset="utf-8"  ']) {
    t.equal((await post('/auth/login', json['/auth/login'] ?? '', [`Content-Type: ${type}`])).status, 200, type)
  }
})

t.test('a body in another encoding than it says is no body', async (t) => {
  const text = json['/auth/login'] ?? ''
  for (const body of [Buffer.from(text, 'utf16le'), Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(text, 'utf16le').swap16()]), Buffer.from(`\ufeff${text}`), Buffer.from('+AHsAIgB1AHMAZQByAG4AYQBtAGUAIgA6ACIAeAAiAH0-'), Buffer.from([0xc1, 0xbb])]) {
    t.equal((await post('/auth/login', body, ['Content-Type: application/json'])).status, 400)
  }
  for (const encoding of ['gzip', 'deflate', 'br', 'gzip, identity', 'x-gzip', 'chunked']) t.equal((await post('/auth/login', text, ['Content-Type: application/json', `Content-Encoding: ${encoding}`])).status, 415, encoding)
})

t.test('JSON in a form and a form in JSON are nothing', async (t) => {
  t.equal((await post('/auth/login', forms['/oauth/token'] ?? '', ['Content-Type: application/json'])).status, 400)
  t.equal((await post('/oauth/token', json['/auth/login'] ?? '', ['Content-Type: application/x-www-form-urlencoded'])).status, 400)
  t.equal((await post('/auth/login', '{"username":"alice","password":"wrong"}&password=right', ['Content-Type: application/json'])).status, 400)
})

t.test('at a route the type is the upstream’s matter: it arrives as it was sent, and no rule looks at it', async (t) => {
  for (const type of [...never.filter((one) => /^[\x20-\x7e]*$/.test(one)), 'application/json']) {
    t.equal((await post('/api', '{}', [`Content-Type: ${type}`])).status, 200, type)
    t.equal(upstream.seen.at(-1)?.headers['content-type'], type)
  }
})
