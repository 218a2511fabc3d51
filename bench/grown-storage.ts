/** A storage as it is after years: any number of users, five sessions of each, and what the throttle remembers, made by SQL within minutes. */
import { sql } from 'kysely'
import { createPasswordHasher } from '../src/credentials/password-hash.ts'
import { createRefreshTokens, hashOf } from '../src/sessions/refresh-token.ts'
import { loadConfig } from '../src/config/load.ts'
import type { Config } from '../src/config/schema.ts'
import { openPersistentState } from '../src/persistent-state.ts'
import type { Database, Storage } from '../src/storage/database.ts'
import { openStorage } from '../src/storage/open-storage.ts'

export interface GrownStorage {
  /** Refresh tokens in force, of sessions that are spread over the whole table. */
  readonly refreshTokens: readonly string[]
  /** All sessions that expired before this are there to be deleted. Milliseconds since the epoch. */
  readonly expiredBefore: number
}

export const sessionsPerUser = 5
export const password = 'correct horse battery staple'

const minute = 60_000
const day = 24 * 60 * minute

export function userName (number: number): string {
  return `user-${number}`
}

/** `configFile`: of the gateway that will use the storage. Its passwords should be cheap: all users have the one above. */
export async function growStorage (configFile: string, users: number, refreshTokens: number): Promise<GrownStorage> {
  const config = configOf(configFile)
  const hasher = createPasswordHasher(config.passwords)
  const { storage, masterKey } = await openPersistentState(patiently(config))
  try {
    const time = Date.now()
    const restore = await withoutIndexes(storage)
    await fill(storage, users, await hasher.hash(password), time)
    await restore()
    const tokens = createRefreshTokens(masterKey.derive('refresh-token'))
    const adopted = Array.from({ length: refreshTokens }, () => tokens.first())
    await storage.db.transaction().execute(async (transaction) => {
      for (const [index, token] of adopted.entries()) {
        // From the second fifth on they live.
        const number = users + Math.floor(index * (sessionsPerUser - 1) * users / refreshTokens)
        await transaction.updateTable('sessions').set({ id: token.sessionId, token_hash: hashOf(token), ended_at: null, end_reason: null })
          .where('id', '=', idOf(number)).execute()
      }
    })
    await settle(storage)
    return { refreshTokens: adopted.map(({ text }) => text), expiredBefore: time - 10 * minute }
  } finally {
    await storage.close()
  }
}

/** The sessions that are still to be deleted. */
export async function countExpired (db: Database, { expiredBefore }: GrownStorage): Promise<number> {
  const { count } = await db.selectFrom('sessions').select(({ fn }) => fn.countAll<number>().as('count')).where('expires_at', '<', expiredBefore).executeTakeFirstOrThrow()
  return count
}

export async function openGrownStorage (configFile: string): Promise<Storage> {
  const config = patiently(configOf(configFile))
  return await openStorage(config.storage, { postgres: config.storageOptions })
}

function configOf (configFile: string): Config {
  const loaded = loadConfig(configFile, {})
  if ('faults' in loaded) throw new Error('the configuration does not load')
  return loaded.config
}

/** One connection, so that what is set there holds for the next statement, and all the time it needs. */
function patiently (config: Config): Config {
  return { ...config, storageOptions: { ...config.storageOptions, poolSize: 1, statementTimeout: 60 * minute } }
}

/** Numbers are scattered by Knuth's multiplicative hash: ids in no order, times in all of their range, and in each run the same. */
const scatter = 2_654_435_761
const scattered = (number: string, range: number): string => `((${number} * ${scatter} / 1000) % ${range})`

function idOf (number: number): string {
  const hex = (value: bigint): string => value.toString(16).padStart(8, '0')
  return `${hex(BigInt(number) * BigInt(scatter) % 2n ** 32n)}-0000-4000-8000-0000${hex(BigInt(number))}`
}

const dialects = {
  sqlite: {
    series: (count: number) => `(with recursive series (n) as (select 0 union all select n + 1 from series where n < ${count - 1}) select n from series)`,
    hex: (number: string) => `printf('%08x', ${number})`,
  },
  postgres: {
    series: (count: number) => `generate_series(0::bigint, ${count - 1}) as series (n)`,
    hex: (number: string) => `lpad(to_hex(${number}), 8, '0')`,
  },
}

