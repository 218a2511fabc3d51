/**
 * CVE-2015-9235, CVE-2023-48223, CVE-2026-34950, GHSA-ww5h-9m49-7xx4, GHSA-g3jj-5cmm-3hxx: a verifier that takes HS256 from the
 * token and the public key from its configuration checks an HMAC whose secret everybody knows. Each fix looked at the form of
 * the key and missed one. Here a key has one algorithm, a ring has one kind of key, and a public key is refused as a secret.
 */
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { openHmacKeyRing } from '../../src/tokens/hmac-key-ring.ts'
import { refusesAll } from '../helpers/refuses.ts'
import { confusedKeys } from '../../src/attack/forged-tokens.ts'

await t.test('refuses every HMAC made with what is public', async (t) => {
  await refusesAll(t, confusedKeys)
})

await t.test('refuses a key of a pair as the secret of HS…, in every form it has', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  const jwk = JSON.stringify(publicKey.export({ format: 'jwk' }))
  const forms = [
    pem, pem.trim(), ` ${pem}`, `\u200b${pem}`, `# comment\n${pem}`, pem.replaceAll('\n', '\r\n'),
    String(publicKey.export({ type: 'pkcs1', format: 'pem' })), String(privateKey.export({ type: 'pkcs8', format: 'pem' })), '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    jwk, ` ${jwk}`, `{"keys":[${jwk}]}`, `[${jwk}]`, jwk.replace('"kty":', '"kty" : '),
  ]
  for (const secret of forms) {
    t.throws(() => openHmacKeyRing({ algorithm: 'HS256', secret, directory: undefined }), { name: 'StartupFault', message: /accessToken\.secret is a key/ })
  }
})
