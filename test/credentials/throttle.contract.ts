/** What the count of failed logins promises over any storage engine: to be run on each. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { createThrottle, type Attempt, type Decision } from '../../src/credentials/throttle.ts'
import { Refusal } from '../../src/errors.ts'
import { someTime } from '../helpers/tokens.ts'
import type { OpenStorage } from '../sessions/session-rig.ts'

export const throttleConfig = { attempts: 5, attemptsPerAddress: 20, attemptsInAll: 100, delay: 1_000, maximumDelay: 60_000, maximumDelayInAll: 4_000, window: 600_000 }

export function throttleContract (open: OpenStorage): (t: Test) => Promise<void> {
  return async (t) => {
    async function start (t: Test) {
      const storage = await open(t)
      t.teardown(async () => { await storage.close() })
      const clock = { time: someTime }
      const throttle = createThrottle({ db: storage.db, config: throttleConfig, now: () => clock.time })
      /** What comes of an attempt: `right`, `wrong`, or the seconds to wait. */
      async function attempt (attempt: Attempt, isRight = false): Promise<'right' | 'wrong' | number> {
        try {
          return await throttle.guard(attempt, async () => decided(isRight))
        } catch (error) {
          if (error instanceof Refusal && error.code === 'GW_TOO_MANY_ATTEMPTS') return error.details.retryAfterSeconds ?? 0
          throw error
        }
      }
      return {
        storage,
        clock,
        throttle,
        attempt,
        guess: async (account: string, address: string) => await attempt({ account, address }),
        logIn: async (account: string, address: string) => await attempt({ account, address }, true),
        async times (count: number, work: () => Promise<unknown>) { for (let number = 0; number < count; number++) await work() },
      }
    }

    await t.test('after so many failures each further one costs a delay that doubles, up to the longest', async (t) => {
      const { clock, guess, times } = await start(t)
      await times(5, async () => { t.equal(await guess('alice', '192.0.2.1'), 'wrong') })
      for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60, 60]) {
        t.equal(await guess('alice', '192.0.2.1'), seconds)
        clock.time += seconds * 1_000 - 1
        t.equal(await guess('alice', '192.0.2.1'), 1, 'and coming too early makes it no longer')
        clock.time += 1
        t.equal(await guess('alice', '192.0.2.1'), 'wrong')
      }
    })

    for (const [delay, longest] of [[1_000, 60_000], [7, 1_000], [1, 2 ** 20], [3, 3 * 2 ** 10], [60_000, 1_000], [1_000, 1_000], [0, 60_000], [1_000, 0]] as const) {
      await t.test(`a first delay of ${delay} ms is doubled up to ${longest}, to the millisecond`, async (t) => {
        const storage = await open(t)
        t.teardown(async () => { await storage.close() })
        const clock = { time: someTime }
        const throttle = createThrottle({ db: storage.db, config: { ...throttleConfig, attempts: 2, delay, maximumDelay: longest, window: 2 ** 40 }, now: () => clock.time })
        const delays: (number | null)[] = []
        const doubled: (number | null)[] = []
        for (let excess = -1; excess < 24; excess++) {
          await throttle.guard({ account: 'alice', address: `192.0.2.${excess + 2}` }, async () => decided(false))
          const rows = await storage.db.selectFrom('login_attempts').selectAll().where('key', 'like', 'account:%').execute()
          t.strictSame(rows.map(({ failures }) => Number(failures)), [excess + 2])
          const until = Number(rows[0]?.blocked_until)
          delays.push(until === 0 ? null : until - clock.time)
          const wait = excess < 0 ? 0 : Math.min(longest, delay * 2 ** excess)
          doubled.push(wait === 0 ? null : wait)
          clock.time += wait
        }
        t.strictSame(delays, doubled)
      })
    }

    await t.test('an account is counted wherever the guesses come from', async (t) => {
      const { guess } = await start(t)
      for (let host = 1; host <= 5; host++) t.equal(await guess('alice', `192.0.2.${host}`), 'wrong')
      t.equal(await guess('alice', '198.51.100.1'), 1)
      t.equal(await guess('ALICE', '198.51.100.2'), 1, 'in any spelling')
      t.equal(await guess('ａｌｉｃｅ', '198.51.100.2'), 1)
      t.equal(await guess('bob', '198.51.100.1'), 'wrong')
    })

    await t.test('an address is counted whomever it guesses at', async (t) => {
      const { guess } = await start(t)
      for (let number = 0; number < 20; number++) t.equal(await guess(`user ${number}`, '192.0.2.1'), 'wrong')
      t.equal(await guess('somebody else', '192.0.2.1'), 1)
      t.equal(await guess('somebody else', '::ffff:192.0.2.1'), 1, 'the same address, as a socket of both families says it')
      t.equal(await guess('somebody else', '192.0.2.2'), 'wrong')
    })

    await t.test('whoever has one IPv6 address has the /64 around it', async (t) => {
      const { guess } = await start(t)
      const within = ['2001:db8::1', '2001:db8::ffff:1', '2001:DB8:0:0::2', '2001:0db8:0000:0000:dead:beef:0:1', '2001:db8::', '2001:db8:0:0:1:2:3:4%eth0']
      for (let number = 0; number < 20; number++) t.equal(await guess(`user ${number}`, within[number % within.length] ?? ''), 'wrong')
      for (const address of within) t.equal(await guess('other', address), 1, address)
      t.equal(await guess('other', '2001:db8:0:1::1'), 'wrong')
      t.equal(await guess('another', '::1'), 'wrong')
    })

    await t.test('that an address is known is written once a day, not at each login', async (t) => {
      const { storage, clock, logIn } = await start(t)
      const written = async () => (await storage.db.selectFrom('known_origins').select('last_success_at').executeTakeFirstOrThrow()).last_success_at
      await logIn('alice', '192.0.2.1')
      t.equal(await written(), someTime)
      clock.time += 24 * 3_600_000
      await logIn('alice', '192.0.2.1')
      t.equal(await written(), someTime)
      clock.time += 1
      await logIn('alice', '192.0.2.1')
      t.equal(await written(), clock.time)
    })

    await t.test('names that nobody has are answered as those that somebody has', async (t) => {
      const { guess, logIn, times } = await start(t)
      await logIn('alice', '192.0.2.9')
      const answers: Record<string, unknown[]> = { alice: [], nobody: [] }
      for (const name of ['alice', 'nobody']) await times(7, async () => answers[name]?.push(await guess(name, '192.0.2.1')))
      t.strictSame(answers['alice'], answers['nobody'])
    })

    await t.test('strangers do not keep the owner out of where they have been before', async (t) => {
      const { clock, guess, logIn, times } = await start(t)
      t.equal(await logIn('alice', '192.0.2.1'), 'right')
      await times(5, async () => await guess('alice', '198.51.100.1'))
      t.equal(await guess('alice', '198.51.100.2'), 1, 'the account is closed to strangers')
      t.equal(await logIn('alice', '192.0.2.1'), 'right')
      t.equal(await logIn('alice', '203.0.113.1'), 1, 'to the owner elsewhere too, until the delay is over')
      clock.time += 1_000
      t.equal(await logIn('alice', '203.0.113.1'), 'right')
      await times(20, async () => await guess('alice', '198.51.100.1'))
      t.equal(await logIn('alice', '203.0.113.1'), 'right')
    })

    await t.test('from where the owner has been, guesses are bounded too', async (t) => {
      const { guess, logIn, times } = await start(t)
      await logIn('alice', '192.0.2.1')
      await times(5, async () => { t.equal(await guess('alice', '192.0.2.1'), 'wrong') })
      t.equal(await guess('alice', '192.0.2.1'), 1)
    })

    await t.test('a place is forgotten after ninety days', async (t) => {
      const { clock, guess, logIn, times } = await start(t)
      await logIn('alice', '192.0.2.1')
      clock.time += 90 * 86_400_000
      await times(5, async () => await guess('alice', '198.51.100.1'))
      t.equal(await logIn('alice', '192.0.2.1'), 1)
    })

    await t.test("who has one password of their own does not wash away their guesses at others'", async (t) => {
      const { guess, logIn } = await start(t)
      let wrong = 0
      for (let number = 0; number < 60; number++) {
        if (await guess(`victim ${number}`, '192.0.2.1') === 'wrong') wrong++
        await logIn('mallory', '192.0.2.1')
      }
      t.equal(wrong, 20)
    })

    await t.test('of a thousand guesses at once no more get through than of a thousand in a row', async (t) => {
      const { throttle, guess } = await start(t)
      let checked = 0
      const outcomes = await Promise.allSettled(Array.from({ length: 300 }, async (_, number) => await throttle.guard(
        { account: 'alice', address: `192.0.2.${number % 200}` },
        async () => { checked++; await pause(5); return decided(false) }
      )))
      t.equal(checked, 5)
      t.equal(outcomes.filter(({ status }) => status === 'rejected').length, 295)
      t.equal(await guess('alice', '203.0.113.9'), 1)
    })

    await t.test('who is right twenty times at once is let in twenty times', async (t) => {
      const { throttle } = await start(t)
      for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2']) {
        const outcomes = await Promise.allSettled(Array.from({ length: 20 }, async () => await throttle.guard({ account: 'alice', address }, async () => { await pause(5); return decided(true) })))
        t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 20)
      }
    })

    await t.test('an attempt that nobody could decide is taken back', async (t) => {
      const { throttle, guess, times } = await start(t)
      await times(50, async () => {
        await t.rejects(throttle.guard({ account: 'alice', address: '192.0.2.1' }, async () => { throw new Refusal('GW_UNAVAILABLE') }), { code: 'GW_UNAVAILABLE' })
      })
      t.equal(await guess('alice', '192.0.2.1'), 'wrong')
    })

    await t.test('an attempt that was right is taken back whatever comes of its answer', async (t) => {
      const { throttle, guess, times } = await start(t)
      await times(50, async () => {
        await t.rejects(throttle.guard({ account: 'alice', address: '192.0.2.1' }, async () => ({ isRight: true, answer: async () => { throw new Refusal('GW_CREDENTIALS_INVALID') } })), { code: 'GW_CREDENTIALS_INVALID' })
      })
      t.equal(await guess('alice', '192.0.2.1'), 'wrong')
    })

    await t.test('of a wrong one the answer may fail, and it stays counted', async (t) => {
      const { throttle, guess, times } = await start(t)
      await times(5, async () => {
        await t.rejects(throttle.guard({ account: 'alice', address: '192.0.2.1' }, async () => ({ isRight: false, answer: async () => { throw new Refusal('GW_CREDENTIALS_INVALID') } })), { code: 'GW_CREDENTIALS_INVALID' })
      })
      t.equal(await guess('alice', '192.0.2.1'), 1)
    })

    await t.test('a restart forgets nothing, and another process counts along', async (t) => {
      const first = await start(t)
      await first.times(3, async () => await first.guess('alice', '192.0.2.1'))
      const second = await start(t)
      await second.times(2, async () => await second.guess('alice', '192.0.2.1'))
      t.equal(await first.guess('alice', '192.0.2.1'), 1)
      await first.storage.close()
      t.equal(await (await start(t)).guess('alice', '192.0.2.1'), 1)
    })

    await t.test('the count begins anew after the window, and no clock that is set back makes a delay longer than the longest', async (t) => {
      const { clock, guess, times } = await start(t)
      await times(4, async () => await guess('alice', '192.0.2.1'))
      clock.time += throttleConfig.window + 1
      await times(5, async () => { t.equal(await guess('alice', '192.0.2.1'), 'wrong') })
      clock.time -= 86_400_000
      t.equal(await guess('alice', '192.0.2.1'), 60)
    })

    await t.test('a configuration without delays ends those that run', async (t) => {
      const { storage, guess, times } = await start(t)
      await times(6, async () => await guess('alice', '192.0.2.1'))
      t.equal(await guess('alice', '192.0.2.1'), 1)
      const without = createThrottle({ db: storage.db, config: { ...throttleConfig, maximumDelay: 0, maximumDelayInAll: 0 }, now: () => someTime })
      t.equal(await without.guard({ account: 'alice', address: '192.0.2.1' }, async () => decided(false)), 'wrong')
    })

    await t.test('while attempts are free, nobody waits for a replica whose clock is ahead', async (t) => {
      const { storage, clock, guess, logIn, times } = await start(t)
      const ahead = createThrottle({ db: storage.db, config: throttleConfig, now: () => clock.time + 250 })
      await times(4, async () => { await ahead.guard({ account: 'alice', address: '192.0.2.1' }, async () => decided(false)) })
      t.equal(await logIn('alice', '192.0.2.1'), 'right')
      await ahead.guard({ account: 'bob', address: '192.0.2.1' }, async () => decided(false))
      t.equal(await guess('bob', '192.0.2.1'), 'wrong')
    })

    await t.test('storage has no names, and keeps nothing for longer than it counts', async (t) => {
      const { clock, storage, throttle, guess, logIn } = await start(t)
      await guess('alice', '192.0.2.1')
      await logIn('bob', '192.0.2.2')
      const rows = JSON.stringify([await storage.db.selectFrom('login_attempts').selectAll().execute(), await storage.db.selectFrom('known_origins').selectAll().execute()])
      t.notMatch(rows, /alice|bob/)
      const count = async (table: 'login_attempts' | 'known_origins') => (await storage.db.selectFrom(table).selectAll().execute()).length
      await throttle.clean()
      t.ok(await count('login_attempts') > 0)
      clock.time += throttleConfig.window + throttleConfig.maximumDelay + 1
      await throttle.clean()
      t.strictSame([await count('login_attempts'), await count('known_origins')], [0, 1])
      clock.time += 90 * 86_400_000
      await throttle.clean()
      t.equal(await count('known_origins'), 0)
    })

    await t.test('a clock that is set ahead and back makes nothing forgotten', async (t) => {
      const { storage, clock, guess, logIn, times } = await start(t)
      await logIn('bob', '192.0.2.2')
      await times(6, async () => await guess('alice', '192.0.2.1'))
      clock.time += 365 * 86_400_000
      await createThrottle({ db: storage.db, config: throttleConfig, now: () => clock.time, settledNow: () => someTime }).clean()
      clock.time = someTime
      t.equal(await guess('alice', '192.0.2.1'), 1)
      await times(20, async () => await guess('bob', '198.51.100.1'))
      t.equal(await logIn('bob', '192.0.2.2'), 'right', 'still known here')
    })

    await t.test('all failures together are counted too: beyond them strangers wait, within a short bound, and nobody who is known', async (t) => {
      const { clock, guess, logIn } = await start(t)
      await logIn('alice', '192.0.2.1')
      for (let number = 0; number < 100; number++) t.equal(await guess(`user ${number}`, `198.51.${number}.1`), 'wrong')
      for (const seconds of [1, 2, 4, 4, 4]) {
        t.equal(await guess('another', '203.0.113.1'), seconds)
        t.equal(await guess('alice', '203.0.113.2'), seconds, 'the same for a name that somebody has')
        t.equal(await logIn('alice', '192.0.2.1'), 'right', 'where she has been before')
        clock.time += seconds * 1_000
        t.equal(await guess(`one more ${clock.time}`, `203.0.113.${seconds}`), 'wrong')
      }
      clock.time += 4_000
      t.equal(await logIn('bob', '203.0.113.9'), 'right', 'new here, and in after the longest delay')
      clock.time += throttleConfig.window
      for (let number = 0; number < 50; number++) t.equal(await guess(`user ${number}`, `198.51.${number}.2`), 'wrong', 'the next window has a count of its own')
    })

    await t.test('a crowd that is right spends nothing of the count of all', async (t) => {
      const { guess, logIn } = await start(t)
      for (let number = 0; number < 150; number++) t.equal(await logIn(`user ${number}`, `198.51.${number}.1`), 'right')
      t.equal(await guess('somebody', '203.0.113.1'), 'wrong')
    })

    await t.test('of a thousand guesses at once at as many names no more get through than the count of all', async (t) => {
      const { throttle } = await start(t)
      let checked = 0
      await Promise.allSettled(Array.from({ length: 400 }, async (_, number) => await throttle.guard(
        { account: `user ${number}`, address: `198.51.${number % 250}.${number}` },
        async () => { checked++; await pause(1); return decided(false) }
      )))
      t.equal(checked, 100)
    })

    await t.test('behind a storage that hangs the hundredth login has its 503 when the first has', async (t) => {
      const storage = await open(t)
      t.teardown(async () => { await storage.close() })
      let begun = 0
      const db = storage.db.withPlugin({
        transformQuery: ({ node }) => node,
        async transformResult ({ result }) {
          // What the transaction asks, after the look at known origins: as when the statement timeout ends it.
          if (result.rows.length === 0 && ++begun > 100) {
            await pause(2_100)
            throw new Error('canceling statement due to statement timeout')
          }
          return result
        },
      })
      const throttle = createThrottle({ db, config: throttleConfig, now: () => someTime })
      const began = performance.now()
      const outcomes = await Promise.all(Array.from({ length: 100 }, async (_, number) => await throttle.guard(
        { account: `user ${number}`, address: '192.0.2.1' }, async () => decided(true)
      ).catch((error: unknown) => error)))
      for (const outcome of outcomes) t.match(outcome, { code: 'GW_UNAVAILABLE', details: { retryAfterSeconds: 2 } })
      t.ok(performance.now() - began < 15_000, 'one after the other would be 200 s')
    })

    await t.test('storage that fails is 503', async (t) => {
      const { storage, guess } = await start(t)
      await storage.close()
      await t.rejects(guess('alice', '192.0.2.1'), { code: 'GW_UNAVAILABLE' })
    })
  }
}

function decided (isRight: boolean): Decision<'right' | 'wrong'> {
  return { isRight, answer: async () => isRight ? 'right' : 'wrong' }
}
