/** What is kept, and how it is opened. Times are milliseconds since the epoch. */
import type { Kysely } from 'kysely'

export interface UsersTable {
  /** Stable, and not the name: what tokens and upstreams know the user by. */
  id: string
  /** As it was typed when the user was added. */
  name: string
  /** The name after NFKC and lower-casing: unique, and what a login is looked up by. */
  name_key: string
  password_hash: string
  /** JSON: string[] */
  roles: string
  /** JSON: string[] */
  scopes: string
  /** JSON: Record<string, string | number | boolean | string[]> */
  attributes: string
  disabled_at: number | null
  created_at: number
  updated_at: number
}

export interface SessionsTable {
  id: string
  /** The user's id, as in the token's `sub`. */
  subject: string
  /** The credential source that vouched for the subject: asked again at each refresh. */
  source: string
  client_id: string
  user_agent: string | null
  address: string | null
  created_at: number
  last_used_at: number
  /** Absolute: no refresh moves it. */
  expires_at: number
  /** Counts rotations; the refresh token in force carries it. */
  generation: number
  /** SHA-256 of the refresh token in force, base64url. */
  token_hash: string
  /** JSON: [generation, usedAt][] of the rotations that may still be inside the grace window. */
  recent_rotations: string
  ended_at: number | null
  end_reason: string | null
  /**
   * Until when some access token of this session may live, whatever the configuration says since. What it was when the session
   * ended, a trigger notes in `revoked_until`, which is null until then and has an index.
   */
  access_until: number
  /** HMAC of what the source knows the password by; null where the source ends sessions itself. */
  credential_tag: string | null
}

export interface KeysTable {
  kid: string
  algorithm: string
  /** JSON: the public JWK. */
  public_jwk: string
  /** PKCS #8, AES-256-GCM under a key derived from the master key; base64url of nonce ‖ ciphertext ‖ tag. */
  private_key: string
  created_at: number
  /** Signs from here on, until the next key does. */
  activates_at: number
  /** Verifies until here; null while no successor is known. */
  expires_at: number | null
}

export interface LoginAttemptsTable {
  /** What is counted: `account:…`, `address:…`, `all`. A hash where it would name a person. */
  key: string
  failures: number
  last_failure_at: number
  blocked_until: number
}

export interface KnownOriginsTable {
  /** SHA-256 of account and address: where an account has logged in from with success. */
  key: string
  last_success_at: number
}

export interface MetaTable {
  key: string
  value: string
}

export interface Tables {
  users: UsersTable
  sessions: SessionsTable
  keys: KeysTable
  login_attempts: LoginAttemptsTable
  known_origins: KnownOriginsTable
  meta: MetaTable
}

export type Database = Kysely<Tables>

/** What somebody, this process or another, has committed. */
export type Change =
  /** Milliseconds since the epoch in `access_until`. */
  | { readonly kind: 'ended', readonly sessions: readonly Pick<SessionsTable, 'id' | 'access_until'>[] }
  | { readonly kind: 'keys' }
  /** Something, which is to be looked for. `missed`: changes of long ago may have gone untold. */
  | { readonly kind: 'anything', readonly missed: boolean }

export interface Storage {
  readonly db: Database
  readonly engine: 'sqlite' | 'postgres'
  /**
   * Calls back soon (well under a second) after anybody, this process or another, has committed a change; returns what ends that.
   * A listener does not throw.
   */
  onChange (listener: (change: Change) => void): () => void
  /** All that was committed before has been told to the listeners: a time of `performance.now()`; -Infinity while nobody knows. */
  toldUntil (): number
  /** Rejects when the storage cannot be reached or written to. */
  ping (): Promise<void>
  close (): Promise<void>
}
