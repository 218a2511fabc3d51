/** `gatewarden demo`: an API that knows nothing of login, a gateway before it, the story of both, and then time to try. */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { pino } from 'pino'
import { createPasswordHasher } from '../credentials/password-hash.ts'
import { createUserStore } from '../credentials/user-store.ts'
import { StartupFault } from '../errors.ts'
import { loggerOptions } from '../ops/logger.ts'
import { startGateway, type Gateway } from '../server.ts'
import { openStorage } from '../storage/open-storage.ts'
import { loadOrThrow } from './config-option.ts'
import { tell, type Scene } from './demo-story.ts'
import { createStage } from './demo-stage.ts'
import { version } from './version.ts'

const user = { name: 'alice', password: 'correct horse battery staple', roles: ['editor'], attributes: { email: 'alice@example.com' } }

/** The same distance from src/cli/ and from dist/cli/. */
const apiFile = fileURLToPath(new URL('../../examples/api/server.mjs', import.meta.url))

export interface DemoOptions {
  readonly once?: true
}

export async function demo (options: DemoOptions): Promise<void> {
  const stop = untilSignal()
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-demo-'))
  let api: Worker | null = null
  let gateway: Gateway | null = null
  try {
    // A thread, not a process: however this one ends, it leaves nothing behind on a port.
    api = new Worker(apiFile, { env: { HOST: '127.0.0.1', PORT: String(await freePort(3000)) }, stdout: true })
    const ports = { listen: await freePort(8080), admin: await freePort(9090) }
    const settings = { folder, ports, apiUrl: await addressOf(api) }
    // Short, so that nobody has to wait until a token expires.
    const config = write(settings, { lifetime: '4s', graceWindow: '1s' })
    const userId = await addUser(config)
    const logFile = join(folder, 'gatewarden.log')
    gateway = await startGateway(config, { log: pino(loggerOptions(config.log), pino.destination({ dest: logFile, sync: true })) })

    const stage = createStage({ url: gateway.publicAddress.url, colours: process.stdout.hasColors?.() === true })
    stage.say(`Gatewarden ${version()} at ${gateway.publicAddress.url}, before an API at ${settings.apiUrl} that knows nothing of login.`)
    const scene: Scene = { stage, user: { ...user, id: userId }, logFile }
    await Promise.race([tell(scene), stop.signalled])
    if (stage.failures().length > 0) throw new StartupFault(`the story did not go as told: ${stage.failures().join('; ')}`)
    if (options.once === true || stop.hasCome()) return

    await gateway.reload(write(settings, { lifetime: '15m', graceWindow: '10s' }))
    await stage.leaveTokens(join(folder, 'tokens'), user)
    stage.say([
      'It stays up, and the tokens live for 15 minutes now. In another terminal:',
      `  . ${join(folder, 'tokens')}`,
      'sets the variables of the lines above; every one of them can be run again. And:',
      `  node ${fileURLToPath(new URL('../cli.js', import.meta.url))} explain GET /admin/report --token "$ACCESS_TOKEN" --config ${join(folder, 'config.yaml')}`,
      `  tail -f ${logFile}`,
      'Ctrl-C ends it, and removes everything.',
    ].join('\n'))
    await stop.signalled
  } finally {
    await gateway?.drain()
    await api?.terminate()
    rmSync(folder, { recursive: true, force: true })
    stop.forget()
  }
}

interface Settings {
  readonly folder: string
  readonly ports: { readonly listen: number, readonly admin: number }
  readonly apiUrl: string
}

/** As anybody would write it, and read back the way `start` does. */
function write ({ folder, ports, apiUrl }: Settings, { lifetime, graceWindow }: { readonly lifetime: string, readonly graceWindow: string }) {
  const file = join(folder, 'config.yaml')
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, `listen: { port: ${ports.listen} }
admin: { port: ${ports.admin} }
issuer: http://127.0.0.1:${ports.listen}
audience: api
storage: ${JSON.stringify(`sqlite:${join(folder, 'data', 'gatewarden.db')}`)}
accessToken: { lifetime: ${lifetime}, clockTolerance: 0s }
refreshToken: { graceWindow: ${graceWindow} }
identity:
  headers: { X-User-Id: sub, X-User-Roles: roles, X-User-Email: email }
routes:
  - { path: /public, upstream: "${apiUrl}", access: public }
  - { path: /api, upstream: "${apiUrl}", access: authenticated }
  - { path: /admin, upstream: "${apiUrl}", access: { roles: [admin] } }
`)
  return loadOrThrow(file).config
}

/** Before the gateway starts, as `gatewarden users add` would. */
async function addUser (config: ReturnType<typeof write>): Promise<string> {
  const storage = await openStorage(config.storage)
  try {
    const users = createUserStore({ db: storage.db, hasher: createPasswordHasher(config.passwords), now: Date.now })
    return await users.add(user)
  } finally {
    await storage.close()
  }
}

/** The first line of the API says where it listens. */
async function addressOf (api: Worker): Promise<string> {
  const lines = createInterface({ input: api.stdout })
  const [line] = await Promise.race([once(lines, 'line'), once(api, 'exit').then(() => ['{}'])]).catch(() => ['{}']) as [string]
  const { listening } = JSON.parse(line) as { listening?: string }
  if (listening === undefined) throw new StartupFault(`the example API did not start: ${apiFile}`)
  return listening
}

/** The preferred port if nobody has it, so that the lines look as in the README; else any. */
async function freePort (preferred: number): Promise<number> {
  return await tryPort(preferred) ?? await tryPort(0) ?? 0
}

async function tryPort (port: number): Promise<number | null> {
  const server = createServer()
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
    return (server.address() as AddressInfo).port
  } catch {
    return null
  } finally {
    server.close()
  }
}

function untilSignal (): { readonly signalled: Promise<void>, hasCome (): boolean, forget (): void } {
  let come = false
  let onSignal: () => void = () => {}
  const signalled = new Promise<void>((resolve) => {
    onSignal = () => {
      come = true
      resolve()
    }
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  return {
    signalled,
    hasCome: () => come,
    forget () { for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal) },
  }
}
