import t from 'tap'
import { openSqlite } from '../sessions/session-rig.ts'
import { throttleContract } from './throttle.contract.ts'

t.test('SQLite', throttleContract(openSqlite))
