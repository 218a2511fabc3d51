/** See kills.contract.ts. */
import t from 'tap'
import { postgresUrl, startPostgres } from '../helpers/postgres.ts'
import { sqliteEngine } from './kills-sqlite-engine.ts'
import { killsContract, killsTimeout, type Place } from './kills.contract.ts'

t.setTimeout(killsTimeout)
// The server is not what is killed.
const server = await startPostgres(t, { fsync: 'off' })
const nameOf = ({ storage }: Place): string => new URL(storage).pathname.slice(1)
let databases = 0

t.test('PostgreSQL', { timeout: killsTimeout }, killsContract({
  async create (_folder, from) {
    const name = `kill_${databases++}`
    await server.query(`create database ${name}${from === null ? '' : ` template ${nameOf(from)}`}`)
    return postgresUrl(server.port, name)
  },
  // What was killed is connected until the server notices.
  async remove (place) { await server.query(`drop database ${nameOf(place)} with (force)`) },
  damage: () => [],
  makesMasterKey: false,
  passing: 'last',
  movesFrom: sqliteEngine,
}))
