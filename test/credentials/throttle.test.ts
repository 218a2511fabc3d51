import t from 'tap'
import { createThrottle } from '../../src/credentials/throttle.ts'
import { sqliteOpener } from '../sessions/session-rig.ts'
import { someTime } from '../helpers/tokens.ts'
import { throttleConfig, throttleContract } from './throttle.contract.ts'

t.test('SQLite', throttleContract(sqliteOpener()))

// Each is a turn of SQLite's thread, and each that is awaited alone a commit; on one core each takes time from the hashing.
t.test('SQLite is asked two statements before the password, and one or two together with the answer', async (t) => {
  const storage = await sqliteOpener()(t)
  t.teardown(async () => { await storage.close() })
  let order: string[] = []
  const db = storage.db.withPlugin({
    transformQuery: ({ node }) => node,
    async transformResult ({ result }) {
      order.push('statement')
      return result
    },
  })
  const throttle = createThrottle({ db, config: throttleConfig, now: () => someTime })
  const logIn = async () => {
    order = []
    await throttle.guard({ account: 'alice', address: '192.0.2.1' }, async () => {
      order.push('password')
      return { isRight: true, answer: async () => { order.push('answer') } }
    })
    return order
  }
  t.strictSame(await logIn(), ['statement', 'statement', 'password', 'answer', 'statement', 'statement'], 'from an address that is new')
  t.strictSame(await logIn(), ['statement', 'statement', 'password', 'answer', 'statement'], 'from one that is known')
})
