/** A table of users as another application keeps it, on either engine, and the source that reads it. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Config } from '../../src/config/schema.ts'
import { openCredentialChain } from '../../src/credentials/credential-chain.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { openUserEndpoint } from '../../src/remote/user-endpoint.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { openSqlite } from '../../src/storage/sqlite-driver.ts'
import { openUserDatabase } from '../../src/storage/user-database.ts'
import { createLoader, routes } from '../config/load-text.ts'
import { postgresUrl, type TestPostgres } from '../helpers/postgres.ts'
import { defaults } from '../login/config-of.ts'

type SqlConfig = Extract<Config['credentials'][number], { type: 'sql' }>

export interface OtherDatabase {
  readonly engine: 'sqlite' | 'postgres'
  readonly url: string
  execute (sql: string): Promise<void>
}

export function otherSqlite (t: Test): OtherDatabase {
  const path = join(newFolder(t), 'app.db')
  const connection = openSqlite(path)
  connection.exec('pragma journal_mode = wal')
  t.teardown(() => { connection.close() })
  return { engine: 'sqlite', url: `sqlite:${path}`, async execute (sql) { connection.exec(sql) } }
}

export async function otherPostgres (postgres: TestPostgres): Promise<OtherDatabase> {
  const name = `app_${randomUUID().replaceAll('-', '')}`
  await postgres.query(`create database ${name}`)
  return { engine: 'postgres', url: postgresUrl(postgres.port, name), async execute (sql) { await postgres.query(sql, name) } }
}

export const hasher = createPasswordHasher(defaults.passwords)

/** `yaml`: the source's own keys, of a flow map. */
export async function openChain (t: Test, sources: readonly string[]) {
  const folder = newFolder(t)
  const { config } = createLoader(t)
  const { db, close } = await openStorage(`sqlite:${folder}/gatewarden.db`)
  const warnings: string[] = []
  const { credentials } = config(`credentials: [${sources.join(', ')}]\n${routes}\n`)
  const clock = { now: 1_700_000_000_000 }
  const chain = await openCredentialChain({ config: { credentials, passwords: defaults.passwords }, db, hasher, openDatabase: openUserDatabase, openEndpoint: openUserEndpoint, now: () => clock.now, warn: (message) => { warnings.push(message) } })
    .catch(async (error: unknown) => {
      await close()
      throw error
    })
  t.teardown(async () => {
    await chain.close()
    await close()
  })
  return { chain, db, warnings, clock }
}

/** `t.testdir` is one for a test, and emptied each time. */
export function newFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-sql-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  return folder
}

export function sqlSource (url: string, changes: Partial<Record<keyof SqlConfig, unknown>> = {}): string {
  return JSON.stringify({ type: 'sql', url, query: 'select id, password_hash, email, roles from users where lower(email) = lower($1)', ...changes })
}
