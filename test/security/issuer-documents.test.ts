/**
 * What an issuer answers comes over the network, and decides whose signatures are believed. A redirect that leads elsewhere,
 * a body without end, a server that is silent, keys that are too weak to mean anything or that everybody has: none of it is
 * taken, nothing waits for it, and the keys from before go on (SSRF by jwks_uri, JWKS spoofing, memory exhaustion).
 */
import { generateKeyPairSync } from 'node:crypto'
import type { RequestListener, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { generateCertificate } from '../helpers/certificate.ts'
import { localhostCertificate, localhostKey } from '../helpers/localhost-certificate.ts'
import { startOidcServer } from '../helpers/oidc-server.ts'
import { openTrustingVerifier, trusting } from '../helpers/trusting-verifier.ts'
import { readKeySet } from '../../src/tokens/issuer-key-set.ts'

const elsewhere = await startOidcServer(t)

await t.test('an answer that is not plainly the document leaves the keys from before in place', async (t) => {
  const corp = await startOidcServer(t)
  const patient = await openTrustingVerifier(t, [trusting({ issuer: corp.url })])
  // For those who keep silent; whoever answers may take longer on a slow machine.
  const impatient = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { timeout: 1_000 } })])
  const good = await corp.token('alice')
  await patient.verify(good)
  await impatient.verify(good)
  const keys = { keys: corp.issuer.keys.toJSON() }
  const metadata = (jwks_uri: unknown) => JSON.stringify({ issuer: corp.url, jwks_uri })
  const jwks = (answer: (response: ServerResponse) => void): RequestListener => (request, response) => {
    if (request.url === '/jwks') answer(response)
    else response.end(metadata(`${corp.url}/jwks`))
  }
  const cases: [string, RequestListener, string][] = [
    ['a redirect of the keys', jwks((response) => { response.writeHead(302, { location: `${elsewhere.url}/jwks` }).end() }), 'redirect'],
    ['a redirect of the metadata', (_request, response) => { response.writeHead(301, { location: `${elsewhere.url}/.well-known/openid-configuration` }).end() }, 'redirect'],
    ['a permanent redirect to itself', (request, response) => { response.writeHead(308, { location: request.url }).end() }, 'redirect'],
    ['a document of 2 MiB that says so', jwks((response) => { response.end(' '.repeat(2 ** 21)) }), 'too_large'],
    ['a document without end', jwks(endless), 'too_large'],
    ['silence', () => {}, 'timeout'],
    ['a head, then silence', jwks((response) => { response.writeHead(200).flushHeaders() }), 'timeout'],
    ['a body by the drop', jwks((response) => { drip(response) }), 'timeout'],
    ['a coding that nobody asked for', jwks((response) => { response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(JSON.stringify(keys))) }), 'invalid'],
    ['500', jwks((response) => { response.writeHead(500).end(JSON.stringify(keys)) }), 'status'],
    ['201', jwks((response) => { response.writeHead(201).end(JSON.stringify(keys)) }), 'status'],
    ['a cut body', jwks((response) => { response.writeHead(200, { 'content-length': 1000 }).write('{'); response.destroy() }), 'unreachable'],
    ['no JSON', jwks((response) => { response.end('<html>') }), 'invalid'],
    ['a member twice', jwks((response) => { response.end(`{"keys":[],"keys":${JSON.stringify(keys.keys)}}`) }), 'invalid'],
    ['__proto__', jwks((response) => { response.end(`{"__proto__":{"keys":[]},"keys":${JSON.stringify(keys.keys)}}`) }), 'invalid'],
    ['no object', jwks((response) => { response.end('null') }), 'invalid'],
    ['keys that are no list', jwks((response) => { response.end('{"keys":{"length":1}}') }), 'invalid'],
    ['a thousand keys', jwks((response) => { response.end(JSON.stringify({ keys: Array.from({ length: 1000 }, () => ({ kty: 'oct', k: 'x' })) })) }), 'invalid'],
    ['keys at a place over http elsewhere', (_request, response) => { response.end(metadata('http://192.0.2.1/jwks')) }, 'invalid'],
    ['keys of the metadata of a cloud', (_request, response) => { response.end(metadata('http://169.254.169.254/latest')) }, 'invalid'],
    ['keys at a host that is called like this one', (_request, response) => { response.end(metadata('http://127.0.0.1.example.com/jwks')) }, 'invalid'],
    ['keys in a file', (_request, response) => { response.end(metadata('file:///etc/passwd')) }, 'invalid'],
    ['keys in the document', (_request, response) => { response.end(metadata(`data:application/json,${encodeURIComponent(JSON.stringify(keys))}`)) }, 'invalid'],
    ['keys at a place with a password', (_request, response) => { response.end(metadata(`http://a:b@${new URL(corp.url).host}/jwks`)) }, 'invalid'],
    ['keys nowhere', (_request, response) => { response.end(metadata(undefined)) }, 'invalid'],
    ['metadata that is null', (_request, response) => { response.end('null') }, 'wrong_issuer'],
  ]
  for (const [name, listener, fault] of cases) {
    const verifier = fault === 'timeout' ? impatient : patient
    verifier.later(30_001)
    corp.misbehave(listener)
    t.equal(await verifier.outcome(await corp.token('mallory', {}, { kid: 'unknown' })), 'GW_KEYS_UNAVAILABLE', name)
    t.equal(verifier.fetches.at(-1), `corp ${fault}`, name)
    t.equal(await verifier.outcome(good), 'corp|alice')
  }
  t.equal(elsewhere.asked.length, 0, 'nobody was led elsewhere')
  corp.misbehave(null)
  patient.later(30_001)
  t.equal(await patient.outcome(await corp.token('mallory', {}, { kid: 'unknown' })), 'GW_TOKEN_INVALID', 'and all is well again')
})

