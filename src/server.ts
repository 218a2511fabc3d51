/** The whole gateway on one page: make the parts, register them in the order in which things happen. */
import fastify, { LogController, type FastifyBaseLogger, type FastifyRequest } from 'fastify'
import { openAdminServer } from './admin-server.ts'
import { atMostEvery, repeat } from './chores.ts'
import { assertReloadable } from './config/reloadable.ts'
import type { Config } from './config/schema.ts'
import { openCredentialChain } from './credentials/credential-chain.ts'
import { createPasswordHasher } from './credentials/password-hash.ts'
import { createThrottle } from './credentials/throttle.ts'
import { Refusal } from './errors.ts'
import { admission } from './gateway/admission.ts'
import { bearerToken } from './gateway/authenticate.ts'
import { compileForwardAuth } from './gateway/forward-auth.ts'
import { gateway, supportAllMethods } from './gateway/gateway.ts'
import { createLiveConnections } from './gateway/live-connections.ts'
import { createRequestIds, nextRequestId } from './gateway/request-ids.ts'
import { compileTrustedProxies } from './gateway/trusted-proxies.ts'
import { openUpstreamPool } from './gateway/upstreams.ts'
import { openListener, type Address } from './listener.ts'
import { loginApi } from './login/login-api.ts'
import type { AdminApiOptions } from './ops/admin-api.ts'
import { createRefuse, errorHandler, refuseOnSocket } from './ops/error-handler.ts'
import { accessLog, logAuthEvent, type AuthEventLine } from './ops/logger.ts'
import { createMetrics, type Metrics } from './ops/metrics.ts'
import { openPersistentState, type PersistentState } from './persistent-state.ts'
import { createDocumentFetcher, largestDocument } from './remote/fetch-document.ts'
import { openUserEndpoint } from './remote/user-endpoint.ts'
import { compileRoutes, type Route, type RouteTable } from './routes/compile.ts'
import { openRevocations } from './sessions/revocations.ts'
import { createSessionService } from './sessions/session-service.ts'
import { createSettledTime } from './settled-time.ts'
import { openUserDatabase } from './storage/user-database.ts'
import { createAccessTokenMint } from './tokens/access-token.ts'
import { createKeyKeeper, issuerKeyFolder } from './tokens/issuer-key-keeper.ts'
import { openKeyRing } from './tokens/key-ring.ts'
import { openTrustedIssuers } from './tokens/trusted-issuers.ts'
import { createVerifierCache } from './tokens/verifier-cache.ts'
import { createVerifier } from './tokens/verifier.ts'

/** What has been started and goes on by itself: one process, or several that look like one. */
export interface Gateway {
  readonly publicAddress: Address
  readonly adminAddress: Address
  /** Path of the master key's file, if this start made it. */
  readonly masterKeyCreated: string | null
  /** Throws a StartupFault that says why, and then the configuration before goes on. */
  reload (config: Config): Promise<void>
  /** Stops accepting, lets what is under way finish within `timeouts.drain`, and closes everything. */
  drain (): Promise<void>
}

/** The public port, and what an admin port would tell of it. */
export interface Served extends Omit<Gateway, 'adminAddress'> {
  readonly checks: AdminApiOptions['checks']
  readonly metrics: Metrics
  /** Told of each session that ends, wherever it was ended. */
  onSessionsEnd (listener: (sessionIds: readonly string[]) => void): void
  /** These have ended, by the word of another process. */
  endSessions (sessionIds: readonly string[]): void
}

export interface GatewayOptions {
  readonly log: FastifyBaseLogger
  readonly now?: () => number
  /** Closed with the gateway; opened by it where it is not given. */
  readonly state?: PersistentState
}

/** Throws a StartupFault. */
export async function startGateway (config: Config, options: GatewayOptions): Promise<Gateway> {
  const served = await serve(config, options)
  try {
    const admin = await openAdminServer({ config, log: options.log, metrics: served.metrics, checks: served.checks })
    return {
      ...served,
      adminAddress: admin.address,
      async drain () {
        await served.drain()
        await admin.close()
      },
    }
  } catch (error) {
    await served.drain()
    throw error
  }
}

