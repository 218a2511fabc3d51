/** What is allowed but dangerous: each with its place, the danger, and the remedy. `check` and `start` show the same. */
import { BlockList, isIP } from 'node:net'
import { lintCredentials } from './credential-checks.ts'
import type { KeyPath } from './fault.ts'
import { lintAccess } from './lint-access.ts'
import { lintRoutes } from './lint-routes.ts'
import { isLoopback } from './loopback.ts'
import type { Config } from './schema.ts'
import { lintTrustedIssuers } from './trusted-issuers.ts'

export interface ConfigWarning {
  readonly path: KeyPath
  /** Danger and remedy, one sentence each. */
  readonly message: string
}

export function lintConfig (config: Config): ConfigWarning[] {
  return [...lintNetwork(config), ...lintStorage(config), ...lintTokens(config), ...lintTrustedIssuers(config), ...lintCredentials(config), ...lintPasswords(config), ...lintClients(config), ...lintRoutes(config), ...lintAccess(config), ...lintIdentity(config)]
}

function lintNetwork ({ issuer, audience, listen, admin, trustedProxies }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  const url = new URL(issuer)
  if (isLoopback(url.hostname) && !isLoopback(listen.host)) warnings.push({ path: ['issuer'], message: 'Tokens name an issuer that every machine has, and clients elsewhere do not find its keys. Write the URL by which they reach the gateway.' })
  if (audience === 'api' && !isLoopback(url.hostname)) warnings.push({ path: ['audience'], message: 'This is what a gateway says that was told nothing: the tokens of another one would do here, if it ever shared the keys. Name what the tokens are for.' })
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) warnings.push({ path: ['issuer'], message: 'Passwords and tokens would cross the network in the clear. Put TLS in front, and write https here.' })
  if (!isLoopback(admin.host)) warnings.push({ path: ['admin', 'host'], message: 'Health and metrics are open to the network. Bind them to loopback, or keep others away from the port.' })
  trustedProxies.forEach((cidr, index) => {
    const [address = '', written] = cidr.split('/')
    const isV4 = isIP(address) === 4
    const bits = written === undefined ? 128 : Number(written)
    if (bits < (isV4 ? 8 : 16)) warnings.push({ path: ['trustedProxies', index], message: 'So wide a network holds clients too, and what they say of their own address would be believed. Name the proxies.' })
    else if (bits < (isV4 ? 24 : 64) && !isPrivate(address)) warnings.push({ path: ['trustedProxies', index], message: 'Whoever gets an address in this public network is believed about those of clients. Name the proxies, or see that only they reach the gateway.' })
  })
  return warnings
}

/** RFC 1918, RFC 6598, RFC 4193 and what is local to a link or a machine. */
function isPrivate (address: string): boolean {
  return privateNetworks.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
}

const privateNetworks = new BlockList()
for (const [network, bits] of [['10.0.0.0', 8], ['172.16.0.0', 12], ['192.168.0.0', 16], ['100.64.0.0', 10], ['169.254.0.0', 16], ['127.0.0.0', 8]] as const) privateNetworks.addSubnet(network, bits, 'ipv4')
for (const [network, bits] of [['fc00::', 7], ['fe80::', 10], ['::1', 128]] as const) privateNetworks.addSubnet(network, bits, 'ipv6')

function lintStorage ({ storage, storageOptions: { tls } }: Config): ConfigWarning[] {
  if (!storage.startsWith('postgres')) return []
  const url = URL.canParse(storage) ? new URL(storage) : null
  const host = url?.searchParams.get('host') ?? url?.hostname ?? ''
  const off = tls.mode === undefined ? tls.ca === undefined && tls.cert === undefined && (url?.searchParams.get('sslmode') ?? 'disable') === 'disable' : tls.mode === 'off'
  if (url === null || isLoopback(host) || host.startsWith('/')) return []
  if (off) return [{ path: ['storage'], message: 'Password hashes and sessions cross the network in the clear, and who is on it can change them. Set storageOptions.tls, or see that only the gateway and the database are on it.' }]
  return tls.mode === 'no-verify' ? [{ path: ['storageOptions', 'tls', 'mode'], message: 'Whoever stands in between can pose as the database. Name its CA in storageOptions.tls.ca.' }] : []
}

