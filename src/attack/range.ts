/** Where attacks are run: the gateway under the operator's configuration, users and live keys made for it, a recorder behind it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import type { Config, RouteConfig } from '../config/schema.ts'
import { createPasswordHasher } from '../credentials/password-hash.ts'
import { createUserStore } from '../credentials/user-store.ts'
import { compileTrustedProxies } from '../gateway/trusted-proxies.ts'
import { loggerOptions } from '../ops/logger.ts'
import { openPersistentState } from '../persistent-state.ts'
import type { startGateway } from '../server.ts'
import { openKeyRing } from '../tokens/key-ring.ts'
import { createSender, type Send } from './exchange.ts'
import type { Target as TokenTarget } from './forged-tokens.ts'
import { loopback } from './loopback.ts'
import { fileUser, ownConfig } from './own-config.ts'
import { openOwnEndpoints, type OwnEndpoint } from './own-endpoints.ts'
import { openOwnIssuers, type OwnIssuer } from './own-issuers.ts'
import { forge, goodHeader } from './pen.ts'
import { openRecordingUpstream, type RecordingUpstream } from './recording-upstream.ts'
import { aimedHost } from './routes-of-host.ts'

export interface AimedRoute {
  readonly config: RouteConfig
  /** As the table calls it. */
  readonly name: string
  /** A method that it takes: GET if it can be. */
  readonly method: string
  /** A plain path that leads to it. */
  readonly path: string
  /** A Host that leads to it. */
  readonly host: string
  readonly needsToken: boolean
  readonly isPublic: boolean
  /** The configured upstreams. */
  readonly origins: readonly string[]
  /** What the upstream sees of a path that leads here. */
  readonly upstreamPath: (path: string) => string
  /** Roles, scopes and claims that meet its rule; null where nothing is asked but a token. */
  readonly rule: Readonly<Record<string, unknown>> | null
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

export interface Answer {
  readonly status: number
  readonly code: string | null
  readonly body: Readonly<Record<string, unknown>>
  /** The request as it was sent. */
  readonly sent: string
}

export interface Range {
  readonly config: Config
  readonly routes: readonly AimedRoute[]
  readonly issuers: readonly OwnIssuer[]
  readonly endpoints: readonly OwnEndpoint[]
  readonly port: number
  /** The issuer's: where the gateway's own endpoints are asked. */
  readonly host: string
  readonly upstream: RecordingUpstream
  readonly send: Send
  /** A word that stands nowhere but where an attacker put it. */
  readonly marker: string
  /** Whether the gateway takes the word of whoever calls from this machine about who it speaks for. */
  readonly isTrustedProxy: boolean
  readonly users: { readonly plain: string, readonly neighbour: string, readonly inFile: string | null, readonly password: string }
  now (): number
  /** Moves the gateway's clock forwards. */
  advance (milliseconds: number): void
  logIn (name: string): Promise<Tokens>
  post (path: string, body: Readonly<Record<string, unknown>>, token?: string): Promise<Answer>
  /** What a forger who had the live key would need; claims of a session that lives. */
  tokenTarget (): TokenTarget
  /** A token of the live key, with the session of a real login and these claims on top. */
  token (claims?: Readonly<Record<string, unknown>>): string
  /** A token that meets the rule of the route. */
  tokenFor (route: AimedRoute): string
  /** Every log line so far. */
  log (): string
  close (): Promise<void>
}

export interface RangeOptions {
  readonly start: typeof startGateway
}

