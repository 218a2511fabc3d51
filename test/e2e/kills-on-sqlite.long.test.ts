/** See kills.contract.ts. */
import t from 'tap'
import { sqliteEngine } from './kills-sqlite-engine.ts'
import { killsContract, killsTimeout } from './kills.contract.ts'

t.setTimeout(killsTimeout)
t.test('SQLite', { timeout: killsTimeout }, killsContract(sqliteEngine))
