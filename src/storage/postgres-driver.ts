/** The only file that knows the PostgreSQL driver: loaded when something is configured to use it. */
import type { Pool, PoolConfig } from 'pg'

export async function loadPostgres () {
  return (await import('pg')).default
}

export async function openPostgresPool (config: PoolConfig): Promise<Pool> {
  const pg = await loadPostgres()
  const pool = new pg.Pool({ application_name: 'gatewarden', keepAlive: true, ...config })
  // An idle connection that breaks: the pool has dropped it already, and without a listener the process would end.
  pool.on('error', () => {})
  // And one that breaks while it is in use, or on its way to who asked for it: pg-pool 3.14 takes its own listener off some turns
  // before that one holds the connection, and a server that goes away just then says so behind its first "ready" in the same packet.
  // Whoever uses it learns it from the query.
  pool.on('connect', (client) => { client.on('error', () => {}) })
  return pool
}