/** Throws a StartupFault. */
export async function openRange (configured: Config, { start }: RangeOptions): Promise<Range & { readonly leftOut: readonly string[], readonly adminPort: number }> {
  const folder = mkdtempSync(join(tmpdir(), `gatewarden-attack-${process.pid}-`))
  const upstream = openRecordingUpstream()
  const closing: (() => Promise<void> | void)[] = [() => { rmSync(folder, { recursive: true, force: true }) }, () => upstream.close()]
  const close = async () => {
    for (const step of closing.reverse()) await step()
  }
  try {
    const password = `correct horse ${randomBytes(9).toString('base64url')}`.padEnd(configured.passwords.minimumLength, '.')
    const hasher = createPasswordHasher(configured.passwords)
    const { issuers, close: closeIssuers } = await openOwnIssuers(configured.trustedIssuers)
    closing.push(closeIssuers)
    const attributes = hostileAttributes(configured)
    const { endpoints, close: closeEndpoints } = await openOwnEndpoints(configured.credentials.filter((source) => source.type === 'http'), { password, attributes })
    closing.push(closeEndpoints)
    const { config, leftOut, originOf } = await ownConfig(configured, { folder, upstream, issuers, endpoints, fileUserHash: () => hasher.hash(password) })
    const marker = `spoof${randomBytes(6).toString('hex')}`

    let ahead = 0
    const now = () => Date.now() + ahead
    const { storage, masterKey } = await openPersistentState(config)
    closing.push(() => storage.close())
    const users = createUserStore({ db: storage.db, hasher, now })
    await users.add({ name: 'attack-plain', password, attributes })
    await users.add({ name: 'attack-neighbour', password })

    let log = ''
    const sink = { write: (line: string) => { log += line } }
    const gateway = await start(config, { log: pino(loggerOptions({ level: 'info' }), sink), now })
    closing.push(() => gateway.drain())
    const ring = await openKeyRing({ config, db: storage.db, masterKey, now })
    closing.push(() => { ring.close() })

    const { port } = gateway.publicAddress
    const send = createSender(port, upstream)
    const { host } = new URL(config.issuer)
    const routes = config.routes.map((route) => aimedRoute(route, { origins: originOf(route), host: aimedHost(route, config.routes, host) }))

    const post: Range['post'] = async (path, body, token) => {
      const text = JSON.stringify(body)
      const sent = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n` +
        `${token === undefined ? '' : `Authorization: Bearer ${token}\r\n`}\r\n${Buffer.from(text).toString('latin1')}`
      return answerOf(await send(sent), sent)
    }
    const logIn: Range['logIn'] = async (username) => {
      const { status, body } = await post('/auth/login', { username, password })
      const { access_token: access, refresh_token: refresh } = body
      if (status !== 200 || typeof access !== 'string' || typeof refresh !== 'string') throw new Error(`a login with the right password was answered ${status}`)
      return { access_token: access, refresh_token: refresh }
    }

    // The session that forged tokens name: it lives as long as the range.
    const session = claimsOf((await logIn('attack-plain')).access_token)
    const claims = () => {
      const iat = Math.floor(now() / 1000)
      return { ...session, iat, exp: iat + Math.min(300, Math.floor(config.accessToken.lifetime / 1000)) }
    }
    const token: Range['token'] = (more = {}) => forge(ring.signingKey(), goodHeader(ring.signingKey()), { ...claims(), ...more })

    return {
      config, routes, issuers, endpoints, port, host, upstream, send, marker, now, logIn, post, token, leftOut,
      adminPort: gateway.adminAddress.port,
      isTrustedProxy: compileTrustedProxies(config.trustedProxies).trusts(loopback),
      users: { plain: 'attack-plain', neighbour: 'attack-neighbour', inFile: config.credentials.some(({ type }) => type === 'htpasswd') ? fileUser : null, password },
      advance (milliseconds) {
        ahead += milliseconds
      },
      tokenTarget: () => ({
        pen: ring.signingKey(),
        publicJwk: ring.publicKeys()[0] ?? null,
        claims: claims(),
        nowSeconds: Math.floor(now() / 1000),
        tolerance: Math.ceil(config.accessToken.clockTolerance / 1000),
      }),
      tokenFor: (route) => token(route.rule ?? {}),
      log: () => log,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

export function answerOf ({ answer }: Awaited<ReturnType<Send>>, sent: string): Answer {
  let body: Record<string, unknown> = {}
  try {
    body = JSON.parse(Buffer.from(answer.body, 'latin1').toString()) as Record<string, unknown>
  } catch {
    // No JSON is an answer too.
  }
  return { status: answer.status, code: typeof body['code'] === 'string' ? body['code'] : null, body, sent }
}

function aimedRoute (route: RouteConfig, { origins, host }: Pick<AimedRoute, 'origins' | 'host'>): AimedRoute {
  const { path, methods, access, stripPrefix, hosts = [] } = route
  const place = `${hosts.join(',')}${path}`
  const prefix = path === '/' ? '' : path
  const method = methods === undefined || methods.includes('GET') ? 'GET' : methods[0] ?? 'GET'
  return {
    config: route,
    name: methods === undefined ? place : `${methods.join(',')} ${place}`,
    method,
    path: `${prefix}/attack-probe`,
    host,
    needsToken: access !== 'public' && access !== 'optional',
    isPublic: access === 'public',
    origins,
    upstreamPath: (target) => stripPrefix && prefix !== '' ? target.slice(prefix.length).replace(/^(?!\/)/, '/') : target,
    rule: typeof access === 'string'
      ? null
      : {
          ...access.roles === undefined ? {} : { roles: [access.roles[0]] },
          ...access.scopes === undefined ? {} : { scope: access.scopes[0] },
          ...Object.fromEntries(Object.entries(access.claims ?? {}).map(([claim, wanted]) => [claim, Array.isArray(wanted) ? wanted[0] as unknown : wanted])),
        },
  }
}

/** What an attacker may have had put into their own attributes, by whatever form there is for that: lines of a header each. */
function hostileAttributes (config: Config): Record<string, unknown> {
  const mappings = [config.identity.headers, ...config.routes.flatMap((route) => route.identity === undefined ? [] : [route.identity.headers])]
  const claims = new Set(mappings.flatMap((mapping) => Object.values(mapping)))
  const taken = new Set(['sub', 'roles', 'scope', 'iss', 'aud', 'exp', 'iat', 'nbf', 'jti', 'sid', 'client_id', '__proto__'])
  return Object.fromEntries([...claims].filter((claim) => !taken.has(claim)).map((claim) => [claim, 'x\r\nX-Injected: attribute\r\n\r\nGET /smuggled HTTP/1.1\r\n\u0000\u2028ł']))
}

/** Of a token that the gateway has just given out. */
export function claimsOf (token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
}
