/** The configured sources in their order: the first that knows the user decides, and all of them do their work. */
import type { Config } from '../config/schema.ts'
import type { UserEndpoint, UserEndpointOptions } from '../remote/user-endpoint.ts'
import type { Database } from '../storage/database.ts'
import type { UserDatabase, UserDatabaseOptions } from '../storage/user-database.ts'
import type { CredentialSource, Credentials, Subject } from './credential-source.ts'
import { openHtpasswd } from './htpasswd.ts'
import { isUnusable } from './password-form.ts'
import type { PasswordHasher } from './password-hash.ts'
import { createUserStore } from './user-store.ts'

export type ChainVerdict =
  /** `handle`: what `find` knows the subject by again, beside its id. */
  | { readonly subject: Subject, readonly source: string, readonly handle: string }
  /** `reason` is for the log: the caller learns only that it was refused. */
  | { readonly subject: null, readonly reason: string }

export interface CredentialChain {
  /** Throws GW_UNAVAILABLE while a source has more to do than it may: whoever the caller is, and before anything is spent on them. */
  assertRoom (): void
  check (credentials: Credentials): Promise<ChainVerdict>
  find (handle: string, subjectId: string): Promise<Subject | null>
  close (): Promise<void>
}

export interface CredentialChainOptions {
  readonly config: Pick<Config, 'credentials' | 'passwords'>
  readonly db: Database
  readonly hasher: PasswordHasher
  /** For sources of type `sql`. */
  readonly openDatabase: (options: UserDatabaseOptions) => Promise<UserDatabase>
  /** For sources of type `http`. */
  readonly openEndpoint: (options: UserEndpointOptions) => Promise<UserEndpoint>
  readonly now: () => number
  /** Told what an operator should know of a source while it runs. */
  readonly warn?: (message: string) => void
}

/** Throws a StartupFault for a source that cannot be opened. */
export async function openCredentialChain ({ config, db, hasher, openDatabase, openEndpoint, now, warn = () => {} }: CredentialChainOptions): Promise<CredentialChain> {
  const opened: CredentialSource[] = []
  try {
    for (const source of config.credentials) opened.push(await openSource(source))
  } catch (error) {
    await Promise.all(opened.map((source) => source.close()))
    throw error
  }
  return createCredentialChain(opened)

  async function openSource (source: Config['credentials'][number]): Promise<CredentialSource> {
    const name = sourceName(source)
    switch (source.type) {
      case 'store': return { ...createUserStore({ db, hasher, now }), name }
      case 'htpasswd': return openHtpasswd({ name, file: source.file, roles: source.roles ?? [], hasher, warn, now })
      case 'http': {
        const { url, findUrl, fields, roles = [], timeout, connections, secret, secretHeader, tls } = source
        const { createHttpSource } = await import('./http-source.ts')
        const endpoint = await openEndpoint({ timeout, connections, secret, secretHeader, tls })
        return createHttpSource({ name, prefix: prefixOf(source), endpoint, url, findUrl, fields, roles, timeout, connections, warn, now })
      }
      case 'sql': {
        const { url, timeout, connections, rehash, tls, columns, query, findQuery, roles = [] } = source
        const { openSqlSource } = await import('./sql-source.ts')
        const database = await openDatabase({ url, timeout, connections, writable: rehash !== undefined, tls })
        return await openSqlSource({ name, prefix: prefixOf(source), database, query, findQuery, rehash, columns, roles, hasher, warn, now })
          .catch(async (error: unknown) => {
            await database.close()
            throw error
          })
      }
    }
  }
}

/** As sessions and logs name it. */
export function sourceName ({ name, type }: Config['credentials'][number]): string {
  return name ?? type
}

/** No id of one source can be an id of another: a prefixed one has a colon, and one that is taken as it is has none. */
function prefixOf (source: Extract<Config['credentials'][number], { subject: string }>): string {
  return source.subject === 'as-is' ? '' : `${sourceName(source)}:`
}

export function createCredentialChain (sources: readonly CredentialSource[]): CredentialChain {
  const byName = new Map(sources.map((source) => [source.name, source]))
  return {
    assertRoom () {
      for (const source of sources) source.assertRoom()
    },
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
        if (verdict.outcome === 'accepted') {
          const { subject, foundBy } = verdict
          return { subject, source: source.name, handle: foundBy === undefined ? source.name : `${source.name} ${foundBy}` }
        }
        if (verdict.outcome === 'refused') refused = verdict.reason
      }
      return { subject: null, reason: refused ?? 'no such user' }
    },
    async find (handle, subjectId) {
      const [name = ''] = handle.split(' ', 1)
      return await byName.get(name)?.find(subjectId, handle.slice(name.length + 1)) ?? null
    },
    async close () {
      await Promise.all(sources.map((source) => source.close()))
    },
  }
}
