/** The token endpoints over real services and a real database, with a clock to move, and a list of every secret that went over them. */
import type { Test } from 'tap'
import Fastify, { LogController, type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { configOf, type ConfigChanges } from './config-of.ts'
import { openCredentialChain } from '../../src/credentials/credential-chain.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createThrottle } from '../../src/credentials/throttle.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { bearerToken } from '../../src/gateway/authenticate.ts'
import { loginApi } from '../../src/login/login-api.ts'
import { accessLog, logAuthEvent } from '../../src/ops/logger.ts'
import { createRefuse, errorHandler } from '../../src/ops/error-handler.ts'
import { openRevocations } from '../../src/sessions/revocations.ts'
import { createSessionService, type TokenResponse } from '../../src/sessions/session-service.ts'
import { openUserEndpoint } from '../../src/remote/user-endpoint.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { openUserDatabase } from '../../src/storage/user-database.ts'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import { openKeyRing } from '../../src/tokens/key-ring.ts'
import { openMasterKey } from '../../src/tokens/master-key.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createLogSink } from '../ops/log-sink.ts'

export const issuer = 'https://gate.example'
export const password = 'correct horse battery staple'
export const clientSecret = 'orders-secret-9f8e7d+/='

export interface Call {
  readonly json?: unknown
  readonly form?: Readonly<Record<string, string>>
  readonly bearer?: string
  readonly basic?: readonly [id: string, secret: string]
  readonly headers?: Readonly<Record<string, string>>
  readonly from?: string
}

export async function startLogin (t: Test, changes: ConfigChanges = {}) {
  const config = configOf({ issuer, clients: [{ id: 'app' }, { id: 'other-app' }, { id: 'orders-api', secret: clientSecret }], ...changes })
  const clock = { time: 1_780_000_000_000 }
  const now = () => clock.time
  const log = createLogSink()
  const secrets = new Set<string>([clientSecret])

  const storage = await openStorage(`sqlite:${t.testdir()}/gatewarden.db`)
  const { db } = storage
  const masterKeyText = Buffer.alloc(32, 7).toString('base64url')
  const { masterKey } = openMasterKey({ configured: masterKeyText, fileBesideData: null })
  secrets.add(masterKeyText)
  const keyRing = await openKeyRing({ config, db, masterKey, now })
  secrets.add(String(keyRing.signingKey().key))
  const { issuer: iss, audience, accessToken, refreshToken } = config
  const revocations = await openRevocations({ storage, rememberFor: accessToken.lifetime + accessToken.clockTolerance, now })
  const mint = createAccessTokenMint({ keyRing, issuer: iss, audience, lifetime: accessToken.lifetime, now })
  const cache = createVerifierCache(
    createVerifier({ keyRing, issuer: iss, audience, clockTolerance: accessToken.clockTolerance, claimsInUse: ['sub', 'roles'], now }),
    { size: 100, clockTolerance: accessToken.clockTolerance, isEnded: revocations.isEnded, now }
  )
  const hasher = createPasswordHasher(config.passwords)
  const chain = await openCredentialChain({ config, db, now, hasher, openDatabase: openUserDatabase, openEndpoint: openUserEndpoint })
  const users = createUserStore({ db, hasher, now })
  const aliceId = await users.add({ name: 'alice', password, roles: ['user', 'admin'], scopes: ['orders:read'], attributes: { email: 'alice@example.com' } })
  await users.add({ name: 'bob', password })
  secrets.add(password)

  let checks = 0
  const audit = (event: Parameters<typeof logAuthEvent>[1]) => { logAuthEvent(log.logger, event) }
  const sessions = createSessionService({
    db,
    mint,
    refreshTokenKey: masterKey.derive('refresh-token'),
    findSubject: chain.find,
    attributeClaims: ['email'],
    graceWindow: refreshToken.graceWindow,
    lifetime: refreshToken.lifetime,
    accessTokenLifetime: accessToken.lifetime,
    now,
    revocations,
    audit,
  })

  const app = Fastify({
    loggerInstance: log.logger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
  }) as unknown as FastifyInstance
  const refuse = createRefuse({ realm: iss })
  await app.register(errorHandler, { refuse })
  await app.register(accessLog, { routeOf: ({ routeOptions }) => routeOptions.url ?? null, subjectOf: () => null })
  await app.register(loginApi, {
    config,
    sessions,
    credentials: { assertRoom: chain.assertRoom, check: async (credentials) => { checks++; return await chain.check(credentials) } },
    throttle: createThrottle({ db, config: config.throttle, now }),
    verify: cache.verify,
    bearerToken,
    keyRing,
    audit,
    accountKey: masterKey.derive('account-tag'),
    forwardAuth: { trustsProxy: () => false, matchRoute: () => null, identityHeaders: ({ subject }) => [['X-User-Id', subject]], isIdentityHeader: () => false },
  })
  await app.ready()
  t.teardown(async () => {
    await app.close()
    revocations.close()
    keyRing.close()
    await chain.close()
    await storage.close()
  })

  async function call (method: 'GET' | 'HEAD' | 'POST' | 'DELETE' | 'OPTIONS' | 'PUT', url: string, { json, form, bearer, basic, headers = {}, from = '192.0.2.1' }: Call = {}): Promise<LightMyRequestResponse> {
    const basicCredentials = basic === undefined ? undefined : Buffer.from(basic.map(encodeURIComponent).join(':')).toString('base64')
    if (basicCredentials !== undefined) secrets.add(basicCredentials)
    const sent = { ...(typeof json === 'object' ? json : {}), ...form }
    for (const name of ['password', 'refresh_token', 'token', 'client_secret'] as const) {
      const value: unknown = (sent as Record<string, unknown>)[name]
      // Short ones are found in any line by chance.
      if (typeof value === 'string' && value.length > 5) secrets.add(value)
    }
    if (bearer !== undefined) secrets.add(bearer)
    const answer = await app.inject({
      method,
      url,
      remoteAddress: from,
      headers: {
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(basicCredentials === undefined ? {} : { authorization: `Basic ${basicCredentials}` }),
        ...headers,
      },
      ...(json === undefined ? {} : { payload: typeof json === 'string' ? json : JSON.stringify(json) }),
      ...(form === undefined ? {} : { payload: new URLSearchParams(form).toString() }),
    })
    for (const [, token = ''] of answer.body.matchAll(/"(?:access|refresh)_token":"([^"]+)"/g)) secrets.add(token)
    return answer
  }

  return {
    app,
    call,
    clock,
    db,
    keyRing,
    users,
    aliceId,
    log,
    secrets,
    hashChecks: () => checks,
    hashing: hasher.stats,
    /** What the log tells of auth events. */
    events: () => log.lines().filter(({ event }) => event !== undefined),
    async logIn (username = 'alice', options: Pick<Call, 'from' | 'headers'> = {}): Promise<TokenResponse> {
      const answer = await call('POST', '/auth/login', { json: { username, password }, ...options })
      if (answer.statusCode !== 200) throw new Error(answer.body)
      return answer.json()
    },
    /** For the end of a test file: no line that it caused holds one of the secrets that it used. */
    secretsInLog: () => [...secrets].filter((secret) => log.text().includes(secret) || log.text().includes(JSON.stringify(secret).slice(1, -1))),
  }
}

export const onlyShape = ['error', 'error_description', 'code', 'request_id']
