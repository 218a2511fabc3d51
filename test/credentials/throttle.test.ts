import t from 'tap'
import { sqliteOpener } from '../sessions/session-rig.ts'
import { throttleContract } from './throttle.contract.ts'

t.test('SQLite', throttleContract(sqliteOpener()))
