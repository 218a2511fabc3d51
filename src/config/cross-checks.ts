/** What must hold between the keys of a configuration that is well-formed for itself. */
import { checkCredentials } from './credential-checks.ts'
import type { KeyPath } from './fault.ts'
import type { Config, RouteConfig } from './schema.ts'
import { checkTrustedIssuers } from './trusted-issuers.ts'
import { hostName } from '../routes/hosts.ts'

export interface CrossFault {
  readonly path: KeyPath
  readonly message: string
}

export function crossCheck (config: Config): CrossFault[] {
  return [...checkTokens(config), ...checkTimes(config), ...checkPorts(config), ...checkTrustedIssuers(config), ...checkCredentials(config), ...checkClients(config), ...checkRoutes(config), ...checkIdentity(config)]
}

function checkTokens ({ accessToken, keys }: Config): CrossFault[] {
  const faults: CrossFault[] = []
  const { algorithm, secret } = accessToken
  if (algorithm.startsWith('HS')) {
    // RFC 7518 §3.2: a key as long as the hash.
    const bytes = Number(algorithm.slice(2)) / 8
    if (secret === undefined) faults.push({ path: ['accessToken', 'secret'], message: `${algorithm} needs a secret of at least ${bytes} random bytes; make one with: openssl rand -hex ${bytes}` })
    else if (isWeak(secret, bytes)) faults.push({ path: ['accessToken', 'secret'], message: `is too weak: whoever guesses it can forge tokens; at least ${bytes} random bytes are needed, as from: openssl rand -hex ${bytes}` })
    if (keys.directory !== undefined) faults.push({ path: ['keys', 'directory'], message: `is for keys of key pairs; ${algorithm} signs with accessToken.secret` })
  } else if (secret !== undefined) {
    faults.push({ path: ['accessToken', 'secret'], message: `is for HS256, HS384 and HS512; ${algorithm} signs with a private key that the gateway keeps` })
  }
  return faults
}

/** Too few bytes, or so few different characters that nobody has thrown dice for them. */
function isWeak (secret: string, least: number): boolean {
  const bytes = /^[0-9a-f]+$/i.test(secret) && secret.length % 2 === 0 ? secret.length / 2 : Buffer.byteLength(secret)
  return bytes < least || new Set(secret).size < 8
}

function checkTimes ({ accessToken, refreshToken, keys, revocations }: Config): CrossFault[] {
  const faults: CrossFault[] = []
  if (revocations.blindAfter < 2_000) faults.push({ path: ['revocations', 'blindAfter'], message: 'must be at least 2s: word comes twice a second, and not always in time' })
  if (accessToken.lifetime < 1_000) faults.push({ path: ['accessToken', 'lifetime'], message: 'must be at least 1s: a token counts in seconds' })
  if (accessToken.lifetime >= refreshToken.lifetime) faults.push({ path: ['accessToken', 'lifetime'], message: 'must be shorter than refreshToken.lifetime: a token does not outlive its session' })
  if (refreshToken.graceWindow >= refreshToken.lifetime) faults.push({ path: ['refreshToken', 'graceWindow'], message: 'must be shorter than refreshToken.lifetime' })
  if (keys.publishAhead >= keys.rotateEvery) faults.push({ path: ['keys', 'publishAhead'], message: 'must be shorter than keys.rotateEvery' })
  return faults
}

function checkPorts ({ listen, admin }: Config): CrossFault[] {
  return listen.port !== 0 && listen.port === admin.port
    ? [{ path: ['admin', 'port'], message: 'is the public port too; health and metrics have a port of their own' }]
    : []
}

function checkClients ({ clients }: Config): CrossFault[] {
  return clients.flatMap(({ id }, index) => {
    const first = clients.findIndex((client) => client.id === id)
    if (first !== index) return [{ path: ['clients', index, 'id'], message: `stands twice; clients[${first}] has it already` }]
    return id === 'gatewarden' ? [{ path: ['clients', index, 'id'], message: 'is what tokens say that no client asked for; choose another' }] : []
  })
}

