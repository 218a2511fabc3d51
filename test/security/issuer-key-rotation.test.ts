/**
 * An issuer takes a key away because it is lost. Tokens that were verified with it lie in the cache of the gateway, and would
 * be believed until they expire; a new key under the old kid is the same case (CVE-class: stale JWKS, cached verdicts).
 */
import t from 'tap'
import { startOidcServer } from '../helpers/oidc-server.ts'
import { openTrustingVerifier, trusting } from '../helpers/trusting-verifier.ts'

await t.test('a new key is taken at its first token', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url })])
  const old = await corp.token('alice')
  await verifier.verify(old)
  await corp.rotate('RS256')
  t.equal(await verifier.outcome(await corp.token('bob')), 'corp|bob')
  t.equal(corp.keyFetches(), 2)
  t.equal(await verifier.outcome(old), 'corp|alice', 'the one before serves on while it is published')
})

await t.test('a key that is taken away takes the remembered tokens with it', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { refreshEvery: 40 } })])
  const old = await corp.token('alice')
  await verifier.verify(old)
  t.equal(await verifier.outcome(old), 'corp|alice', 'from the cache')
  await corp.rotate()
  corp.forgetOldKeys()
  await verifier.nextFetch()
  t.equal(await verifier.outcome(old), 'GW_TOKEN_INVALID')
  t.equal(await verifier.outcome(await corp.token('bob')), 'corp|bob')
})

await t.test('another key under the same kid is another key', async (t) => {
  const corp = await startOidcServer(t)
  const impostor = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { refreshEvery: 40 } })])
  const old = await corp.token('alice')
  await verifier.verify(old)
  const { kid } = corp.issuer.keys.toJSON()[0] ?? {}
  const [replacement] = impostor.issuer.keys.toJSON()
  corp.misbehave((request, response) => {
    const body = request.url === '/jwks' ? { keys: [{ ...replacement, kid }] } : { issuer: corp.url, jwks_uri: `${corp.url}/jwks` }
    response.end(JSON.stringify(body))
  })
  await verifier.nextFetch()
  t.equal(await verifier.outcome(old), 'GW_TOKEN_INVALID')
  t.equal(await verifier.outcome(await impostor.token('alice', { iss: corp.url }, { kid })), 'corp|alice')
})

await t.test('an issuer that publishes no key any more is believed', async (t) => {
  const corp = await startOidcServer(t)
  const verifier = await openTrustingVerifier(t, [trusting({ issuer: corp.url, keys: { refreshEvery: 40 } })])
  const old = await corp.token('alice')
  await verifier.verify(old)
  corp.misbehave((request, response) => { response.end(JSON.stringify(request.url === '/jwks' ? { keys: [] } : { issuer: corp.url, jwks_uri: `${corp.url}/jwks` })) })
  await verifier.nextFetch()
  t.equal(await verifier.outcome(old), 'GW_TOKEN_INVALID')
})
