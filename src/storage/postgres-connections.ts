/** Connections to the gateway's own PostgreSQL: a bounded pool that drops what is broken and does not storm a server that is down. */
import type { PostgresPool, PostgresPoolClient } from 'kysely'
import type { ClientConfig, PoolClient, types as driverTypes } from 'pg'
import { loadPostgres, openPostgresPool } from './postgres-driver.ts'
import type { PostgresAddress } from './postgres-url.ts'

export interface SessionSettings {
  /** Sent at the start of a connection; a pooler such as PgBouncer refuses to take them. null: they are not sent. */
  readonly statementTimeout: number | null
  readonly connectTimeout: number
}

export interface PostgresPoolOptions extends SessionSettings {
  readonly size: number
  /** Milliseconds after which an answer is waited for no longer, whatever the server has been told. */
  readonly answerTimeout: number
}

/** A connection of its own, outside any pool. */
export interface PostgresClient {
  query (sql: string, parameters?: readonly unknown[]): Promise<{ readonly rows: readonly Record<string, unknown>[] }>
  onNotification (listener: (payload: string) => void): void
  /** Once, when it is gone, however that came. */
  onEnd (listener: () => void): void
  /** As a pool of one, for Kysely. */
  readonly pool: PostgresPool
  end (): Promise<void>
  /** Without a farewell: the other side may be gone. */
  destroy (): void
}

const BIGINT = 20
/** Milliseconds. */
const FIRST_DELAY = 100
const LONGEST_DELAY = 2_000

export async function openPool (address: PostgresAddress, { size, answerTimeout, ...session }: PostgresPoolOptions): Promise<PostgresPool> {
  const pool = await openPostgresPool({ ...await clientConfig(address, session), max: size, query_timeout: answerTimeout, idleTimeoutMillis: 30_000 })
  let delay = 0
  let closedUntil = 0
  let lastFault: unknown = null
  let ended: Promise<void> | null = null

  async function connect (): Promise<PoolClient> {
    // A server that is down, or that comes up just now, is not asked by every login at once; and who asks is answered at once.
    if (performance.now() < closedUntil && pool.idleCount === 0) throw lastFault
    try {
      const client = await pool.connect()
      delay = 0
      return client
    } catch (error) {
      if (!isExhausted(error)) {
        if (performance.now() >= closedUntil) delay = Math.min(LONGEST_DELAY, Math.max(FIRST_DELAY, delay * 2))
        closedUntil = performance.now() + delay * (0.5 + Math.random() / 2)
        lastFault = error
      }
      throw error
    }
  }

  return {
    async connect () { return guarded(await connect()) },
    async end () { await (ended ??= pool.end()) },
  }
}

export async function connectClient (address: PostgresAddress, settings: SessionSettings & { readonly answerTimeout?: number, readonly signal?: AbortSignal }): Promise<PostgresClient> {
  const { Client } = await loadPostgres()
  const client = new Client({
    ...await clientConfig(address, settings),
    ...settings.answerTimeout === undefined ? {} : { query_timeout: settings.answerTimeout },
  })
  // What breaks it is told by `end`, and to those whose query was under way.
  client.on('error', () => {})
  // The driver's `end` says goodbye first and waits for an answer.
  const { stream } = (client as unknown as { connection: { stream: { destroy (): void } } }).connection
  const destroy = () => { stream.destroy() }
  settings.signal?.throwIfAborted()
  settings.signal?.addEventListener('abort', destroy, { once: true })
  await client.connect()
  const query = async (sql: string, parameters: readonly unknown[] = []) => await client.query<Record<string, unknown>>(sql, [...parameters])
  return {
    query,
    onNotification (listener) { client.on('notification', ({ payload }) => { listener(payload ?? '') }) },
    onEnd (listener) { client.once('end', listener) },
    pool: {
      connect: async () => ({ query, release () {} }) as unknown as PostgresPoolClient,
      end: async () => {},
    },
    async end () { await client.end() },
    destroy,
  }
}

/** PostgreSQL's own code (SQLSTATE) of a fault, Node's of a connection, or nothing. */
export function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** Kysely gives a connection back without saying how it is: one that is broken, or leads to a server that takes no writes, ends here. */
function guarded (client: PoolClient): PostgresPoolClient {
  let broken: Error | null = null
  const onError = (error: Error) => { broken = error }
  client.on('error', onError)
  return {
    async query (sql: string, parameters: readonly unknown[]) {
      // Behind a query that timed out a further one would only wait as long again.
      if (broken !== null) throw broken
      try {
        return await client.query(sql, [...parameters])
      } catch (error) {
        if (isBreaking(error)) broken = error instanceof Error ? error : new Error(String(error))
        throw error
      }
    },
    release () {
      client.removeListener('error', onError)
      client.release(broken ?? false)
    },
  } as unknown as PostgresPoolClient
}

const READ_ONLY = '25006'

/** What the server has said of a statement leaves the connection whole; what the network says, or nobody, does not. */
function isBreaking (error: unknown): boolean {
  const saidByServer = error instanceof Error && 'severity' in error
  return !saidByServer || codeOf(error) === READ_ONLY || /^(?:08|57P)/.test(codeOf(error))
}

/** All connections are in use: says nothing of the server. */
function isExhausted (error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('timeout exceeded when trying to connect')
}

async function clientConfig ({ host, port, user, password, database, ssl }: PostgresAddress, { statementTimeout, connectTimeout }: SessionSettings): Promise<ClientConfig> {
  const { types } = await loadPostgres()
  return {
    host,
    port,
    user,
    database,
    ssl,
    // An empty one keeps the driver from looking into PGPASSWORD and ~/.pgpass: what is configured is all there is.
    password: password ?? '',
    // Times and counts are bigint columns, and far below 2^53.
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === BIGINT && format !== 'binary' ? Number : types.getTypeParser(oid, format as 'text')) as typeof driverTypes.getTypeParser,
    },
    keepAlive: true,
    connectionTimeoutMillis: connectTimeout,
    application_name: 'gatewarden',
    ...statementTimeout === null
      ? {}
      // A gateway that stands still in the middle of a transaction holds rows that others wait for.
      : { statement_timeout: statementTimeout, idle_in_transaction_session_timeout: 2 * statementTimeout },
  }
}
