/** Keys, valid tokens, and a pen that writes any token at all: headers and payloads byte by byte, signed with a live key. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { forge, goodHeader, type Pen } from '../../src/attack/pen.ts'
import { asymmetricAlgorithm, shapes } from '../../src/tokens/algorithms.ts'
import { generatePrivateKey, materialOf } from '../../src/tokens/key-material.ts'
import type { KeyRing, PublicJwk, SigningKey, VerifyingKey } from '../../src/tokens/key-ring.ts'
import type { Algorithm } from '../../src/config/schema.ts'
import { openHmacKeyRing } from '../../src/tokens/hmac-key-ring.ts'

export { forge, goodHeader, segment, signature, signSegments, type Pen } from '../../src/attack/pen.ts'

export const issuer = 'https://gateway.test'
export const audience = 'api'
/** A moment in milliseconds that tests begin at: a whole second, so that their arithmetic shows. */
export const someTime = 1_780_000_000_000

export interface TestKey {
  readonly signing: SigningKey
  readonly verifying: VerifyingKey
  /** Null for HS…. */
  readonly publicJwk: PublicJwk | null
}

export async function makeKey (algorithm: Algorithm, signers: VerifyingKey['signers'] = 'others-too'): Promise<TestKey> {
  const asymmetric = asymmetricAlgorithm(algorithm)
  if (asymmetric !== undefined) {
    // Smaller than what the ring makes: RSA signatures by the thousand take their time.
    const privateKey = shapes[asymmetric].kind === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey : await generatePrivateKey(asymmetric)
    return await keyOf(privateKey, algorithm, signers)
  }
  if (algorithm !== 'HS256' && algorithm !== 'HS384' && algorithm !== 'HS512') throw new TypeError(algorithm)
  const ring = openHmacKeyRing({ algorithm, secret: 'a secret for tests alone: it is long enough for sixty-four bytes!!', directory: undefined })
  const signing = ring.signingKey()
  const verifying = ring.verifyingKey(signing.kid)
  if (verifying === undefined) throw new TypeError('the ring has no key')
  return { signing, verifying, publicJwk: null }
}

export async function keyOf (privateKey: KeyObject, algorithm: Algorithm, signers: VerifyingKey['signers'] = 'others-too'): Promise<TestKey> {
  const asymmetric = asymmetricAlgorithm(algorithm)
  if (asymmetric === undefined) throw new TypeError(algorithm)
  const { signing, verifying, publicJwk } = await materialOf(privateKey, asymmetric, signers)
  if (signing === null) throw new TypeError('not a private key')
  return { signing, verifying, publicJwk }
}

/** Keys without a storage: the first signs, all verify, and one may be taken out. */
export function keyRingOf (...keys: readonly [TestKey, ...TestKey[]]): Pick<KeyRing, 'signingKey' | 'verifyingKey'> & { remove (kid: string): void } {
  const byKid = new Map(keys.map((key) => [key.verifying.kid, key.verifying]))
  return {
    signingKey: () => keys[0].signing,
    verifyingKey: (kid) => byKid.get(kid),
    remove (kid) {
      byKid.delete(kid)
    },
  }
}

/** The claims of a token that holds for five minutes. */
export function goodClaims (nowMs: number, changes: Record<string, unknown> = {}): Record<string, unknown> {
  const iat = Math.floor(nowMs / 1000)
  return {
    iss: issuer,
    sub: 'user-1',
    aud: audience,
    exp: iat + 300,
    iat,
    jti: 'Zm9yLXRlc3RzLWFsb25lIQ',
    sid: 'session-1',
    client_id: 'gatewarden',
    roles: ['reader'],
    ...changes,
  }
}

export function validToken (pen: Pen, nowMs: number, changes: Record<string, unknown> = {}): string {
  return forge(pen, goodHeader(pen), goodClaims(nowMs, changes))
}
