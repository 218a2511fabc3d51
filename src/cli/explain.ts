/**
 * `gatewarden explain METHOD PATH`: what would become of a request, and why. It asks the same functions as the gateway, in the
 * same order; it opens the storage only where a token has to be verified, and sends nothing, but that it may have to fetch the keys
 * of that token's issuer.
 */
import { IncomingMessage, METHODS } from 'node:http'
import { Socket } from 'node:net'
import { ownPaths } from '../config/cross-checks.ts'
import type { Config } from '../config/schema.ts'
import { askPatiently, catalogue, Refusal } from '../errors.ts'
import { isHost } from '../gateway/admission.ts'
import { upstreamPath } from '../gateway/forward.ts'
import { compileHeaderNames } from '../gateway/header-names.ts'
import { compileIdentityHeaders } from '../gateway/identity-headers.ts'
import { compileRequestHeaders } from '../gateway/request-headers.ts'
import { compileTrustedProxies } from '../gateway/trusted-proxies.ts'
import { metadataPaths } from '../login/well-known.ts'
import { openPersistentState } from '../persistent-state.ts'
import { createDocumentFetcher, largestDocument } from '../remote/fetch-document.ts'
import { pathFault, pathOf } from '../routes/canonical-path.ts'
import { compileRoutes, type Found, type Route, type RouteTable } from '../routes/compile.ts'
import { openRevocations } from '../sessions/revocations.ts'
import type { Identity } from '../tokens/identity.ts'
import { createKeyKeeper, issuerKeyFolder } from '../tokens/issuer-key-keeper.ts'
import { openKeyRing } from '../tokens/key-ring.ts'
import { openTrustedIssuers } from '../tokens/trusted-issuers.ts'
import { createVerifier } from '../tokens/verifier.ts'
import type { Header } from './arguments.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import { UsageFault } from './failure.ts'
import { readStdin, withoutLineEnd } from './password.ts'
import { print, printJson } from './print.ts'

export interface ExplainOptions extends ConfigOption {
  readonly token?: string
  readonly header: readonly Header[]
  readonly json?: true
}

interface Explanation {
  readonly request: string
  /** null: the request leads to none. */
  route: string | null
  rule: string | null
  caller: string | null
  decision: { status: number, code: string, error: string, reason: string } | 'forwarded' | 'answered by the gateway itself'
  upstream: { readonly origin: string, readonly request: readonly string[] } | null
}

