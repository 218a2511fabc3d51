import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { endpoint } from '../../src/login/endpoint.ts'
import { jwks, metadata, metadataPaths } from '../../src/login/well-known.ts'
import type { PublicJwk } from '../../src/tokens/key-ring.ts'
import { makeKey } from '../helpers/tokens.ts'

const { publicJwk } = await makeKey('ES256')
if (publicJwk === null) throw new Error('ES256 is asymmetric')

async function start (t: Test, issuer: string, keys: () => readonly PublicJwk[] = () => [publicJwk as PublicJwk]) {
  const app = Fastify() as unknown as FastifyInstance
  endpoint(app, '/.well-known/jwks.json', { GET: jwks({ publicKeys: keys }) }, () => () => {})
  for (const path of metadataPaths(issuer)) endpoint(app, path, { GET: metadata(issuer) }, () => () => {})
  await app.ready()
  t.teardown(() => app.close())
  return app
}

t.test('GET /.well-known/jwks.json publishes the public keys and nothing private (RFC 7517)', async (t) => {
  const app = await start(t, 'https://gate.example')
  const answer = await app.inject('/.well-known/jwks.json')
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['content-type'], 'application/jwk-set+json')
  t.equal(answer.headers['cache-control'], 'public, max-age=300')
  t.equal(answer.headers['access-control-allow-origin'], '*')
  t.strictSame(answer.json(), { keys: [publicJwk] })
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k', 'oth']) t.notOk(member in answer.json().keys[0], member)
})

t.test('the key set of a gateway that signs with HS… is empty', async (t) => {
  const app = await start(t, 'https://gate.example', () => [])
  t.strictSame((await app.inject('/.well-known/jwks.json')).json(), { keys: [] })
})

t.test('a copy of the keys is asked after by its ETag, until they change', async (t) => {
  let keys: readonly PublicJwk[] = [publicJwk]
  const app = await start(t, 'https://gate.example', () => keys)
  const etag = String((await app.inject('/.well-known/jwks.json')).headers.etag)
  for (const value of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const answer = await app.inject({ url: '/.well-known/jwks.json', headers: { 'if-none-match': value } })
    t.equal(answer.statusCode, 304, value)
    t.equal(answer.body, '', value)
  }
  keys = []
  t.equal((await app.inject({ url: '/.well-known/jwks.json', headers: { 'if-none-match': etag } })).statusCode, 200)
})

t.test('GET /.well-known/oauth-authorization-server names every endpoint (RFC 8414)', async (t) => {
  const app = await start(t, 'https://gate.example')
  const answer = await app.inject('/.well-known/oauth-authorization-server')
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  t.strictSame(answer.json(), {
    issuer: 'https://gate.example',
    token_endpoint: 'https://gate.example/oauth/token',
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    jwks_uri: 'https://gate.example/.well-known/jwks.json',
    response_types_supported: [],
    grant_types_supported: ['password', 'refresh_token'],
    revocation_endpoint: 'https://gate.example/oauth/revoke',
    revocation_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    introspection_endpoint: 'https://gate.example/oauth/introspect',
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  })
})

t.test('of an issuer with a path the metadata stands between its host and its path (RFC 8414 §3.1)', async (t) => {
  const app = await start(t, 'https://gate.example/tenant/')
  for (const url of ['/.well-known/oauth-authorization-server/tenant', '/.well-known/oauth-authorization-server']) {
    const { issuer, token_endpoint: tokenEndpoint } = (await app.inject(url)).json()
    t.equal(issuer, 'https://gate.example/tenant/', 'as it was configured: a client compares it')
    t.equal(tokenEndpoint, 'https://gate.example/tenant/oauth/token')
  }
})
