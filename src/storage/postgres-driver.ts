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
  return pool
}