export async function explain (written: string, target: string, options: ExplainOptions): Promise<void> {
  const method = written.toUpperCase()
  if (!METHODS.includes(method)) throw new UsageFault(`error: there is no method ${JSON.stringify(written)}`)
  const { config, faultAt } = loadOrThrow(options.config)
  const table = compileRoutes(config)
  const explanation: Explanation = { request: `${method} ${target}`, route: null, rule: null, caller: null, decision: 'forwarded', upstream: null }
  try {
    const host = hostOf(config, options.header)
    if (isOwnEndpoint(target, host, config.issuer)) {
      explanation.decision = 'answered by the gateway itself'
    } else {
      const found = table.find(method, target, host)
      if (found.route !== null && found.kind !== 'other methods') {
        const { line, column, file } = faultAt(['routes', table.routes.indexOf(found.route)], '')
        explanation.route = `${found.route.name} (${file}:${line}:${column})`
        explanation.rule = found.route.access.description
      }
      const route = routeOf(found, host)
      const identity = await identityOf(route, config, options)
      if (identity !== null) explanation.caller = describeCaller(identity)
      explanation.upstream = upstreamRequest({ method, target, route, identity, config, table, sent: options.header })
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { status, error: oauthCode, description } = catalogue[error.code]
    explanation.decision = { status, code: error.code, error: oauthCode, reason: error.details.reason ?? description }
  }
  if (options.json === true) printJson(explanation)
  else printExplanation(explanation)
}

/** In the order of the gateway: admission, then its own endpoints, then the route table. */
function isOwnEndpoint (target: string, host: string, issuer: string): boolean {
  if (!isHost(host)) throw new Refusal('GW_HOST_INVALID', { reason: 'no valid Host header' })
  const path = pathOf(target)
  if (!ownPaths.includes(path) && !metadataPaths(issuer).includes(path) && !/^\/auth\/sessions\/[^/]+$/.test(path)) return false
  const fault = pathFault(target)
  if (fault !== null) throw new Refusal('GW_PATH_AMBIGUOUS', { reason: fault })
  return true
}

function routeOf (found: Found, host: string): Route {
  if (found.kind === 'route') return found.route
  if (found.kind === 'ambiguous') throw new Refusal('GW_PATH_AMBIGUOUS', { reason: found.reason })
  if (found.kind === 'other methods') throw new Refusal('GW_METHOD_NOT_ALLOWED', { reason: `the route of this path takes ${found.allow === '' ? 'other methods' : found.allow}` })
  throw new Refusal('GW_ROUTE_NOT_FOUND', { reason: `no route for ${host} has a path that this one begins with` })
}

async function identityOf (route: Route, config: Config, options: ExplainOptions): Promise<Identity | null> {
  if (route.access.token === 'none') return null
  if (options.token === undefined) {
    if (route.access.token === 'optional') return null
    throw new Refusal('GW_TOKEN_MISSING', { reason: 'the rule needs a caller; give one with --token' })
  }
  const identity = await verify(options.token === '-' ? withoutLineEnd(await readStdin()) : options.token, config)
  if (!route.access.allows(identity)) throw new Refusal('GW_ACCESS_DENIED', { reason: `needs ${route.access.description}; the caller is ${describeCaller(identity)}` })
  return identity
}

async function verify (token: string, config: Config): Promise<Identity> {
  const { issuer, audience, accessToken: { lifetime, clockTolerance } } = config
  const now = Date.now
  const { storage, masterKey } = await openPersistentState(config)
  const documents = createDocumentFetcher({ largest: largestDocument })
  try {
    const keyRing = await openKeyRing({ config, db: storage.db, masterKey, now })
    const revocations = await openRevocations({ storage, rememberFor: lifetime + clockTolerance, now })
    const trustedIssuers = await openTrustedIssuers({
      trustedIssuers: config.trustedIssuers,
      clockTolerance,
      fetchDocument: documents.fetchDocument,
      keeper: { ...createKeyKeeper({ folder: issuerKeyFolder(config.storage), macKey: masterKey.derive('issuer-keys'), warn: () => {} }), keep () {} },
      now,
      log: { info () {}, warn () {} },
    })
    const verifier = createVerifier({ keyRing, issuer, audience, clockTolerance, now, foreignReader: trustedIssuers.readerOf })
    const identity = await askPatiently(verifier, token)
    trustedIssuers.close()
    const ended = identity.sessionId !== null && revocations.isEnded(identity.sessionId)
    revocations.close()
    keyRing.close()
    if (ended) throw new Refusal('GW_SESSION_ENDED', { reason: 'the session of this token has ended' })
    return identity
  } finally {
    await documents.close()
    await storage.close()
  }
}

interface UpstreamRequest {
  readonly method: string
  readonly target: string
  readonly route: Route
  readonly identity: Identity | null
  readonly config: Config
  readonly table: RouteTable
  readonly sent: readonly Header[]
}

function upstreamRequest ({ method, target, route, identity, config, table, sent }: UpstreamRequest): NonNullable<Explanation['upstream']> {
  const requestHeaders = compileRequestHeaders({
    names: compileHeaderNames({
      identity: table.routes.flatMap((one) => Object.keys(one.identityHeaders)),
      reservedPrefixes: config.identity.reservedPrefixes,
    }),
    addIdentityHeaders: compileIdentityHeaders(route.identityHeaders),
    trustedProxies: compileTrustedProxies(config.trustedProxies),
    forwardAuthorization: route.forwardAuthorization,
  })
  const incoming = requestOf(config, sent)
  const flat = requestHeaders(incoming, '(a new id)', identity)
  const [upstream] = route.upstreams
  const headers: string[] = []
  for (let index = 0; index < flat.length; index += 2) headers.push(`${flat[index] ?? ''}: ${flat[index + 1] ?? ''}`)
  // The token is known to whoever gave it; a terminal's history need not know it too.
  if (route.forwardAuthorization && identity !== null) headers.push('Authorization: Bearer (the token)')
  headers.unshift(`Host: ${(route.preserveHost ? incoming.headers.host : undefined) ?? upstream?.host ?? ''}`)
  return {
    origin: route.upstreams.map(({ origin }) => origin).join(' or '),
    request: [`${method} ${upstreamPath(target, route.stripLength)} HTTP/1.1`, ...headers],
  }
}

/** A request as Node would hand it over, from a client on this machine. */
function requestOf (config: Config, sent: readonly Header[]): IncomingMessage {
  const socket = new Socket()
  Object.defineProperty(socket, 'remoteAddress', { value: '127.0.0.1' })
  const request = new IncomingMessage(socket)
  const host = hostOf(config, sent)
  request.rawHeaders = ['Host', host, ...sent.filter(([name]) => !['authorization', 'host'].includes(name.toLowerCase())).flat()]
  request.headers = { host }
  for (const [name, value] of sent) request.headers[name.toLowerCase()] ??= value
  return request
}

/** As `--header 'Host: …'` says; else that of the issuer, which clients use. */
function hostOf (config: Config, sent: readonly Header[]): string {
  return sent.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? new URL(config.issuer).host
}

function describeCaller ({ subject, roles, scopes, expiresAt }: Identity): string {
  const parts = [subject, roles.length === 0 ? 'no roles' : `roles ${roles.join(', ')}`]
  if (scopes.length > 0) parts.push(`scopes ${scopes.join(' ')}`)
  parts.push(`until ${new Date(expiresAt * 1000).toISOString()}`)
  return parts.join('; ')
}

function printExplanation ({ request, route, rule, caller, decision, upstream }: Explanation): void {
  print(`request   ${request}`)
  print(`route     ${route ?? 'none'}`)
  if (rule !== null) print(`rule      ${rule}`)
  if (caller !== null) print(`caller    ${caller}`)
  print(`decision  ${typeof decision === 'string' ? decision : `${decision.status} ${decision.code} (${decision.error}): ${decision.reason}`}`)
  if (upstream === null) return
  print(`upstream  ${upstream.origin}`)
  for (const line of upstream.request) print(`          ${line}`)
}