/** Served by the gateway itself; no route may take them. */
export const ownPaths: readonly string[] = ['/auth/login', '/auth/refresh', '/auth/logout', '/auth/sessions', '/auth/verify', '/oauth/token', '/oauth/revoke', '/oauth/introspect', '/.well-known/jwks.json', '/.well-known/oauth-authorization-server']

function checkRoutes ({ routes }: Config): CrossFault[] {
  // Each is held against those alone that an upstream could take it for: against all others, a thousand routes would take a second.
  const byFoldedPath = new Map<string, number[]>()
  return routes.flatMap((route, index) => {
    const faults: CrossFault[] = []
    const at = (key: string): KeyPath => ['routes', index, key]
    const own = ownPaths.find((path) => route.path.toLowerCase() === path || route.path.toLowerCase().startsWith(`${path}/`))
    if (own !== undefined) faults.push({ path: at('path'), message: `${own} is served by the gateway itself` })
    const alike = byFoldedPath.get(folded(route.path)) ?? []
    for (const before of alike) {
      const earlier = routes[before]
      if (earlier === undefined || !haveSameHost(earlier, route)) continue
      if (earlier.path === route.path) {
        const shared = sharedMethods(earlier.methods, route.methods)
        if (shared !== null) faults.push({ path: at('path'), message: `routes[${before}] has this path already${shared}; which one is meant cannot be told` })
      } else {
        faults.push({ path: at('path'), message: `differs from routes[${before}] in case alone, or in dots at the end of a segment, which many upstreams pass over` })
      }
    }
    byFoldedPath.set(folded(route.path), [...alike, index])
    return faults
  })
}

/** As an upstream on Windows reads it. */
function folded (path: string): string {
  return path.toLowerCase().split('/').map((segment) => segment.replace(/(?<!\.)\.+$/, '')).join('/')
}

function haveSameHost (one: RouteConfig, other: RouteConfig): boolean {
  if (one.hosts === undefined || other.hosts === undefined) return one.hosts === other.hosts
  const hosts = other.hosts.map(hostName)
  return one.hosts.some((host) => hosts.includes(hostName(host)))
}

/** null where no request could be meant for both. */
function sharedMethods (one: readonly string[] | undefined, other: readonly string[] | undefined): string | null {
  if (one === undefined || other === undefined) return ', with all or some of its methods'
  const withHead = (methods: readonly string[]) => methods.includes('GET') ? [...methods, 'HEAD'] : methods
  const shared = [...new Set(withHead(one).filter((method) => withHead(other).includes(method)))]
  return shared.length === 0 ? null : `, with ${shared.join(', ')}`
}

/** Names that mean something on the way, or that the gateway writes for another purpose. */
const taken = /^(?:connection|content-length|transfer-encoding|host|te|trailer|upgrade|keep-alive|expect|proxy.*|authorization|cookie|set-cookie|forwarded|x-forwarded-.*|x-request-id|content-type|content-encoding|date|accept.*|sec-.*|http-.*)$/i

function checkIdentity ({ identity, routes }: Config): CrossFault[] {
  const mappings: { path: KeyPath, headers: Readonly<Record<string, string>> }[] = [{ path: ['identity', 'headers'], headers: identity.headers }]
  routes.forEach((route, index) => {
    if (route.identity !== undefined) mappings.push({ path: ['routes', index, 'identity', 'headers'], headers: route.identity.headers })
  })
  return mappings.flatMap(({ path, headers }) => {
    const names = Object.keys(headers)
    return names.flatMap((name, index) => {
      if (taken.test(name)) return [{ path: [...path, name], message: 'cannot carry identity: the name has a meaning of its own on the way' }]
      const twin = names.slice(0, index).find((other) => other.toLowerCase() === name.toLowerCase())
      return twin === undefined ? [] : [{ path: [...path, name], message: `is the same header as ${twin}` }]
    })
  })
}
