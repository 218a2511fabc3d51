/**
 * The operator's configuration as an attack runs it: what decides (routes, rules, headers, limits, algorithm) as configured;
 * what is theirs alone (storage, keys, secrets, users, addresses) made anew, so that nothing printed is worth anything elsewhere.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config, RouteConfig } from '../config/schema.ts'
import { StartupFault } from '../errors.ts'
import { asymmetricAlgorithm } from '../tokens/algorithms.ts'
import { generatePrivateKey } from '../tokens/key-material.ts'
import { isLoopback, loopback } from './loopback.ts'
import type { OwnEndpoint } from './own-endpoints.ts'
import type { OwnIssuer } from './own-issuers.ts'
import type { RecordingUpstream } from './recording-upstream.ts'

export interface OwnConfig {
  readonly config: Config
  /** Configured upstream of each route → what stands for it. */
  readonly originOf: (route: RouteConfig) => readonly string[]
  /** What of the configuration does not take part, for the report. */
  readonly leftOut: readonly string[]
}

/** Of the user in the temporary htpasswd file, if the configuration has one. */
export const fileUser = 'attack-file-user'

export async function ownConfig (configured: Config, { folder, upstream, issuers, endpoints, fileUserHash }: {
  readonly folder: string
  readonly upstream: RecordingUpstream
  readonly issuers: readonly OwnIssuer[]
  readonly endpoints: readonly OwnEndpoint[]
  readonly fileUserHash: () => Promise<string>
}): Promise<OwnConfig> {
  const leftOut: string[] = []
  const origins = new Map<RouteConfig, readonly string[]>()
  const routes: RouteConfig[] = []
  for (const route of configured.routes) {
    const configuredOrigins = (typeof route.upstream === 'string' ? [route.upstream] : route.upstream).map((one) => new URL(one).origin)
    const own: RouteConfig = { ...route, upstream: await Promise.all(configuredOrigins.map((origin) => upstream.originFor(origin))) }
    origins.set(own, configuredOrigins)
    routes.push(own)
  }

  // Where attackers have accounts, whatever is configured.
  const credentials: Config['credentials'] = configured.credentials.some(({ type }) => type === 'store') ? [] : [{ type: 'store', name: 'attack-store' }]
  for (const source of configured.credentials) {
    switch (source.type) {
      case 'store':
        credentials.push(source)
        break
      case 'htpasswd': {
        const file = join(folder, 'users.htpasswd')
        writeFileSync(file, `${fileUser}:${await fileUserHash()}\n`)
        if (!credentials.some(({ type }) => type === 'htpasswd')) credentials.push({ ...source, file })
        break
      }
      case 'http':
        credentials.push(...endpoints.filter(({ configured: theirs }) => theirs === source).map(({ source: own }) => own))
        break
      // The query is for tables that only their server has, and nothing elsewhere is asked.
      case 'sql': leftOut.push('credentials of type sql: users in the temporary storage stand for theirs')
    }
  }

  if (issuers.length > 0) leftOut.push('trustedIssuers: how their keys are found and fetched; keys made for the attack come from loopback')

  const config: Config = {
    ...configured,
    listen: { ...configured.listen, host: loopback, port: 0 },
    admin: { ...configured.admin, host: loopback, port: 0 },
    storage: `sqlite:${join(folder, 'data', 'gatewarden.db')}`,
    workers: 1,
    accessToken: withOwnSecret(configured.accessToken),
    keys: await withOwnKeys(configured, folder),
    credentials,
    trustedIssuers: issuers.map(({ trusted }) => trusted),
    clients: configured.clients.map((client) => client.secret === undefined ? client : { ...client, secret: randomBytes(24).toString('base64url') }),
    routes,
  }
  assertLoopbackAlone(config)
  return { config, leftOut, originOf: (route) => origins.get(route) ?? [] }
}

/** As long as theirs, and not theirs: forged tokens are printed, and must open nothing. */
function withOwnSecret (accessToken: Config['accessToken']): Config['accessToken'] {
  const { secret } = accessToken
  return secret === undefined ? accessToken : { ...accessToken, secret: randomBytes(secret.length).toString('hex').slice(0, Math.max(64, secret.length)) }
}

async function withOwnKeys ({ keys, accessToken }: Config, folder: string): Promise<Config['keys']> {
  const own = { ...keys, masterKey: randomBytes(32).toString('base64url') }
  if (keys.directory === undefined) return own
  const algorithm = asymmetricAlgorithm(accessToken.algorithm)
  if (algorithm === undefined) return own
  const directory = join(folder, 'keys')
  mkdirSync(directory)
  const key = await generatePrivateKey(algorithm)
  writeFileSync(join(directory, 'attack.pem'), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  return { ...own, directory }
}

/** Where an address is a name or a value to compare with, and no place to go to. */
const onlyNames = new Set(['issuer', 'audience', 'identity', 'clients', 'access'])

/** Whatever key comes to the configuration some day: if it holds an address elsewhere, nothing is started. */
function assertLoopbackAlone (value: unknown, path: readonly string[] = []): void {
  if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      if (!onlyNames.has(key)) assertLoopbackAlone(member, [...path, key])
    }
  } else if (typeof value === 'string' && /^[a-z][a-z+.-]*:\/\//i.test(value) && !isLoopback(hostOf(value))) {
    throw new StartupFault(`an attack aims at nothing but loopback, and ${path.join('.')} of this configuration would lead elsewhere`)
  }
}

function hostOf (url: string): string {
  try {
    return new URL(url).hostname
  } catch {
    return ''
  }
}
