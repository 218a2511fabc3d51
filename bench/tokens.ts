/** Key pairs and access tokens as the gateway makes them, so that every contender verifies the very same ones. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose'
import { openHmacKeyRing } from '../src/tokens/hmac-key-ring.ts'

export type Algorithm = 'ES256' | 'RS256' | 'PS256' | 'EdDSA' | 'ES384' | 'HS256'

export interface Issuing {
  readonly algorithm: Algorithm
  /** A folder with the private key, as `keys.directory` reads it. */
  readonly directory: string
  readonly publicKeyFile: string
  /** As the gateway names the key: RFC 7638 thumbprint, or what it makes of a secret. */
  readonly kid: string
  /** For HS256. */
  readonly secret: string
  token (number: number): Promise<string>
}

export const issuer = 'http://bench.test'
export const audience = 'api'

export async function createIssuing (folder: string, algorithm: Algorithm): Promise<Issuing> {
  const directory = join(folder, `keys-${algorithm}`)
  const publicKeyFile = join(folder, `${algorithm}.pub.pem`)
  const secret = 'a secret of the benchmark: not one for anything else'
  mkdirSync(directory, { recursive: true })
  let signing: KeyObject | Uint8Array = Buffer.from(secret)
  let kid: string
  if (algorithm === 'HS256') {
    kid = openHmacKeyRing({ algorithm, secret, directory: undefined }).signingKey().kid
  } else {
    const { publicKey, privateKey } = pairOf(algorithm)
    signing = privateKey
    kid = await calculateJwkThumbprint(await exportJWK(publicKey))
    writeFileSync(join(directory, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    writeFileSync(publicKeyFile, publicKey.export({ type: 'spki', format: 'pem' }))
  }
  return {
    algorithm,
    directory,
    publicKeyFile,
    kid,
    secret,
    async token (number) {
      const now = Math.floor(Date.now() / 1_000)
      return await new SignJWT({ client_id: 'gatewarden', sid: `session-${number}`, jti: `token-${number}`, roles: ['editor'] })
        .setProtectedHeader({ alg: algorithm, typ: 'at+jwt', kid })
        .setIssuer(issuer).setAudience(audience).setSubject(`user-${number}`)
        .setIssuedAt(now).setExpirationTime(now + 7_200)
        .sign(signing)
    },
  }
}

function pairOf (algorithm: Exclude<Algorithm, 'HS256'>): { publicKey: KeyObject, privateKey: KeyObject } {
  switch (algorithm) {
    case 'ES256': return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    case 'ES384': return generateKeyPairSync('ec', { namedCurve: 'P-384' })
    case 'RS256':
    case 'PS256': return generateKeyPairSync('rsa', { modulusLength: 2048 })
    case 'EdDSA': return generateKeyPairSync('ed25519')
  }
}
