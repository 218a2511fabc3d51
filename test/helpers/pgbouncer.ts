/** A real PgBouncer in transaction mode, before a real PostgreSQL. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { ownerOf, postgresPassword } from './postgres.ts'

export interface PgBouncer {
  readonly port: number
  start (): Promise<void>
  /** As a machine that is gone: no goodbye to anybody. */
  kill (): Promise<void>
}

interface Test {
  teardown (handler: () => Promise<void> | void): void
}

const command = 'pgbouncer'
/** Debian keeps it where only root looks. */
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` }

export function isPgBouncerInstalled (): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore', env }).status === 0
}

/** `poolSize`: connections to PostgreSQL, for however many clients. */
export async function startPgBouncer (t: Test, { to, poolSize }: { readonly to: number, readonly poolSize: number }): Promise<PgBouncer> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-pgbouncer-'))
  const owner = ownerOf(folder)
  const port = await freePort()
  const file = join(folder, 'pgbouncer.ini')
  const users = join(folder, 'users.txt')
  writeFileSync(file, `
    [databases]
    * = host=127.0.0.1 port=${to}
    [pgbouncer]
    listen_addr = 127.0.0.1
    listen_port = ${port}
    unix_socket_dir =
    auth_type = scram-sha-256
    auth_file = ${users}
    pool_mode = transaction
    default_pool_size = ${poolSize}
    max_client_conn = 200
    server_login_retry = 0.2
  `)
  writeFileSync(users, `"postgres" "${postgresPassword}"\n`, { mode: 0o600 })
  if (owner.uid !== undefined && owner.gid !== undefined) for (const path of [file, users]) chownSync(path, owner.uid, owner.gid)
  chmodSync(file, 0o600)
  let child: ChildProcess | null = null

  async function start (): Promise<void> {
    const started = child = spawn(command, [file], { ...owner, cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    started.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-4_000) })
    while (!said.includes('process up')) {
      if (started.exitCode !== null) throw new Error(`PgBouncer did not start: ${said}`)
      await pause(10)
    }
  }

  async function kill (): Promise<void> {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  t.teardown(async () => {
    await kill()
    rmSync(folder, { recursive: true, force: true })
  })
  await start()
  return { port, start, kill }
}
