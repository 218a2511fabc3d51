/**
 * Requests of which two parsers disagree where they end, so that the rest of one client's becomes the beginning of another's
 * (portswigger.net/research/http-desync-attacks, /http2, /browser-powered-desync-attacks; RFC 9112 §6.3, §11.2). After each
 * a second client uses the same pool of connections, and must get its own answer to its own request.
 */
import type { AttackClass, Judge, Score } from './attack.ts'
import type { AimedRoute, Range } from './range.ts'
import { bearer, handshakeLines, requestText } from './request-text.ts'

/** Milliseconds of silence that are taken for "nothing more will come". */
const SETTLE = 8

export const framing: AttackClass = {
  name: 'framing',
  claim: 'no bytes of one client become a request of another, or a request that no rule has judged',
  async run (range, score) {
    const aims = aimed(range)
    for (const route of aims) {
      const caller = route.isPublic ? [] : [bearer(range.tokenFor(route))]
      const method = bodyMethod(route)
      const head = (lines: readonly string[], target = route.path) => requestText({ method, target, host: route.host, lines: [...caller, ...lines] })
      await score.control(`${route.name}: a counted body`, `${head(['Content-Length: 5'])}hello`, arrives('hello'))
      await score.control(`${route.name}: a chunked body`, `${head(['Transfer-Encoding: chunked'])}5\r\nhello\r\n0\r\n\r\n`, arrives('hello'))
      await secondClient(range, score, route, 'before anything')
      for (const [name, lines, body] of bodies(smuggled(range, route))) {
        await score.attack(`${route.name}: ${name}`, `${head(lines)}${body}`, nothingSmuggled, { settle: SETTLE })
        await secondClient(range, score, route, name)
      }
      for (const [name, text] of upgrades(route, caller)) {
        await score.attack(`${route.name}: ${name}`, text, nothingSmuggled, { settle: SETTLE, then: smuggled(range, route) })
        await secondClient(range, score, route, name)
      }
    }
    await score.attack('nothing of it came late', requestText({ target: '/.well-known/jwks.json', host: range.host }), () => range.upstream.seen().some(isSmuggled) ? 'the upstream has seen a smuggled request' : null, { settle: 100 })
  },
}

/** One open route and one with a token are all that there is to framing: the code is one. */
function aimed ({ routes }: Range): readonly AimedRoute[] {
  const able = routes.filter((route) => bodyMethod(route) !== 'GET')
  const candidates = able.length > 0 ? able : routes
  return [candidates.find(({ isPublic }) => isPublic), candidates.find(({ needsToken }) => needsToken)].filter((route) => route !== undefined)
}

function bodyMethod ({ config: { methods } }: AimedRoute): string {
  return methods === undefined ? 'POST' : ['POST', 'PUT', 'PATCH', 'DELETE'].find((method) => methods.includes(method)) ?? methods[0] ?? 'GET'
}

/** What an attacker wants somebody to read as a request: past every rule, and to where a token is needed. */
function smuggled ({ routes, marker }: Range, near: AimedRoute): string {
  // Where nothing is protected there is still a method that is never forwarded.
  const guarded = routes.find(({ needsToken }) => needsToken)
  const { path, host } = guarded ?? near
  return `${guarded?.method ?? 'TRACE'} ${path}/smuggled HTTP/1.1\r\nHost: ${host}\r\nX-User-Id: ${marker}\r\nX-User-Roles: admin\r\n\r\n`
}

function isSmuggled ({ target, headers }: { readonly target: string, readonly headers: readonly (readonly [string, string])[] }): boolean {
  return target.includes('smuggled') && headers.some(([name]) => name.toLowerCase() === 'x-user-roles')
}