await t.test('a certificate that nobody vouches for ends it before a byte is asked for', async (t) => {
  const asked: string[] = []
  const server = createServer(generateCertificate(), (request) => { asked.push(request.url ?? '') })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const verifier = await openTrustingVerifier(t, [trusting({ issuer })])
  t.equal(await verifier.outcome(await elsewhere.token('alice', { iss: issuer })), 'GW_KEYS_UNAVAILABLE')
  t.equal(verifier.fetches.at(-1), 'corp unreachable')
  t.match(verifier.log.join('\n'), 'DEPTH_ZERO_SELF_SIGNED_CERT')
  t.strictSame(asked, [])
})

await t.test('over TLS, a certificate must be vouched for and name the host; and https never leads to http', async (t) => {
  let keysAt = ''
  const server = createServer({ key: localhostKey, cert: localhostCertificate }, (request, response) => {
    const { host = '' } = request.headers
    response.end(JSON.stringify(request.url === '/jwks' ? { keys: elsewhere.issuer.keys.toJSON() } : { issuer: `https://${host}`, jwks_uri: keysAt }))
  })
  await new Promise<void>((resolve) => { server.listen(0, '0.0.0.0', resolve) })
  t.teardown(() => { server.close() })
  const { port } = server.address() as AddressInfo
  const outcome = async (issuer: string, jwksUri: string, ca?: string) => {
    keysAt = jwksUri
    const verifier = await openTrustingVerifier(t, [trusting({ issuer })], { start: false, ...(ca === undefined ? {} : { ca }) })
    return [await verifier.outcome(await elsewhere.token('alice', { iss: issuer })), ...verifier.fetches, ...verifier.log.filter((line) => line.includes('ALTNAME'))]
  }
  const issuer = `https://localhost:${port}`
  t.strictSame(await outcome(issuer, `${issuer}/jwks`, localhostCertificate), ['corp|alice', 'corp fetched'])
  t.strictSame(await outcome(issuer, `${issuer}/jwks`), ['GW_KEYS_UNAVAILABLE', 'corp unreachable'])
  t.match(await outcome(`https://127.0.0.2:${port}`, `${issuer}/jwks`, localhostCertificate), ['GW_KEYS_UNAVAILABLE', 'corp unreachable', 'ERR_TLS_CERT_ALTNAME_INVALID'])
  t.strictSame(await outcome(issuer, `${elsewhere.url}/jwks`, localhostCertificate), ['GW_KEYS_UNAVAILABLE', 'corp invalid'])
  t.strictSame(await outcome(issuer, `${issuer}/${'x'.repeat(2_048)}`, localhostCertificate), ['GW_KEYS_UNAVAILABLE', 'corp invalid'])
})

