/** The real gateway on free ports, over a real SQLite file, with users; everything is closed and removed after the test. */
import { join } from 'node:path'
import { pino } from 'pino'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore, type UserStore } from '../../src/credentials/user-store.ts'
import { startGateway, type Gateway } from '../../src/server.ts'
import { openStorage } from '../../src/storage/open-storage.ts'

export interface TestGateway {
  readonly gateway: Gateway
  readonly config: Config
  readonly configFile: string
  readonly port: number
  readonly url: string
  readonly adminUrl: string
  /** Every log line so far, parsed. */
  readonly log: readonly Record<string, unknown>[]
  readonly users: UserStore
  /** Looked for in the whole log at the end. Passwords and tokens of `login` are in it. */
  readonly secrets: Set<string>
  /** Logs a user in who was added as `addUser` does. */
  login (name?: string): Promise<Tokens>
  /** An access token of `alice` (no role), or of whom is named. */
  token (name?: string): Promise<string>
}

export interface Tokens {
  readonly access_token: string
  readonly token_type: string
  readonly expires_in: number
  readonly refresh_token: string
}

/** Minimal parts of tap's `t`, so that suites and their subtests both fit. */
interface Test {
  testdir (content: Record<string, string>): string
  teardown (handler: () => Promise<void> | void): void
}

export const password = 'correct horse battery staple'

/** `config`: what config.yaml would say, less ports and storage. alice has no role, root has `admin`. */
export async function startTestGateway (t: Test, config: Record<string, unknown> & { routes: readonly Record<string, unknown>[] }): Promise<TestGateway> {
  const folder = t.testdir({
    'config.yaml': stringify({
      listen: { port: 0 },
      admin: { port: 0 },
      issuer: 'http://gateway.test',
      passwords: { memory: '1mb', iterations: 1 },
      ...config,
    }),
  })
  const configFile = join(folder, 'config.yaml')
  const loaded = loadOrThrow(configFile, `sqlite:${join(folder, 'data', 'gatewarden.db')}`)
  const log: Record<string, unknown>[] = []
  const sink = { write: (line: string) => { log.push(JSON.parse(line) as Record<string, unknown>) } }

  const storage = await openStorage(loaded.storage)
  const users = createUserStore({ db: storage.db, hasher: createPasswordHasher(loaded.passwords), now: Date.now })
  await users.add({ name: 'alice', password })
  await users.add({ name: 'root', password, roles: ['admin'], attributes: { email: 'root@example.com', tenant: 'acme' } })

  const { loggerOptions } = await import('../../src/ops/logger.ts')
  const gateway = await startGateway(loaded, { log: pino(loggerOptions({ level: 'debug' }), sink) })
  const secrets = new Set<string>([password])
  t.teardown(async () => {
    await gateway.drain()
    await storage.close()
    // Of every suite that uses this: whatever happened in it, no line tells a secret.
    const text = JSON.stringify(log)
    for (const secret of secrets) if (text.includes(secret)) throw new Error(`the log holds a secret: ${text.slice(text.indexOf(secret) - 200, text.indexOf(secret))}…`)
  })

  const url = gateway.publicAddress.url
  const login = async (name = 'alice'): Promise<Tokens> => {
    const response = await fetch(`${url}/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: name, password }),
    })
    if (response.status !== 200) throw new Error(`login of ${name}: ${response.status} ${await response.text()}`)
    const tokens = await response.json() as Tokens
    secrets.add(tokens.access_token).add(tokens.refresh_token).add(tokens.access_token.split('.')[2] ?? tokens.access_token)
    return tokens
  }
  return {
    gateway,
    config: loaded,
    configFile,
    port: gateway.publicAddress.port,
    url,
    adminUrl: gateway.adminAddress.url,
    log,
    users,
    secrets,
    login,
    token: async (name) => (await login(name)).access_token,
  }
}

function loadOrThrow (file: string, storage: string): Config {
  const loaded = loadConfig(file, {})
  if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults))
  return { ...loaded.config, storage }
}
