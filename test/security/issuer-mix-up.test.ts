/**
 * Two issuers are trusted, and each may speak for its own users alone. Mix-up: a token of one that says it is the other's, by
 * its iss, its kid, a key that both publish, metadata that names another issuer; or a subject that reads like the other's.
 * (RFC 8725 §3.8; the class of CVE-2023-48238 and of "issuer confusion" in multi-tenant gateways.)
 */
import t from 'tap'
import { forge, goodClaims, goodHeader } from '../helpers/tokens.ts'
import { oidcAudience, startOidcServer } from '../helpers/oidc-server.ts'
import { openTrustingVerifier, trusting } from '../helpers/trusting-verifier.ts'

const corp = await startOidcServer(t)
const partner = await startOidcServer(t)
const stranger = await startOidcServer(t)
const { outcome, own } = await openTrustingVerifier(t, [
  trusting({ name: 'corp', issuer: corp.url }),
  trusting({ name: 'partner', issuer: partner.url, subject: 'as-is' }),
])

await t.test('each speaks for its own users', async (t) => {
  t.equal(await outcome(await corp.token('alice')), 'corp|alice')
  t.equal(await outcome(await partner.token('alice')), 'alice', 'as-is, where the operator says so')
})

await t.test('none signs for another, for the gateway, or for one who is not trusted', async (t) => {
  const [corpKey] = corp.issuer.keys.toJSON()
  t.equal(await outcome(await partner.token('alice', { iss: corp.url })), 'GW_TOKEN_INVALID')
  t.equal(await outcome(await partner.token('alice', { iss: corp.url }, { kid: corpKey?.kid })), 'GW_TOKEN_INVALID', 'with the kid of the other')
  t.equal(await outcome(await partner.token('alice', { iss: 'https://gateway.test', aud: 'api', sid: 'x' }, { typ: 'at+jwt' })), 'GW_TOKEN_INVALID')
  t.equal(await outcome(await partner.token('alice', { iss: 'https://gateway.test', aud: 'api', sid: 'x' }, { typ: 'at+jwt', kid: own.signing.kid })), 'GW_TOKEN_INVALID')
  t.equal(await outcome(await stranger.token('alice')), 'GW_TOKEN_INVALID')
  t.equal(stranger.asked.length, 0, 'and nobody asks a stranger for keys')
  // The gateway's own key, too, speaks for the gateway alone.
  const claims = goodClaims(Date.now(), { iss: corp.url, aud: oidcAudience })
  t.equal(await outcome(forge(own.signing, goodHeader(own.signing), claims)), 'GW_TOKEN_INVALID')
})

await t.test('the issuer is meant letter for letter, and is one text', async (t) => {
  const { port } = new URL(corp.url)
  for (const iss of [`${corp.url}/`, corp.url.toUpperCase(), `http://localhost:${port}`, `${corp.url}#`, `${corp.url}\u0000`, [corp.url], [corp.url, partner.url], { toString: corp.url }, true, null, 'constructor', '__proto__']) {
    t.equal(await outcome(await corp.token('alice', { iss })), 'GW_TOKEN_INVALID', JSON.stringify(iss))
  }
})

await t.test('a key that both publish under one kid still speaks for the one who signed alone', async (t) => {
  const twin = await startOidcServer(t)
  const [key] = corp.issuer.keys.toJSON(true)
  await twin.issuer.keys.add({ ...key })
  const both = await openTrustingVerifier(t, [trusting({ name: 'corp', issuer: corp.url }), trusting({ name: 'twin', issuer: twin.url })])
  t.equal(await both.outcome(await twin.issuer.buildToken({ kid: key?.kid, scopesOrTransform: (_header, payload) => { Object.assign(payload, { sub: 'alice', aud: oidcAudience }) } })), 'twin|alice')
  t.equal(await both.outcome(await corp.token('alice')), 'corp|alice')
})

await t.test('no subject reads like one of another issuer', async (t) => {
  t.equal(await outcome(await partner.token('corp|alice')), 'GW_TOKEN_INVALID', 'though its subjects are taken as they are')
  t.equal(await outcome(await partner.token('partner|alice')), 'GW_TOKEN_INVALID')
  t.equal(await outcome(await partner.token('other|alice')), 'other|alice')
  t.equal(await outcome(await corp.token('partner|alice')), 'corp|partner|alice')
  t.equal(await outcome(await corp.token('|alice')), 'corp||alice')
})

await t.test('metadata of another issuer lends its keys to nobody', async (t) => {
  const liar = await startOidcServer(t)
  for (const metadata of [
    { issuer: corp.url, jwks_uri: `${corp.url}/jwks` },
    { issuer: `${liar.url}/`, jwks_uri: `${liar.url}/jwks` },
    { issuer: [liar.url], jwks_uri: `${liar.url}/jwks` },
    { jwks_uri: `${liar.url}/jwks` },
  ]) {
    liar.misbehave((_request, response) => { response.end(JSON.stringify(metadata)) })
    const verifier = await openTrustingVerifier(t, [trusting({ issuer: liar.url })])
    t.equal(await verifier.outcome(await liar.token('alice')), 'GW_KEYS_UNAVAILABLE')
    t.ok(verifier.fetches.every((fetch) => fetch === 'corp wrong_issuer'))
    t.notOk(liar.asked.includes('/jwks'))
  }
})