function lintTokens ({ accessToken, refreshToken, keys }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  if (accessToken.algorithm.startsWith('HS')) warnings.push({ path: ['accessToken', 'algorithm'], message: 'Whoever can check such a token can forge one. ES256 gives others a key that only checks.' })
  if (accessToken.secret !== undefined && looksMadeUp(accessToken.secret)) warnings.push({ path: ['accessToken', 'secret'], message: 'There are words in it, and whoever guesses it can forge tokens. Make one with: openssl rand -hex 64.' })
  if (accessToken.lifetime > HOUR) warnings.push({ path: ['accessToken', 'lifetime'], message: 'Roles and attributes stay as they were for as long. Make it shorter: refreshing is cheap.' })
  if (accessToken.clockTolerance > 60_000) warnings.push({ path: ['accessToken', 'clockTolerance'], message: 'Tokens that have expired are taken for as long. Set the clocks, and leave seconds.' })
  if (refreshToken.graceWindow > 60_000) warnings.push({ path: ['refreshToken', 'graceWindow'], message: 'A stolen refresh token can be used beside its owner for as long. Seconds are enough for a race.' })
  if (refreshToken.lifetime > 180 * DAY) warnings.push({ path: ['refreshToken', 'lifetime'], message: 'Whoever finds an old device is logged in for as long. Months are enough.' })
  if (keys.masterKey !== undefined && new Set(keys.masterKey).size < 12) warnings.push({ path: ['keys', 'masterKey'], message: 'Nobody has thrown dice for it: whoever guesses it reads the signing keys out of a copy of the storage. Make one with: openssl rand -base64 32 | tr +/ -_ | tr -d = .' })
  if (keys.rotateEvery > 400 * DAY) warnings.push({ path: ['keys', 'rotateEvery'], message: 'A key that leaked unseen signs for as long. Rotating costs nothing: make it weeks.' })
  return warnings
}

const HOUR = 3_600_000
const DAY = 24 * HOUR

function lintPasswords ({ passwords, throttle }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  if (passwords.minimumLength < 8) warnings.push({ path: ['passwords', 'minimumLength'], message: 'Shorter passwords are guessed. Eight characters are the least that NIST SP 800-63B allows.' })
  // Each of the pairs that OWASP's cheat sheet recommends is above: 19 MiB and 2 passes, 12 and 3, 9 and 4, 7 and 5.
  if (passwords.memory * passwords.iterations < 33 * 1024 ** 2 || passwords.memory < 7 * 1024 ** 2) warnings.push({ path: ['passwords', passwords.memory < 19 * 1024 ** 2 ? 'memory' : 'iterations'], message: 'Whoever copies the storage can try passwords fast. Leave 19mb and 2 iterations, or take more.' })
  if (throttle.attempts > 100) warnings.push({ path: ['throttle', 'attempts'], message: 'So many guesses find a weak password. Ten are enough for whoever mistypes.' })
  if (throttle.attemptsPerAddress > 1_000) warnings.push({ path: ['throttle', 'attemptsPerAddress'], message: 'One machine can try a common password at as many accounts. Make it tens, or hundreds where an office is behind one address.' })
  if (throttle.maximumDelay < 60_000) warnings.push({ path: ['throttle', 'maximumDelay'], message: 'At an account a guess is let through as often as this, day and night. Make it minutes.' })
  return warnings
}

function lintClients ({ clients }: Config): ConfigWarning[] {
  return clients.flatMap(({ secret }, index) => secret !== undefined && (Buffer.byteLength(secret) < 16 || new Set(secret).size < 8 || looksMadeUp(secret))
    ? [{ path: ['clients', index, 'secret'], message: 'Whoever guesses it can ask about every token. Make one with: openssl rand -hex 32.' }]
    : [])
}

/** What examples say, and people leave. Hexadecimal and base64 of random bytes have no such words but by a chance of millions. */
function looksMadeUp (secret: string): boolean {
  return /change.?me|change.?this|example|password|passwort|secret|your.?key|qwerty|12345678|abcdefgh|test.?key|gatewarden/i.test(secret)
}

function lintIdentity ({ identity, routes }: Config): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  if (!Object.values(identity.headers).includes('sub')) warnings.push({ path: ['identity', 'headers'], message: 'No header says who is calling. Map one to sub.' })
  const meanings = new Map<string, { readonly name: string, readonly claim: string }>()
  const mappings = [{ path: ['identity', 'headers'] as KeyPath, headers: identity.headers }]
  routes.forEach((route, index) => { if (route.identity !== undefined) mappings.push({ path: ['routes', index, 'identity', 'headers'], headers: route.identity.headers }) })
  for (const { path, headers } of mappings) {
    for (const [name, claim] of Object.entries(headers)) {
      // CGI, WSGI and PHP make `HTTP_X_USER_ID` of all of them.
      const folded = name.toLowerCase().replace(/[^a-z0-9]/g, '-')
      const other = meanings.get(folded)
      if (other === undefined) meanings.set(folded, { name, claim })
      else if (other.claim !== claim) warnings.push({ path: [...path, name], message: `It means ${other.claim} elsewhere, and ${claim} here. Give the two meanings two names.` })
      else if (other.name.toLowerCase() !== name.toLowerCase()) warnings.push({ path: [...path, name], message: `To CGI, WSGI and PHP it is one header with ${other.name}. Keep one of them.` })
    }
  }
  return warnings
}