async function fill ({ db, engine }: Storage, users: number, passwordHash: string, time: number): Promise<void> {
  const { series, hex } = dialects[engine]
  const id = (number: string) => `${hex(`${number} * ${scatter} % 4294967296`)} || '-0000-4000-8000-0000' || ${hex(number)}`
  /** As long as a SHA-256 in base64url. */
  const hash = (number: string) => `substr(${id(number)} || ${id(number)}, 1, 43)`
  const created = (number: string) => `${time} - ${minute} - ${scattered(number, 29 * day)}`
  await run(db, `insert into users (id, name, name_key, password_hash, roles, scopes, attributes, disabled_at, created_at, updated_at)
    select ${id('n')}, 'user-' || n, 'user-' || n, '${passwordHash}', '["editor"]', '[]', '{}', null, ${time}, ${time} from ${series(users)}`)
  // The first fifth has expired, and of the others one in a hundred was ended within a day.
  const began = `case when n < ${users} then ${created('n')} - ${31 * day} else ${created('n')} end`
  const ended = `n >= ${users} and n % 100 = 7`
  await run(db, `insert into sessions (id, subject, source, client_id, user_agent, address, created_at, last_used_at, expires_at, generation, token_hash, recent_rotations, ended_at, end_reason, access_until, credential_tag)
    select ${id('n')}, ${id(`(n % ${users})`)}, 'store', 'gatewarden', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '192.0.2.' || (n % 256),
      ${began}, ${began}, (${began}) + ${30 * day}, 0, ${hash('n')}, '[]',
      case when ${ended} then ${time} - ${scattered('n', day)} end, case when ${ended} then 'logout' end, (${began}) + ${5 * minute}, null
    from ${series(users * sessionsPerUser)}`)
  await run(db, `insert into known_origins (key, last_success_at) select ${hash('n')}, ${created('n')} from ${series(users)}`)
  await run(db, `insert into login_attempts (key, failures, last_failure_at, blocked_until) select 'account:' || ${hash('n')}, 1, ${time} - ${scattered('n', 10 * minute)}, 0 from ${series(Math.ceil(users / 10))}`)
}

/** Without the indexes a row costs no search; what is returned makes them again, each by one sort. */
async function withoutIndexes (storage: Storage): Promise<() => Promise<void>> {
  return storage.engine === 'sqlite' ? await withoutIndexesOfSqlite(storage) : await withoutIndexesOfPostgres(storage)
}

async function withoutIndexesOfSqlite ({ db }: Storage): Promise<() => Promise<void>> {
  for (const setting of ['synchronous = off', 'cache_size = -2000000', 'temp_store = memory']) await run(db, `pragma ${setting}`)
  const { rows } = await sql<{ name: string, text: string }>`select name, sql as text from sqlite_master where type = 'index' and sql is not null`.execute(db)
  for (const { name } of rows) await run(db, `drop index ${name}`)
  return async () => { for (const { text } of rows) await run(db, text) }
}

async function withoutIndexesOfPostgres ({ db }: Storage): Promise<() => Promise<void>> {
  for (const setting of ['search_path = gatewarden', 'synchronous_commit = off', "maintenance_work_mem = '512MB'"]) await run(db, `set ${setting}`)
  // Primary keys and what is unique, first: their indexes go with them.
  const constraints = (await sql<{ name: string, place: string, text: string }>`select conname as name, conrelid::regclass::text as place, pg_get_constraintdef(oid) as text
    from pg_constraint where connamespace = 'gatewarden'::regnamespace and contype in ('p', 'u')`.execute(db)).rows
  for (const { name, place } of constraints) await run(db, `alter table ${place} drop constraint ${name}`)
  const indexes = (await sql<{ name: string, text: string }>`select indexname as name, indexdef as text from pg_indexes where schemaname = 'gatewarden'`.execute(db)).rows
  for (const { name } of indexes) await run(db, `drop index ${name}`)
  return async () => {
    for (const { name, place, text } of constraints) await run(db, `alter table ${place} add constraint ${name} ${text}`)
    for (const { text } of indexes) await run(db, text)
  }
}

/** As it would be found: on the disk, and looked at by PostgreSQL's own autovacuum. */
async function settle ({ db, engine }: Storage): Promise<void> {
  for (const text of engine === 'sqlite' ? ['pragma wal_checkpoint(truncate)'] : ['vacuum analyze', 'checkpoint']) await run(db, text)
}

async function run (db: Database, text: string): Promise<void> {
  await sql.raw(text).execute(db)
}
