/** Published vectors: RFC 7638 §3.1, RFC 8037 appendix A, RFC 7520 §4.3. */
import { createPrivateKey, createPublicKey, verify } from 'node:crypto'
import t from 'tap'
import { materialOf } from '../../src/tokens/key-material.ts'
import { signature } from '../helpers/tokens.ts'

const ed25519 = { kty: 'OKP', crv: 'Ed25519', d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }

await t.test('the thumbprint of RFC 7638', async (t) => {
  const n = '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw'
  const { kid, signing, publicJwk } = await materialOf(createPublicKey({ key: { kty: 'RSA', n, e: 'AQAB' }, format: 'jwk' }), 'RS256', 'others-too')
  t.equal(kid, 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
  t.equal(signing, null, 'a public key signs nothing')
  t.strictSame(publicJwk, { kty: 'RSA', n, e: 'AQAB', kid, alg: 'RS256', use: 'sig' })
})

await t.test('the thumbprint of RFC 8037 A.3', async (t) => {
  const { kid, publicJwk } = await materialOf(createPrivateKey({ key: ed25519, format: 'jwk' }), 'EdDSA', 'others-too')
  t.equal(kid, 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
  t.notOk('d' in publicJwk)
})

await t.test('the signature of RFC 8037 A.4, by the pen that the attack suites write with', async (t) => {
  const key = String(createPrivateKey({ key: ed25519, format: 'jwk' }).export({ type: 'pkcs8', format: 'pem' }))
  const input = 'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc'
  t.equal(signature({ algorithm: 'EdDSA', key }, input).toString('base64url'), 'hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg')
})

await t.test('the key of RFC 7520 §3.1 on P-521 verifies what is signed by it, in the form of a JWT', async (t) => {
  const jwk = { kty: 'EC', crv: 'P-521', x: 'AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt', y: 'AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1', d: 'AAhRON2r9cqXX1hg-RoI6R1tX5p2rUAYdmpHZoC1XNM56KtscrX6zbKipQrCW9CGZH3T4ubpnoTKLDYJ_fF3_rJt' }
  const { signing, verifying } = await materialOf(createPrivateKey({ key: jwk, format: 'jwk' }), 'ES512', 'others-too')
  if (signing === null) throw new Error('no private key')
  const made = signature(signing, 'x.y')
  t.equal(made.length, 132)
  t.ok(verify('sha512', Buffer.from('x.y'), { key: verifying.key, dsaEncoding: 'ieee-p1363' }, made))
})
