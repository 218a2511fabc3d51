import t from 'tap'
import { openSqlite } from './session-rig.ts'
import { sessionStoreContract } from './session-store.contract.ts'

t.test('SQLite', sessionStoreContract(openSqlite))