await t.test('keys that prove nothing are dropped, each with its reason', async (t) => {
  const rsa = (bits: number, publicExponent = 65_537) => generateKeyPairSync('rsa', { modulusLength: bits, publicExponent }).publicKey.export({ format: 'jwk' })
  const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' })
  const strong = rsa(2048)
  const p256 = { ...ec('P-256'), kid: 'good' }
  const ed = { ...generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }), kid: 'ed' }
  const cases: [string, unknown, string][] = [
    ['RSA of 1024 bits', { ...rsa(1024), kid: 'x' }, 'is an RSA key of 1024 bits: use at least 2048 (RFC 7518 §3.3)'],
    ['exponent 3', { ...rsa(2048, 3), kid: 'x' }, 'has a weak RSA exponent'],
    ['exponent 1', { ...strong, e: 'AQ', kid: 'x' }, 'has a weak RSA exponent'],
    ['a symmetric key', { kty: 'oct', k: 'c2VjcmV0', kid: 'x' }, 'holds private members: whoever reads it can sign'],
    ['a symmetric key for HS256', { kty: 'oct', k: 'c2VjcmV0', alg: 'HS256', kid: 'x' }, 'holds private members: whoever reads it can sign'],
    ['a private key', { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid: 'x' }, 'holds private members: whoever reads it can sign'],
    ['for encryption', { ...p256, use: 'enc' }, 'is for another use than signatures'],
    ['to sign', { ...p256, key_ops: ['sign'] }, 'is for other operations than to verify'],
    ['key_ops as text', { ...p256, key_ops: 'verify' }, 'is for other operations than to verify'],
    ['for HS256', { ...p256, alg: 'HS256' }, 'is for no algorithm that is taken of this issuer'],
    ['for none', { ...p256, alg: 'none' }, 'is for no algorithm that is taken of this issuer'],
    ['for the algorithm of another curve', { ...p256, alg: 'ES384' }, 'is for no algorithm that is taken of this issuer'],
    ['for the algorithm of another type', { ...p256, alg: 'RS256' }, 'is for no algorithm that is taken of this issuer'],
    ['a curve that nobody signs with', { ...ec('secp256k1'), kid: 'x' }, 'is for no algorithm that is taken of this issuer'],
    ['a point that is not on the curve', { ...p256, y: p256.x }, 'is no valid key'],
    ['a point at the origin', { ...p256, x: Buffer.alloc(32).toString('base64url'), y: Buffer.alloc(32).toString('base64url') }, 'is no valid key'],
    ['half a point', { ...p256, y: undefined }, 'lacks a member, or has one that is not canonical base64url'],
    ['padded', { ...p256, x: `${p256.x ?? ''}=` }, 'lacks a member, or has one that is not canonical base64url'],
    ['Ed25519 of small order', { kty: 'OKP', crv: 'Ed25519', x: Buffer.from([1, ...Buffer.alloc(31)]).toString('base64url'), kid: 'x' }, 'lacks a member, or has one that is not canonical base64url'],
    ['no kid', { ...p256, kid: undefined }, 'has no usable kid'],
    ['kid as a number', { ...p256, kid: 1 }, 'has no usable kid'],
    ['text', 'key', 'is no object'],
    ['a list', [p256], 'is no object'],
  ]
  const taken = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'] as const
  for (const [name, key, why] of cases) {
    const set = await readKeySet({ keys: [key, ed] }, taken)
    t.match(set, { keys: [{ verifying: { kid: 'ed' } }], dropped: [{ why }] }, name)
  }
  const twice = await readKeySet({ keys: [p256, { ...ec('P-256'), kid: 'good' }] }, taken)
  t.match(twice, { keys: [], dropped: [{ why: 'shares its kid with another key' }, {}] }, 'which of two is meant cannot be told')
  const both = await readKeySet({ keys: [{ ...strong, kid: 'a' }, { ...strong, kid: 'b', alg: 'PS256', use: 'sig', key_ops: ['verify'] }] }, taken)
  t.match(both, { keys: [{ verifying: { algorithm: 'RS256' } }, { verifying: { algorithm: 'PS256' } }], dropped: [] }, 'one algorithm a key')
  t.match(await readKeySet({ keys: [p256] }, ['RS256']), { keys: [], dropped: [{ why: 'is for no algorithm that is taken of this issuer' }] })
})

await t.test('the algorithm is that of the key and of the configuration, whatever the token says', async (t) => {
  const corp = await startOidcServer(t, { algorithm: 'RS256' })
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, algorithms: ['RS256'] })])
  const good = await corp.token('alice')
  t.equal(await verifier.outcome(good), 'corp|alice')
  const [, payload = '', signature = ''] = good.split('.')
  const { kid } = corp.issuer.keys.toJSON()[0] ?? {}
  for (const alg of ['PS256', 'RS512', 'HS256', 'none', 'rs256', '', ['RS256'], undefined]) {
    const header = Buffer.from(JSON.stringify({ alg, typ: 'JWT', kid })).toString('base64url')
    t.equal(await verifier.outcome(`${header}.${payload}.${signature}`), 'GW_TOKEN_INVALID', String(alg))
  }
  t.equal(corp.keyFetches(), 1)
})

function endless (response: ServerResponse): void {
  response.writeHead(200)
  const chunk = ' '.repeat(65_536)
  const more = (): void => {
    while (response.write(chunk)) if (response.destroyed) return
    response.once('drain', more)
  }
  more()
}

function drip (response: ServerResponse): void {
  response.writeHead(200)
  const timer = setInterval(() => { response.write(' ') }, 20)
  response.once('close', () => { clearInterval(timer) })
}