/** Bodies as they are; a request out of one is none. One that is complete and alone may be answered as the route says. */
const nothingSmuggled: Judge = ({ seen }) => {
  if (seen.some(isSmuggled)) return 'the upstream saw the smuggled request'
  // A request without a token, which smuggled ones are, must not come to a protected route either.
  return seen.some(({ target }) => target.endsWith('/smuggled')) ? 'the upstream saw the smuggled path as a request' : null
}

function arrives (body: string): Judge {
  return ({ answer, seen: [first] }) => answer.status === 200 && first?.body === body ? null : `it was answered ${answer.status}, and the upstream saw the body ${JSON.stringify(first?.body)}`
}

/** On a connection of its own; the upstream's are those of the pool. */
async function secondClient (range: Range, score: Score, route: AimedRoute, after: string): Promise<void> {
  const own = `/second-client-${range.upstream.count()}`
  const text = requestText({ method: bodyMethod(route), target: `${route.path}${own}`, host: route.host, lines: route.isPublic ? [] : [bearer(range.tokenFor(route))], body: `mine${own}` })
  await score.control(`${route.name}: a second client after ${after}`, text, ({ answer, seen }) => {
    const [first] = seen
    if (seen.length !== 1 || first === undefined) return `the upstream saw ${seen.length} requests`
    if (first.target !== route.upstreamPath(`${route.path}${own}`) || first.body !== `mine${own}`) return `its request arrived as ${first.target} with the body ${JSON.stringify(first.body)}`
    // The recorder says which request it answers.
    return answer.status === 200 && answer.body === JSON.stringify({ seen: range.upstream.count() - 1 }) ? null : `it got the answer ${answer.status} ${answer.body}`
  })
}

