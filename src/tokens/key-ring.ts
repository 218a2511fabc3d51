/** The keys by kid: one signs, those before and after it verify, all are published. Where they come from is its files' matter. */
import type { Algorithm, Config } from '../config/schema.ts'
import type { Database } from '../storage/database.ts'
import { isHmac } from './algorithms.ts'
import { openHmacKeyRing } from './hmac-key-ring.ts'
import { openKeyDirectory } from './key-directory.ts'
import type { MasterKey } from './master-key.ts'
import { openStoredKeyRing } from './stored-key-ring.ts'

export interface SigningKey {
  readonly kid: string
  readonly algorithm: Algorithm
  /** PEM (PKCS #8), or the bytes of the HMAC secret. */
  readonly key: string | Buffer
}

export interface VerifyingKey {
  readonly kid: string
  readonly algorithm: Algorithm
  /** PEM (SPKI), or the bytes of the HMAC secret. */
  readonly key: string | Buffer
  /** Whether only our mint signs with its other half, or others may too (a key that was brought in from outside). */
  readonly signers: 'gateway' | 'others-too'
}

/** RFC 7517, public members only. */
export interface PublicJwk {
  readonly kty: 'EC' | 'OKP' | 'RSA'
  readonly kid: string
  readonly alg: string
  readonly use: 'sig'
  readonly crv?: string
  readonly x?: string
  readonly y?: string
  readonly n?: string
  readonly e?: string
}

/** What an operator sees of a key. Times in ms since the epoch; null where the source of the key knows none. */
export interface KeyView {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly state: 'next' | 'signing' | 'retired'
  readonly createdAt: number | null
  readonly activatesAt: number | null
  readonly expiresAt: number | null
}

export interface KeyRing {
  /** The one that signs now. The same object for as long as it is the same key. */
  signingKey (): SigningKey
  /** The key of that id, if it still (or already) verifies. The same object for as long as it is the same key. */
  verifyingKey (kid: string): VerifyingKey | undefined
  /** For the JWKS: the signing key first. Empty for HS…. */
  publicKeys (): readonly PublicJwk[]
  /** For `gatewarden keys list`. */
  list (): readonly KeyView[]
  /**
   * Makes the next key; it signs after `keys.publishAhead`, or at once. One that is under way already is taken instead of
   * a further one. Throws a StartupFault where the keys are not kept in storage.
   */
  rotate (options?: { immediately?: boolean }): Promise<KeyView>
  /** Makes the next key when the time has come, and deletes the dead. To be called now and then; cheap when nothing is due. */
  maintain (): Promise<void>
  /** Reads storage or the directory again. When that fails it throws, and the keys stay as they were. */
  reload (): Promise<void>
  /** Calls back after any change of the keys: whatever was concluded from them is to be forgotten. */
  onChange (listener: () => void): void
  close (): void
}

export interface KeyRingOptions {
  readonly config: Pick<Config, 'accessToken' | 'keys'>
  readonly db: Database
  readonly masterKey: MasterKey
  readonly now: () => number
  /** Behind `now` while that is in doubt: keys are neither made nor deleted then. As `now` where nothing is said. */
  readonly settledNow?: () => number
}

/** Throws a StartupFault when there is no key to sign with and none can be made. */
export async function openKeyRing ({ config, db, masterKey, now, settledNow = now }: KeyRingOptions): Promise<KeyRing> {
  const { algorithm } = config.accessToken
  if (isHmac(algorithm)) return openHmacKeyRing({ algorithm, secret: config.accessToken.secret, directory: config.keys.directory })
  if (config.keys.directory !== undefined) return await openKeyDirectory({ algorithm, directory: config.keys.directory })
  return await openStoredKeyRing({ algorithm, accessToken: config.accessToken, keys: config.keys, db, masterKey, now, settledNow })
}
