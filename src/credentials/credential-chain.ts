/** The configured sources in their order: the first that knows the user decides, and all of them do their work. */
import type { Config } from '../config/schema.ts'
import type { Database } from '../storage/database.ts'
import type { CredentialSource, Credentials, Subject } from './credential-source.ts'
import { openHtpasswd } from './htpasswd.ts'
import type { PasswordHasher } from './password-hash.ts'
import { createUserStore } from './user-store.ts'

export type ChainVerdict =
  | { readonly subject: Subject, readonly source: string }
  /** `reason` is for the log: the caller learns only that it was refused. */
  | { readonly subject: null, readonly reason: string }

export interface CredentialChain {
  check (credentials: Credentials): Promise<ChainVerdict>
  find (source: string, subjectId: string): Promise<Subject | null>
  close (): Promise<void>
}

export interface CredentialChainOptions {
  readonly config: Pick<Config, 'credentials' | 'passwords'>
  readonly db: Database
  readonly hasher: PasswordHasher
  readonly now: () => number
  /** Told what an operator should know of a source while it runs. */
  readonly warn?: (message: string) => void
}

/** Throws a StartupFault for a source that cannot be opened. */
export async function openCredentialChain ({ config, db, hasher, now, warn = () => {} }: CredentialChainOptions): Promise<CredentialChain> {
  return createCredentialChain(config.credentials.map((source) => {
    switch (source.type) {
      case 'store': return createUserStore({ db, hasher, minimumLength: config.passwords.minimumLength, now })
      case 'htpasswd': return openHtpasswd({ file: source.file, roles: source.roles ?? [], hasher, warn, now })
    }
  }))
}

export function createCredentialChain (sources: readonly CredentialSource[]): CredentialChain {
  const byName = new Map(sources.map((source) => [source.name, source]))
  return {
    async check (credentials) {
      if (isUnusable(credentials.password)) return { subject: null, reason: 'the password is too long, or has a NUL' }
      let refused: string | null = null
      for (const source of sources) {
        // The name is decided; the sources behind work all the same, so that time does not tell where it is known.
        if (refused !== null) {
          await source.decoy(credentials.password)
          continue
        }
        const verdict = await source.check(credentials)
        if (verdict.outcome === 'accepted') return { subject: verdict.subject, source: source.name }
        if (verdict.outcome === 'refused') refused = verdict.reason
      }
      return { subject: null, reason: refused ?? 'no such user' }
    },
    async find (source, subjectId) {
      return await byName.get(source)?.find(subjectId) ?? null
    },
    async close () {
      await Promise.all(sources.map((source) => source.close()))
    },
  }
}

/** Bytes of UTF-8. */
export const longestPassword = 1024

/** Decided before any work, and about the password alone: it tells nothing about a user. */
export function isUnusable (password: string): boolean {
  return password.includes('\0') || Buffer.byteLength(password) > longestPassword
}
