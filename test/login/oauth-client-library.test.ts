import t from 'tap'
import * as oauth from 'oauth4webapi'
import { clientSecret, issuer, password, startLogin } from './login-rig.ts'

const { app, secretsInLog, aliceId } = await startLogin(t)

/** The library's requests, to the application instead of a socket. */
const options = {
  async [oauth.customFetch] (url: string, { method, headers, body }: { method: string, headers: Record<string, string>, body?: unknown }): Promise<Response> {
    const { pathname, search } = new URL(url)
    const answer = await app.inject({ method: method as 'GET', url: pathname + search, headers, ...(body === undefined || body === null ? {} : { payload: String(body) }) })
    return new Response(answer.body === '' ? null : answer.body, { status: answer.statusCode, headers: new Headers(Object.entries(answer.headers).map(([name, value]): [string, string] => [name, String(value)])) })
  },
}

const faultOf = (answer: Promise<unknown>): Promise<unknown> => answer.then(() => null, (fault: unknown) => fault)

t.test('oauth4webapi finds the endpoints, logs in, refreshes, introspects and revokes', async (t) => {
  const server = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...options }))
  t.equal(server.issuer, issuer)
  const client: oauth.Client = { client_id: 'orders-api' }
  const authentication = oauth.ClientSecretBasic(clientSecret)

  const granted = await oauth.genericTokenEndpointRequest(server, client, authentication, 'password', new URLSearchParams({ username: 'alice', password }), options)
  const first = await oauth.processGenericTokenEndpointResponse(server, client, granted)
  t.equal(first.token_type, 'bearer')
  t.equal(first.expires_in, 300)

  const refreshed = await oauth.refreshTokenGrantRequest(server, client, authentication, String(first.refresh_token), options)
  const second = await oauth.processRefreshTokenResponse(server, client, refreshed)
  t.not(second.refresh_token, first.refresh_token)

  const looked = await oauth.processIntrospectionResponse(server, client, await oauth.introspectionRequest(server, client, authentication, second.access_token, options))
  t.match(looked, { active: true, sub: aliceId, client_id: 'orders-api' })

  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, authentication, String(second.refresh_token), options))
  const after = await oauth.processIntrospectionResponse(server, client, await oauth.introspectionRequest(server, client, authentication, second.access_token, options))
  t.equal(after.active, false)
})

t.test('oauth4webapi understands the errors', async (t) => {
  const server = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...options }))
  const app: oauth.Client = { client_id: 'app' }
  const refused = await oauth.refreshTokenGrantRequest(server, app, oauth.None(), 'nonsense', options)
  t.match(await faultOf(oauth.processRefreshTokenResponse(server, app, refused)), { error: 'invalid_grant', status: 400 })
  const orders: oauth.Client = { client_id: 'orders-api' }
  const wrong = await oauth.introspectionRequest(server, orders, oauth.ClientSecretPost('wrong'), 'x', options)
  t.match(await faultOf(oauth.processIntrospectionResponse(server, orders, wrong)), { status: 401 })
})

t.test('no line of the log holds a secret that this file used', async (t) => {
  t.strictSame(secretsInLog(), [])
})
