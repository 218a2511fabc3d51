/** Who is measured: the gateway, and every peer that is installed, each on core 0 alone, in front of one upstream. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { stringify } from 'yaml'
import { execForm, readStages, texts } from '../test/deploy/dockerfile.ts'
import { freePort } from '../test/helpers/free-port.ts'
import { measuredCore, spawnOn, stop, which } from './machine.ts'
import { audience, issuer, type Issuing } from './tokens.ts'

export interface Running {
  readonly url: string
  readonly pids: readonly number[]
  stop (): Promise<void>
}

export interface Contender {
  readonly name: string
  /** Whose tokens it verifies; null where none are asked for. */
  readonly verifies: 'ES256' | 'RS256' | null
  /** Why it cannot be measured here, and what to install; null when it can. */
  missing (): string | null
  start (options: StartOptions): Promise<Running>
}

export interface StartOptions {
  readonly folder: string
  readonly upstream: string
  readonly issuing: Issuing
  /** More of the gateway's configuration. */
  readonly config?: Record<string, unknown>
  /** What runs the contender, as valgrind with its options. */
  readonly under?: readonly string[]
  /** For Node, as --cpu-prof, beside those of the image. */
  readonly nodeArguments?: readonly string[]
}

const root = resolve(import.meta.dirname, '..')
const peersFolder = join(root, 'bench/peers')

export const gatewarden: Contender = {
  name: 'Gatewarden',
  verifies: 'ES256',
  missing: () => existsSync(join(root, 'dist/cli.js')) ? null : 'npm run build',
  async start ({ under = [], nodeArguments = [], ...options }) {
    const { file, port } = await writeGatewayConfig(options)
    return await running(spawnOn(measuredCore, [...under, process.execPath, ...imageNodeOptions(), ...nodeArguments, join(root, 'dist/cli.js'), 'start', '--config', file]), port)
  },
}

/** What Node is told in the image: what is measured is what is shipped. */
export function imageNodeOptions (): readonly string[] {
  const [entry = ''] = readStages().flatMap((stage) => texts(stage, 'ENTRYPOINT'))
  const words = execForm(entry)
  if (words === null) throw new Error(`an ENTRYPOINT that a shell reads: ${entry}`)
  return words.filter((word) => word.startsWith('--'))
}

/** As the gateway is shipped, metrics and log on: all that is said here is what has no default. */
export async function writeGatewayConfig ({ folder, upstream, issuing, config = {} }: StartOptions): Promise<{ readonly file: string, readonly port: number }> {
  const port = await freePort()
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'config.yaml')
  writeFileSync(file, stringify({
    listen: { port },
    admin: { port: await freePort() },
    issuer,
    audience,
    storage: `sqlite:${join(folder, 'data/gatewarden.db')}`,
    ...(issuing.algorithm === 'HS256' ? { accessToken: { algorithm: 'HS256', secret: issuing.secret } } : { accessToken: { algorithm: issuing.algorithm }, keys: { directory: issuing.directory } }),
    routes: [{ path: '/', upstream, access: 'public' }, { path: '/api', upstream, access: 'authenticated' }],
    ...config,
  }))
  return { file, port }
}

const fastifyInAnHour: Contender = {
  name: 'fastify + http-proxy + fast-jwt + lru-cache, of an hour',
  verifies: 'ES256',
  missing: () => null,
  start: async (options) => await nodePeer('fastify-in-an-hour.mjs', options),
}

const express: Contender = {
  name: 'express + express-jwt + http-proxy-middleware',
  verifies: 'ES256',
  missing: () => existsSync(join(peersFolder, 'node_modules/express-jwt')) ? null : 'npm run bench:peers',
  start: async (options) => await nodePeer('express.mjs', options),
}

export const peers: readonly Contender[] = [
  haproxy('HAProxy, no auth', null),
  haproxy('HAProxy jwt_verify RS256', 'RS256'),
  haproxy('HAProxy jwt_verify ES256', 'ES256'),
  apache(),
  fastifyInAnHour,
  express,
]

async function nodePeer (file: string, { upstream, issuing, under = [] }: StartOptions): Promise<Running> {
  const port = await freePort()
  const env = { ...process.env, PEERS: peersFolder, PORT: String(port), UPSTREAM: upstream, PUBLIC_KEY: issuing.publicKeyFile, ALGORITHM: issuing.algorithm, ISSUER: issuer, AUDIENCE: audience, NODE_ENV: 'production' }
  return await running(spawnOn(measuredCore, [...under, process.execPath, join(peersFolder, file)], { env }), port)
}

