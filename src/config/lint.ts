/** What is allowed but dangerous: each with its place, the danger, and the remedy. `check` and `start` show the same. */
import { isIP } from 'node:net'
import { lintCredentials } from './credential-checks.ts'
import type { KeyPath } from './fault.ts'
import { isLoopback } from './loopback.ts'
import type { Config } from './schema.ts'
import { lintTrustedIssuers } from './trusted-issuers.ts'

export interface ConfigWarning {
  readonly path: KeyPath
  /** Danger and remedy, one sentence each. */
  readonly message: string
}

export function lintConfig (config: Config): ConfigWarning[] {
  return [...lintNetwork(config), ...lintStorage(config), ...lintTokens(config), ...lintTrustedIssuers(config), ...lintCredentials(config), ...lintRoutes(config), ...lintIdentity(config)]
}

function lintNetwork ({ issuer, listen, admin, trustedProxies }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  const url = new URL(issuer)
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) warnings.push({ path: ['issuer'], message: 'Passwords and tokens would cross the network in the clear. Put TLS in front, and write https here.' })
  if (!isLoopback(admin.host) && !isLoopback(listen.host)) warnings.push({ path: ['admin', 'host'], message: 'Health and metrics are open to the network that the public port is open to. Bind them to loopback, or keep others away from the port.' })
  trustedProxies.forEach((cidr, index) => {
    const [address = '', bits] = cidr.split('/')
    if (bits !== undefined && Number(bits) < (isIP(address) === 4 ? 8 : 16)) warnings.push({ path: ['trustedProxies', index], message: 'So wide a network holds clients too, and what they say of their own address would be believed. Name the proxies.' })
  })
  return warnings
}

function lintStorage ({ storage, storageOptions: { tls } }: Config): ConfigWarning[] {
  if (!storage.startsWith('postgres')) return []
  const url = URL.canParse(storage) ? new URL(storage) : null
  const host = url?.searchParams.get('host') ?? url?.hostname ?? ''
  const off = tls.mode === undefined ? tls.ca === undefined && tls.cert === undefined && (url?.searchParams.get('sslmode') ?? 'disable') === 'disable' : tls.mode === 'off'
  if (url === null || isLoopback(host) || host.startsWith('/')) return []
  if (off) return [{ path: ['storage'], message: 'Password hashes and sessions cross the network in the clear, and who is on it can change them. Set storageOptions.tls, or see that only the gateway and the database are on it.' }]
  return tls.mode === 'no-verify' ? [{ path: ['storageOptions', 'tls', 'mode'], message: 'Whoever stands in between can pose as the database. Name its CA in storageOptions.tls.ca.' }] : []
}

function lintTokens ({ accessToken, refreshToken }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  if (accessToken.algorithm.startsWith('HS')) warnings.push({ path: ['accessToken', 'algorithm'], message: 'Whoever can check such a token can forge one. ES256 gives others a key that only checks.' })
  if (accessToken.lifetime > 3_600_000) warnings.push({ path: ['accessToken', 'lifetime'], message: 'Roles and attributes stay as they were for as long. Make it shorter: refreshing is cheap.' })
  if (refreshToken.graceWindow > 60_000) warnings.push({ path: ['refreshToken', 'graceWindow'], message: 'A stolen refresh token can be used beside its owner for as long. Seconds are enough for a race.' })
  return warnings
}

function lintRoutes ({ routes }: Config): ConfigWarning[] {
  return routes.flatMap((route, index) => {
    const warnings: ConfigWarning[] = []
    const upstreams = typeof route.upstream === 'string' ? [route.upstream] : route.upstream
    const plain = upstreams.find((upstream) => upstream.startsWith('http:') && !isLoopback(new URL(upstream).hostname))
    if (plain !== undefined) warnings.push({ path: ['routes', index, 'upstream'], message: `Identity headers travel to ${new URL(plain).host} in the clear, and whoever reaches it can write them. Use https, or see that only the gateway reaches it.` })
    if (route.forwardAuthorization) warnings.push({ path: ['routes', index, 'forwardAuthorization'], message: 'The upstream gets tokens with which it could act as its callers. Leave it out unless the upstream needs them.' })
    if (route.access === 'public' || route.access === 'optional') {
      const above = routes.find((other) => other !== route && other.access !== 'public' && other.access !== 'optional' && isBelow(route.path, other.path))
      if (above !== undefined) warnings.push({ path: ['routes', index, 'access'], message: `${route.path} is open, though it lies below ${above.path}, which is not. If that is meant, nothing is wrong.` })
    }
    return warnings
  })
}

function lintIdentity ({ identity, routes }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  if (!Object.values(identity.headers).includes('sub')) warnings.push({ path: ['identity', 'headers'], message: 'No header says who is calling. Map one to sub.' })
  routes.forEach((route, index) => {
    for (const [name, claim] of Object.entries(route.identity?.headers ?? {})) {
      const other = Object.entries(identity.headers).find(([one]) => one.toLowerCase() === name.toLowerCase())
      if (other !== undefined && other[1] !== claim) warnings.push({ path: ['routes', index, 'identity', 'headers', name], message: `It means ${other[1]} elsewhere, and ${claim} here. Give the two meanings two names.` })
    }
  })
  return warnings
}

function isBelow (path: string, above: string): boolean {
  return path !== above && (above === '/' || path.startsWith(`${above}/`))
}
