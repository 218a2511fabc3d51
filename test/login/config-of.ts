/** A loaded configuration for the token endpoints: the defaults, with hashing made cheap. Times in milliseconds, sizes in bytes. */
import type { Config } from '../../src/config/schema.ts'

export type ConfigChanges = Partial<Pick<Config, 'issuer' | 'clients' | 'throttle' | 'passwords' | 'credentials' | 'refreshToken' | 'accessToken'>>

export const defaults = {
  accessToken: { algorithm: 'ES256', lifetime: 300_000, clockTolerance: 2_000, cacheSize: 100 },
  refreshToken: { lifetime: 30 * 86_400_000, graceWindow: 10_000 },
  passwords: { memory: 1_048_576, iterations: 1, concurrency: 2, queue: 100, queueTimeout: 5_000, minimumLength: 8 },
  throttle: { attempts: 10, attemptsPerAddress: 50, attemptsInAll: 1_000, delay: 1_000, maximumDelay: 900_000, maximumDelayInAll: 5_000, window: 900_000 },
} as const satisfies Partial<Config>

export function configOf (changes: ConfigChanges): Config {
  return {
    listen: { host: '127.0.0.1', port: 0 },
    admin: { host: '127.0.0.1', port: 0 },
    issuer: 'https://gate.example',
    audience: 'api',
    storage: 'sqlite::memory:',
    revocations: { blindAfter: 5_000, whenBlind: 'serve' },
    storageOptions: { schema: 'gatewarden', poolSize: 10, connectTimeout: 5_000, statementTimeout: 5_000, tls: {} },
    keys: { rotateEvery: 30 * 86_400_000, publishAhead: 600_000 },
    workers: 1,
    limits: { body: 1_000_000_000, bodyRate: 240, headers: 16_000, connections: 100 },
    timeouts: { connect: 3_000, upstream: 30_000, idle: 300_000, clientHeaders: 10_000, clientBody: 30_000, clientBodyGrace: 5_000, keepAlive: 72_000, drain: 10_000, tokenGrace: 2_000 },
    credentials: [{ type: 'store' }],
    trustedIssuers: [],
    clients: [],
    identity: { headers: { 'X-User-Id': 'sub' }, reservedPrefixes: ['X-User-'] },
    trustedProxies: [],
    log: { level: 'info', access: false },
    routes: [{ path: '/', upstream: 'http://127.0.0.1:1', access: 'authenticated', stripPrefix: false, preserveHost: false, forwardAuthorization: false, websocket: true }],
    ...defaults,
    ...changes,
  }
}
