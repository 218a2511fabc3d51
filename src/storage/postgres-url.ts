/** A postgres:// URL and `storageOptions` → whom to connect to, and how. No message holds the password, nor the URL it may stand in. */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { StartupFault } from '../errors.ts'

export interface PostgresOptions {
  readonly password?: string
  /** Of a direct connection, where `storage` leads to a pooler that hands out connections by transaction. */
  readonly listenUrl?: string
  readonly schema: string
  readonly poolSize: number
  /** Milliseconds, as the other times. */
  readonly connectTimeout: number
  readonly statementTimeout: number
  readonly tls: {
    readonly mode?: 'off' | 'verify' | 'no-verify'
    /** Paths of PEM files. */
    readonly ca?: string
    readonly cert?: string
    readonly key?: string
  }
}

export interface PostgresAddress {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  readonly ssl: false | ConnectionOptions
}

const knownParameters = ['host', 'sslmode', 'application_name']

export function readPostgresUrl (text: string, key: string, { password, tls }: Pick<PostgresOptions, 'password' | 'tls'>): PostgresAddress {
  const url = parse(text, key)
  const unknown = [...url.searchParams.keys()].find((name) => !knownParameters.includes(name))
  if (unknown !== undefined) throw new StartupFault(`\`${key}\` has the parameter ${JSON.stringify(unknown)}, which is not known here; known are ${knownParameters.join(', ')}, and \`storageOptions\` holds the rest`)
  const database = decoded(url.pathname.slice(1), key)
  const user = decoded(url.username, key)
  if (user === '') throw new StartupFault(`\`${key}\` names no user: it is written postgres://user:password@host:5432/database`)
  if (database === '' || database.includes('/')) throw new StartupFault(`\`${key}\` names no database: it is written postgres://user:password@host:5432/database`)
  const host = url.searchParams.get('host') ?? url.hostname.replace(/^\[|\]$/g, '')
  return {
    host,
    port: url.port === '' ? 5432 : Number(url.port),
    user,
    password: password ?? (url.password === '' ? undefined : decoded(url.password, key)),
    database,
    ssl: tlsOptions(url.searchParams.get('sslmode'), tls, key),
  }
}

/** Where it is, for a message. */
export function placeOf ({ host, port }: Pick<PostgresAddress, 'host' | 'port'>): string {
  return host.startsWith('/') ? `${host}/.s.PGSQL.${port}` : `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function parse (text: string, key: string): URL {
  // Without a host it is a socket that a parameter names, which the URL standard has no form for.
  const written = text.replace(/^(postgres(?:ql)?:\/\/[^/?#]*@)(?=[/?])/, '$1localhost')
  if (/^postgres(?:ql)?:\/\//.test(written) && URL.canParse(written) && !written.includes('#')) return new URL(written)
  throw new StartupFault(`\`${key}\` cannot be read: it is written postgres://user:password@host:5432/database, and in a password the characters / ? # @ % are percent-encoded; or the password stands apart, in storageOptions.password`)
}

function decoded (text: string, key: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new StartupFault(`\`${key}\` holds a % that encodes nothing: write %25 for it, or give the password apart, in storageOptions.password`)
  }
}

/** libpq's `prefer`, `allow` and `require` check nothing: whoever asks for TLS here gets it checked, or has to say no-verify. */
function tlsOptions (sslmode: string | null, { mode, ca, cert, key }: PostgresOptions['tls'], urlKey: string): false | ConnectionOptions {
  const modes: Readonly<Record<string, 'off' | 'verify' | 'no-verify'>> = { 'disable': 'off', 'require': 'verify', 'verify-ca': 'verify', 'verify-full': 'verify', 'no-verify': 'no-verify' }
  const inUrl = sslmode === null ? undefined : modes[sslmode]
  if (sslmode !== null && inUrl === undefined) throw new StartupFault(`\`${urlKey}\` has an sslmode that is not known here: ${Object.keys(modes).join(', ')}`)
  const chosen = mode ?? inUrl ?? (ca === undefined && cert === undefined ? 'off' : 'verify')
  if (chosen === 'off') return false
  return {
    rejectUnauthorized: chosen === 'verify',
    minVersion: 'TLSv1.2',
    ...ca === undefined ? {} : { ca: readPem(ca, 'ca') },
    ...cert === undefined ? {} : { cert: readPem(cert, 'cert') },
    ...key === undefined ? {} : { key: readPem(key, 'key') },
  }
}

function readPem (path: string, key: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new StartupFault(`storageOptions.tls.${key}: ${path} cannot be read (${code})`, { cause: error })
  }
}
