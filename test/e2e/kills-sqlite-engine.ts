/** For kills.contract.ts: an SQLite file beside each config.yaml. */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { openSqlite } from '../../src/storage/sqlite-driver.ts'
import type { Engine } from './kills.contract.ts'

export const sqliteEngine: Engine = {
  async create (folder, from) {
    if (from !== null) cpSync(join(from.folder, 'data'), join(folder, 'data'), { recursive: true })
    return `sqlite:${join(folder, 'data/gatewarden.db')}`
  },
  async remove () {},
  damage ({ folder }) {
    const database = openSqlite(join(folder, 'data/gatewarden.db'))
    try {
      return database.prepare('pragma integrity_check').all().flatMap(({ integrity_check: found }) => found === 'ok' ? [] : [String(found)])
    } finally {
      database.close()
    }
  },
  makesMasterKey: true,
  passing: 'first',
}