/** Throws a StartupFault. */
export async function serve (config: Config, { log, now = Date.now, state: opened }: GatewayOptions): Promise<Served> {
  const state = opened ?? await openPersistentState(config, (message) => { log.warn(message) })
  if (state.masterKeyWarning !== null) log.warn(state.masterKeyWarning)
  const live = createLiveConnections({ now, isEnded: (sessionId) => current.revocations.isEnded(sessionId) })
  const lasting: Lasting = {
    ...state,
    live,
    log,
    now,
    settledNow: createSettledTime(now),
    documents: createDocumentFetcher({ largest: largestDocument }),
    issuerKeys: createKeyKeeper({ folder: issuerKeyFolder(config.storage), macKey: state.masterKey.derive('issuer-keys'), warn: (fields, message) => { log.warn(fields, message) } }),
    metrics: createMetrics({
      tokenCache: () => current.cache.stats(),
      passwordHashing: () => current.hasher.stats(),
      liveConnections: () => live.counts(),
      endedSessions: () => current.revocations.size(),
      revocationLag: () => current.revocations.lag(),
      trustedIssuers: () => current.trustedIssuers.stats(),
    }),
    sessionsEnded: [],
  }

  let current = await openApplication(config, lasting).catch(async (error: unknown) => {
    await state.storage.close()
    throw error
  })
  let drained: Promise<void> | null = null
  const closeAll = async () => {
    await current.close()
    live.close()
    lasting.metrics.close()
    await lasting.issuerKeys.flush()
    await lasting.documents.close()
    await state.storage.close()
  }

  try {
    const listener = await openListener({ ...config, refuse: (refusal, socket) => refuseOnSocket(refusal, socket, { requestId: nextRequestId(), realm: config.issuer, log }) })
    listener.use(current.app.routing)
    return {
      publicAddress: listener.address,
      masterKeyCreated: state.masterKeyCreated,
      metrics: lasting.metrics,
      checks: {
        storage: () => state.storage.ping(),
        keys: () => { current.keyRing.signingKey() },
        revocations: () => {
          if (!current.isBlind()) return
          if (current.config.revocations.whenBlind === 'refuse') throw new Error('no word of ended sessions')
          return 'degraded'
        },
        accepting: () => { if (listener.isDraining()) throw new Error('draining') },
      },
      onSessionsEnd (tell) { lasting.sessionsEnded.push(tell) },
      endSessions (sessionIds) { for (const id of sessionIds) current.revocations.end(id) },
      async reload (next) {
        assertReloadable(config, next)
        const previous = current
        const application = await openApplication(next, lasting)
        // What ends while the old application still answers ends for the new one too.
        previous.revocations.onEnd((sessionIds) => { for (const id of sessionIds) application.revocations.end(id) })
        current = application
        listener.use(application.app.routing)
        void previous.close().catch((error: unknown) => { log.error({ err: error }, 'the application before the reload did not close') })
      },
      async drain () {
        drained ??= (async () => {
          live.endAll()
          await listener.drain(config.timeouts.drain)
          await closeAll()
        })()
        await drained
      },
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

interface Lasting extends PersistentState {
  readonly live: ReturnType<typeof createLiveConnections>
  readonly documents: ReturnType<typeof createDocumentFetcher>
  readonly issuerKeys: ReturnType<typeof createKeyKeeper>
  readonly metrics: Metrics
  readonly sessionsEnded: ((sessionIds: readonly string[]) => void)[]
  readonly log: FastifyBaseLogger
  readonly now: () => number
  readonly settledNow: () => number
}

/** Everything that one configuration makes, closed as one when the next takes over. */
async function openApplication (config: Config, lasting: Lasting) {
  const { storage, masterKey, live, metrics, log, now, settledNow, documents, issuerKeys } = lasting
  const { issuer, audience, accessToken, refreshToken } = config
  const { db } = storage
  const audit = (event: AuthEventLine) => {
    logAuthEvent(log, event)
    metrics.countAuthEvent(event as { event: string, outcome?: string })
  }

  // What makes a token true
  const keyRing = await openKeyRing({ config, db, masterKey, now, settledNow })
  const revocations = await openRevocations({ storage, rememberFor: accessToken.lifetime + accessToken.clockTolerance, now, settledNow })
  revocations.onEnd((sessionIds) => {
    live.endSessions(sessionIds)
    for (const tell of lasting.sessionsEnded) tell(sessionIds)
  })
  const trustedIssuers = await openTrustedIssuers({
    trustedIssuers: config.trustedIssuers,
    clockTolerance: accessToken.clockTolerance,
    fetchDocument: documents.fetchDocument,
    keeper: issuerKeys,
    now,
    log,
    onFetch: metrics.countKeyFetch,
  })
  const isBlind = () => revocations.lag() > config.revocations.blindAfter
  const isEnded = config.revocations.whenBlind === 'serve'
    ? revocations.isEnded
    : (sessionId: string) => {
        if (isBlind()) throw new Refusal('GW_UNAVAILABLE', { reason: 'no word of ended sessions (revocations.whenBlind: refuse)', retryAfterSeconds: 2 })
        return revocations.isEnded(sessionId)
      }
  const mint = createAccessTokenMint({ keyRing, issuer, audience, lifetime: accessToken.lifetime, now, isForeignSubject: trustedIssuers.isForeignSubject })
  const table = compileRoutes(config)
  const claims = claimsInUse(config, table)
  const cache = createVerifierCache(
    createVerifier({ keyRing, issuer, audience, clockTolerance: accessToken.clockTolerance, now, claimsInUse: claims, foreignReader: trustedIssuers.readerOf }),
    { size: accessToken.cacheSize, clockTolerance: accessToken.clockTolerance, isEnded, now }
  )
  keyRing.onChange(cache.clear)
  trustedIssuers.onLoss(cache.clear)

  // Who somebody is, and what keeps them logged in
  const hasher = createPasswordHasher(config.passwords)
  const credentials = await openCredentialChain({ config, db, now, hasher, openDatabase: openUserDatabase, openEndpoint: openUserEndpoint, warn: (message) => { log.warn(message) } })
  const throttle = createThrottle({ db, config: config.throttle, now, settledNow })
  const sessions = createSessionService({
    db,
    mint,
    refreshTokenKey: masterKey.derive('refresh-token'),
    findSubject: credentials.find,
    attributeClaims: claims,
    graceWindow: refreshToken.graceWindow,
    lifetime: refreshToken.lifetime,
    accessTokenLifetime: accessToken.lifetime,
    now,
    settledNow,
    revocations,
    audit,
  })

  // The request's way
  const trustedProxies = compileTrustedProxies(config.trustedProxies)
  const pool = openUpstreamPool({ connectTimeout: config.timeouts.connect, maxHeaderSize: 32_768 })
  const refuse = createRefuse({
    realm: issuer,
    routeOf,
    subjectOf,
    onRefused: (request, status, seconds) => {
      // The gateway's own endpoints count what they answer by themselves.
      if (!isOwnEndpoint(request)) metrics.route(request.route?.name ?? 'unmatched').observe(status, seconds)
    },
  })
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    childLoggerFactory: (logger) => logger,
    genReqId: createRequestIds(trustedProxies),
    trustProxy: (address: string) => trustedProxies.trusts(address),
    frameworkErrors: refuse,
    exposeHeadRoutes: false,
    return503OnClosing: false,
  })
  supportAllMethods(app)
  app.addHook('onRequest', admission)
  await app.register(errorHandler, { refuse })
  if (config.log.access) await app.register(accessLog, { routeOf, subjectOf })
  await app.register(loginApi, {
    config,
    sessions,
    credentials,
    throttle,
    verify: cache.verify,
    keyRing,
    bearerToken,
    audit,
    accountKey: masterKey.derive('account-tag'),
    forwardAuth: compileForwardAuth({ table, trustedProxies, identity: config.identity }),
    observe: (pattern) => metrics.route(pattern).observe,
    bodyTimeout: config.timeouts.clientBody,
  })
  await app.register(gateway, {
    table,
    verify: cache.verify,
    pool,
    live,
    trustedProxies,
    reservedPrefixes: config.identity.reservedPrefixes,
    observe: (route) => observer(route, metrics),
    timeouts: config.timeouts,
    bodyRate: config.limits.bodyRate,
  })
  await app.ready()

  // What is done now and then, beside the requests
  trustedIssuers.start()
  const chores = repeat([
    { every: 15_000, what: 'key rotation', work: async () => { await keyRing.maintain() } },
    { every: 60_000, what: 'cleaning of ended sessions', work: async (stopping) => { await sessions.deleteExpired(stopping) } },
    { every: 60_000, what: 'cleaning of login attempts', work: async (stopping) => { await throttle.clean(stopping) } },
  ], (error, what) => { log.error({ err: error }, `${what} failed; it is tried again`) })
  const reloadKeys = atMostEvery(1_000, () => keyRing.reload(), (error) => { log.error({ err: error }, 'the keys could not be read again; the ones before go on') })
  const unfollow = storage.onChange(({ kind }) => { if (kind !== 'ended') reloadKeys.trigger() })

  return {
    config,
    app,
    cache,
    hasher,
    keyRing,
    revocations,
    isBlind,
    trustedIssuers,
    async close () {
      chores.stop()
      unfollow()
      reloadKeys.stop()
      await app.close()
      await pool.close()
      revocations.close()
      keyRing.close()
      trustedIssuers.close()
      await credentials.close()
    },
  }
}

/** What some identity header or some rule asks for: that alone is put into access tokens, the rest stays in storage; and that alone is remembered of one. */
function claimsInUse (config: Config, { routes }: RouteTable): string[] {
  const named = [config.identity.headers, ...routes.map((route) => route.identityHeaders)].flatMap((mapping) => Object.values(mapping))
  const demanded = config.routes.flatMap(({ access }) => typeof access === 'string' ? [] : Object.keys(access.claims ?? {}))
  return [...new Set([...named, ...demanded])]
}

function observer (route: Route, metrics: Metrics) {
  const counts = metrics.route(route.name)
  return {
    answered: (status: number, milliseconds: number) => { counts.observe(status, milliseconds / 1000) },
    faulted: counts.upstreamError,
  }
}

function isOwnEndpoint ({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.url !== undefined && routeOptions.config.forwards !== true
}

function routeOf (request: FastifyRequest): string | null {
  return isOwnEndpoint(request) ? request.routeOptions.url ?? null : request.route?.name ?? null
}

function subjectOf (request: FastifyRequest): string | null {
  return request.identity?.subject ?? null
}