/** Name, header lines, and what comes behind the head. */
function bodies (inner: string): [string, readonly string[], string][] {
  const chunked = ['Transfer-Encoding: chunked']
  const chunk = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
  const end = `0\r\n\r\n${inner}`
  const both = (length: string, coding: string) => [`Content-Length: ${length}`, `Transfer-Encoding: ${coding}`]
  const codings = [
    'xchunked', 'chunkedx', ' chunked', 'chunked ', '\u000bchunked', 'chunked\u000b', '\u000cchunked', 'chunked\u0000', '"chunked"', "'chunked'", 'chunked;', 'chunked;q=1', 'chunked,', ',chunked', 'chunked, identity', 'identity, chunked', 'identity', 'gzip, chunked', 'chunked, gzip', 'chunked, chunked', 'chunked\r\n chunked',
    '\r\n chunked', '\n chunked', 'CHUNKED', 'Chunked', 'chunk', 'chunKed\u0000', 'c\u0308hunked', 'chunked\u00a0', '\u00a0chunked', 'compress', 'x', '',
  ]
  const lengths = ['+5', '-1', '-5', '0x5', '5 ', '05', '5.0', '5e0', '5,5', '5, 5', '5 5', '5\t', '\u000b5', '5;', '', ' ', '5_0', '0b1', '0o5', '1e1', '٥', '99999999999999999999', '18446744073709551621', '4294967301', 'five', '5\u0000', '"5"', '5\r\n 0', 'NaN', 'Infinity']
  const sizes = ['0x5', '+5', '-5', '5 ', ' 5', '5\t', '\u000b5', '05', '00000000000000005', 'fffffffffffffffff', '10000000000000005', '5;', '5;ext', '5;ext=1', '5;ext="\r\n"', '5;\n', '5\n', '5\r', '5 5', '5.', '5e0', '', 'g', '5\u0000', '5,5', ';', '5 ; x', '-0', '+0', '0x0', '0 0', '00;x\u0000']
  return [
    ['CL.TE', both('6', 'chunked'), end], ['TE.CL', ['Transfer-Encoding: chunked', 'Content-Length: 4'], chunk], ['CL.TE, the whole counted', both(String(end.length), 'chunked'), end], ['CL.0', ['Content-Length: 0'], inner.replace('smuggled', 'plain')],
    ['TE.0', ['Transfer-Encoding: chunked', 'Content-Length: 0'], chunk], ['0.CL', [`Content-Length : ${inner.length}`], inner], ['0.TE', ['Transfer-Encoding : chunked'], chunk],
    ...codings.flatMap((coding): [string, readonly string[], string][] => isChunked(coding)
      ? [[`coding ${JSON.stringify(coding)} beside a length`, both('6', coding), end]]
      : [[`coding ${JSON.stringify(coding)}`, [`Transfer-Encoding: ${coding}`], end], [`coding ${JSON.stringify(coding)} beside a length`, both('5', coding), end]]),
    ...['transfer-encoding', 'Transfer_Encoding', 'TRANSFER-ENCODING ', ' Transfer-Encoding', '\tTransfer-Encoding', 'Transfer-Encoding\u0000', 'Transfer-Encoding\u000b', 'X: y\nTransfer-Encoding', 'X: y\rTransfer-Encoding', 'X: y\r\n\u0000Transfer-Encoding', 'Transfer-Encoding\r\n', 'HTTP_TRANSFER_ENCODING', 'Transfer Encoding'].map((name): [string, readonly string[], string] =>
      [`the header ${JSON.stringify(name)} beside a length`, [`Content-Length: ${end.length}`, `${name}: chunked`], name.toLowerCase() === 'transfer-encoding' ? end : end]),
    ['two codings', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], end], ['two codings, the other way', ['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'], end], ['chunked twice', [...chunked, ...chunked], end], ['two codings of which one is odd', ['Transfer-Encoding: chunked', 'Transfer-encoding: cow'], end],
    ...lengths.map((length): [string, readonly string[], string] => [`length ${JSON.stringify(length)}`, [`Content-Length: ${length}`], `hello${isPlainLength(length) ? '' : inner}`]),
    ['two lengths', ['Content-Length: 0', `Content-Length: ${inner.length}`], inner], ['two lengths, the other way', [`Content-Length: ${inner.length}`, 'Content-Length: 0'], inner], ['the same length twice', ['Content-Length: 5', 'Content-Length: 5'], `hello${inner}`], ['lengths in two spellings', ['Content-Length: 5', 'content-length: 0'], `hello${inner}`],
    ['a length in another spelling', ['Content_Length: 0', 'Content-Length: 5'], 'hello'], ['a length with a space before its colon', ['Content-Length : 5'], `hello${inner}`], ['a length that is folded', ['Content-Length:\r\n 5'], `hello${inner}`], ['a length behind a bare LF', ['X: y\nContent-Length: 5'], `hello${inner}`], ['a length behind a bare CR', ['X: y\rContent-Length: 5'], `hello${inner}`],
    ['less than was announced', [`Content-Length: ${inner.length + 500}`], inner], ['less than was announced, chunked', chunked, `${(inner.length + 500).toString(16)}\r\n${inner}`], ['a length that Connection names', ['Connection: Content-Length', `Content-Length: ${inner.length}`], inner], ['chunks that Connection names', ['Connection: Transfer-Encoding', ...chunked], chunk],
    ['an expectation and a body at once', ['Expect: 100-continue', `Content-Length: ${inner.length}`], inner], ['an odd expectation', ['Expect: 100-continuez', `Content-Length: ${inner.length}`], inner], ['an expectation that is not waited for, chunked', ['Expect: 100-continue', ...chunked], chunk],
    ...sizes.map((size): [string, readonly string[], string] => [`chunk size ${JSON.stringify(size)}`, chunked, `${size}\r\nhello\r\n${chunk}`]),
    ...['hello!\r\n', 'hell\r\n', 'hello\n', 'hello', 'hello\r', 'hello\n\r', 'hello\r\n\r\n', '\r\nhello'].map((content): [string, readonly string[], string] => [`chunk content ${JSON.stringify(content)}`, chunked, `5\r\n${content}0\r\n\r\n${inner.replace('GET', 'GEX')}`]),
    ...['0\r\n', '0\r\nX: y\n\r\n', '0\r\nX: y\r\n Z\r\n\r\n', `0\r\nContent-Length: ${inner.length}\r\n\r\n`, '0\r\nTransfer-Encoding: chunked\r\n\r\n', '0\r\nHost: attacker.test\r\n\r\n', '0\r\nX\r\n\r\n', '0\n\n', '0\r\n\n', '0\r\r\n\r\n', '000\r\n\r\n'].map((last): [string, readonly string[], string] => [`the end ${JSON.stringify(last)}`, chunked, `5\r\nhello\r\n${last}`]),
    ['a GET with a body', ['Content-Length: 5', 'X-HTTP-Method-Override: GET'], 'hello'], ['a request of HTTP/1.0 in chunks behind it', ['Content-Length: 0'], `POST /smuggle HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`], ['garbage behind it', ['Content-Length: 0'], '\u0000\u0001\u0002\u0016\u0003\u0001'], ['line ends behind it', ['Content-Length: 0'], '\r\n\r\n\r\n\r\n'],
    ['the preface of HTTP/2 behind it', ['Content-Length: 0'], 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], ['close, and a request behind it', ['Connection: close', 'Content-Length: 0'], inner], ['keep-alive by HTTP/1.0, and no length', ['Connection: keep-alive', 'Content-Length: 5'], 'hello'],
    ['a head that ends in bare LFs', ['X: y\n\nGET /smuggled HTTP/1.1\nHost: x\nX-User-Roles: admin\n'], ''], ['a header without a colon', ['Content-Length'], `hello${inner}`], ['a header without a name', [': 5', 'Content-Length: 0'], ''], ['a name with a space', ['Content Length: 5', 'Content-Length: 0'], ''],
  ]
}

