import t from 'tap'
import { throttleContract } from '../credentials/throttle.contract.ts'
import { userStoreContract } from '../credentials/user-store.contract.ts'
import { postgresOpener, startPostgres } from '../helpers/postgres.ts'
import { sessionStoreContract } from '../sessions/session-store.contract.ts'

// What is lost in a crash is of no interest here.
const server = await startPostgres(t, { fsync: 'off' })
const open = postgresOpener(server)

t.test('sessions', sessionStoreContract(open))
t.test('users', userStoreContract(open))
t.test('failed logins', throttleContract(open))