/** As its own documentation of jwt_verify says: the algorithm pinned, issuer, audience and expiry checked, the subject told. */
function haproxy (name: string, verifies: 'ES256' | 'RS256' | null): Contender {
  return {
    name,
    verifies,
    missing: () => which('haproxy') === null ? 'apt-get install haproxy' : null,
    async start ({ folder, upstream, issuing, under }) {
      const checks = verifies === null
        ? []
        : [
            'http-request set-var(txn.bearer) http_auth_bearer',
            "http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')",
            "http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')",
            "http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')",
            "http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')",
            `http-request deny deny_status 401 unless { var(txn.alg) -m str ${verifies} }`,
            `http-request deny deny_status 401 unless { var(txn.iss) -m str ${issuer} }`,
            `http-request deny deny_status 401 unless { var(txn.aud) -m str ${audience} }`,
            `http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"${issuing.publicKeyFile}") -m int 1 }`,
            'http-request set-var(txn.now) date()',
            'http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }',
            "http-request set-header X-User-Id %[var(txn.bearer),jwt_payload_query('$.sub')]",
            'http-request del-header Authorization',
          ]
      return await startHaproxy({ folder, upstream, under, frontend: ['option forwardfor', ...checks] })
    },
  }
}

interface HaproxyOptions {
  readonly folder: string
  readonly upstream: string
  readonly under?: readonly string[] | undefined
  /** Lines of these sections; the frontend has its port without them. */
  readonly global?: readonly string[]
  readonly frontend: readonly string[]
}

export async function startHaproxy ({ folder, upstream, under = [], global = [], frontend }: HaproxyOptions): Promise<Running> {
  const port = await freePort()
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(file, `
global
  ${['nbthread 1', 'maxconn 4000', ...global].join('\n  ')}
defaults
  mode http
  timeout connect 3s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend public
  ${[`bind 127.0.0.1:${port}`, ...frontend].join('\n  ')}
  default_backend api
backend api
  server one ${new URL(upstream).host}
`)
  return await running(spawnOn(measuredCore, [...under, which('haproxy') ?? 'haproxy', '-db', '-f', file]), port)
}

function apache (): Contender {
  const modules = '/usr/lib/apache2/modules'
  return {
    name: 'Apache mod_auth_openidc (OAuth 2.0, RS256)',
    verifies: 'RS256',
    missing: () => existsSync(join(modules, 'mod_auth_openidc.so')) ? null : 'apt-get install apache2 libapache2-mod-auth-openidc',
    async start ({ folder, upstream, issuing }) {
      const port = await freePort()
      mkdirSync(folder, { recursive: true })
      const file = join(folder, 'apache.conf')
      const load = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_openidc', 'proxy', 'proxy_http', 'headers']
        .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`).join('\n')
      writeFileSync(file, `
ServerRoot ${folder}
ServerName localhost
PidFile ${join(folder, 'apache.pid')}
ErrorLog ${join(folder, 'apache.log')}
LogLevel warn
Listen 127.0.0.1:${port}
${load}
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data\n' : ''}StartServers 1
ServerLimit 1
MinSpareThreads 1
MaxSpareThreads 64
ThreadsPerChild 64
MaxRequestWorkers 64
MaxKeepAliveRequests 0
KeepAlive On
OIDCOAuthVerifyCertFiles "${issuing.kid}#${issuing.publicKeyFile}"
OIDCOAuthRemoteUserClaim sub
OIDCCryptoPassphrase bench
ProxyPass / ${upstream}/ keepalive=On
<Location />
  AuthType oauth20
  Require claim iss:${issuer}
  RequestHeader set X-User-Id expr=%{REMOTE_USER}
</Location>
`)
      return await running(spawnOn(measuredCore, [which('apache2') ?? 'apache2', '-DFOREGROUND', '-f', file], { stdio: ['ignore', 'ignore', 'ignore'] }), port)
    },
  }
}

async function running (child: ChildProcess, port: number): Promise<Running> {
  const url = `http://127.0.0.1:${port}`
  // Under valgrind a thousand routes take minutes.
  const until = Date.now() + 600_000
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    try {
      await fetch(url, { signal: AbortSignal.timeout(1_000) })
      break
    } catch (error) {
      if (Date.now() > until) throw error
      await pause(50)
    }
  }
  // taskset becomes what it starts, so this is its number.
  return { url, pids: child.pid === undefined ? [] : [child.pid], stop: async () => { await stop(child) } }
}
