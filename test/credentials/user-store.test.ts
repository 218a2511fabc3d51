import t from 'tap'
import { openSqlite } from '../sessions/session-rig.ts'
import { userStoreContract } from './user-store.contract.ts'

t.test('SQLite', userStoreContract(openSqlite))