function isChunked (coding: string): boolean {
  return coding.trim().toLowerCase() === 'chunked'
}

/** What the grammar takes, and so must be read as it says. */
function isPlainLength (length: string): boolean {
  return /^0*5[ \t]*$/.test(length)
}

/** Bytes behind an upgrade are the tunnel's, or nobody's: never a request. */
function upgrades (route: AimedRoute, caller: readonly string[]): [string, string][] {
  const { host } = route
  if (route.method !== 'GET') return []
  const [connection = '', upgrade = '', version = '', key = ''] = handshakeLines
  const ask = (lines: readonly string[], target = route.path, method = 'GET') => requestText({ method, target, host, lines: [...caller, ...lines] })
  return [
    ['a handshake that the upstream refuses', ask(handshakeLines, `${route.path}/no-upgrade`)],
    ['a handshake of another version', ask([connection, upgrade, 'Sec-WebSocket-Version: 1337', key])],
    ['a handshake without a key', ask([connection, upgrade, version])],
    ['a handshake with a key that is none', ask([connection, upgrade, version, 'Sec-WebSocket-Key: x'])],
    ['a handshake with a body', `${ask([...handshakeLines, 'Content-Length: 5'])}hello`],
    ['a handshake by POST', ask([...handshakeLines, 'Content-Length: 0'], route.path, bodyMethod(route))],
    ['a handshake of HTTP/1.0', ask(handshakeLines).replace('HTTP/1.1', 'HTTP/1.0')],
    ['an upgrade to HTTP/2', ask(['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'])],
    ['an upgrade to TLS', ask([connection, 'Upgrade: TLS/1.0'])],
    ['an upgrade to two things', ask([connection, 'Upgrade: h2c, websocket', version, key])],
    ['an upgrade that Connection does not name', ask(['Connection: keep-alive', upgrade, version, key])],
    ['a tunnel', requestText({ method: 'CONNECT', target: `${host}:80`, host, lines: caller })],
    ['a trace', requestText({ method: 'TRACE', target: route.path, host, lines: caller })],
  ]
}
