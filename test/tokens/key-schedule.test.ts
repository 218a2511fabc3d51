import t from 'tap'
import { keyToSign, planMaintenance, planRotation, stateOf, type Schedule, type ScheduledKey } from '../../src/tokens/key-schedule.ts'

const day = 86_400_000
const schedule: Schedule = { algorithm: 'ES256', rotateEvery: 30 * day, publishAhead: 600_000, verifyFor: 307_000 }
const key = (kid: string, activatesAt: number, expiresAt: number | null = null, algorithm: ScheduledKey['algorithm'] = 'ES256'): ScheduledKey =>
  ({ kid, algorithm, createdAt: activatesAt, activatesAt, expiresAt })

await t.test('of no keys at all, makes one that signs at once', async (t) => {
  t.strictSame(planMaintenance([], schedule, 1_000, 'opening'), { create: { activatesAt: 1_000 }, move: [], remove: [] })
})

await t.test('is content with a young key', async (t) => {
  t.equal(planMaintenance([key('a', 0)], schedule, 30 * day - 600_001, 'running'), null)
})

await t.test('makes the next key so early that it is published before it signs', async (t) => {
  const plan = planMaintenance([key('a', 0)], schedule, 30 * day - 600_000, 'running')
  t.strictSame(plan, { create: { activatesAt: 30 * day }, move: [{ kid: 'a', activatesAt: 0, expiresAt: 30 * day + 307_000 }], remove: [] })
})

await t.test('publishes ahead also when it has been asleep for long', async (t) => {
  t.match(planMaintenance([key('a', 0)], schedule, 90 * day, 'opening'), { create: { activatesAt: 90 * day + 600_000 } })
})

await t.test('makes no second one while a next key waits', async (t) => {
  const keys = [key('a', 0, 30 * day + 307_000), key('b', 30 * day)]
  t.equal(planMaintenance(keys, schedule, 30 * day - 1, 'running'), null)
  t.equal(planMaintenance(keys, schedule, 30 * day + 1, 'running'), null)
})

await t.test('signs with the next key from its time on, to the millisecond, and verifies with the old one until its last token is over', async (t) => {
  const keys = [key('a', 0, 30 * day + 307_000), key('b', 30 * day)]
  t.equal(keyToSign(keys, schedule, 30 * day - 1)?.kid, 'a')
  t.equal(keyToSign(keys, schedule, 30 * day)?.kid, 'b')
  t.equal(planMaintenance(keys, schedule, 30 * day + 306_999, 'running'), null)
  t.strictSame(planMaintenance(keys, schedule, 30 * day + 307_000, 'running'), { create: null, move: [], remove: ['a'] })
})

await t.test('lets the old key live longer when tokens do, since a later start', async (t) => {
  const keys = [key('a', 0, 30 * day + 307_000), key('b', 30 * day)]
  const longer = { ...schedule, verifyFor: 3_607_000 }
  t.strictSame(planMaintenance(keys, longer, 30 * day - 60_000, 'opening')?.move, [{ kid: 'a', activatesAt: 0, expiresAt: 30 * day + 3_607_000 }])
})

await t.test('another algorithm: a new key signs at once, the others retire', async (t) => {
  const plan = planMaintenance([key('a', 0, null, 'RS256')], schedule, day, 'opening')
  t.strictSame(plan, { create: { activatesAt: day }, move: [{ kid: 'a', activatesAt: 0, expiresAt: day + 307_000 }], remove: [] })
})

await t.test('back to the algorithm before: a key that is about to die signs nothing that outlives it', async (t) => {
  const retired = key('a', 0, day + 307_000)
  const keys = [retired, key('b', day, null, 'RS256')]
  t.match(planMaintenance(keys, schedule, day + 1_000, 'opening'), { create: { activatesAt: day + 1_000 } })
  t.equal(keyToSign(keys, schedule, day + 1_000), retired, 'but signs rather than nobody')
})

await t.test('two processes of different algorithms do not retire the keys of each other in turns', async (t) => {
  const keys = [key('a', 0), key('b', 0, null, 'RS256')]
  t.equal(planMaintenance(keys, schedule, day, 'running'), null)
  t.match(planMaintenance(keys, schedule, 30 * day + 600_001, 'running')?.move, [{ kid: 'a' }, { kid: 'b', expiresAt: 30 * day + 600_001 + 307_000 }], 'until age shows that nobody keeps it')
})

await t.test('a clock that was set back still finds a key to sign with', async (t) => {
  t.equal(keyToSign([key('b', 2_000), key('a', 1_000)], schedule, 500)?.kid, 'a')
  t.equal(keyToSign([], schedule, 0), undefined)
})

await t.test('rotation by hand: published first', async (t) => {
  t.strictSame(planRotation([key('a', 0)], schedule, day, false), { create: { activatesAt: day + 600_000 }, move: [{ kid: 'a', activatesAt: 0, expiresAt: day + 600_000 + 307_000 }], remove: [] })
})

await t.test('rotation by hand, at once', async (t) => {
  t.strictSame(planRotation([key('a', 0)], schedule, day, true), { create: { activatesAt: day }, move: [{ kid: 'a', activatesAt: 0, expiresAt: day + 307_000 }], remove: [] })
})

await t.test('rotation by hand takes the next key that waits', async (t) => {
  const keys = [key('a', 0, day + 907_000), key('b', day + 600_000)]
  t.equal(planRotation(keys, schedule, day, false), null)
  t.strictSame(planRotation(keys, schedule, day, true), { create: null, move: [{ kid: 'a', activatesAt: 0, expiresAt: day + 307_000 }, { kid: 'b', activatesAt: day, expiresAt: null }], remove: [] })
})

await t.test('rotation where there is no key makes one', async (t) => {
  t.strictSame(planRotation([], schedule, day, false), { create: { activatesAt: day }, move: [], remove: [] })
})

await t.test('names the states', async (t) => {
  const [a, b, c] = [key('a', 0, day + 1), key('b', day), key('c', 2 * day)] as const
  t.strictSame([a, b, c].map((one) => stateOf(one, b, day)), ['retired', 'signing', 'next'])
})

await t.test('a year of a ring: there is always a key to sign with, and no token outlives its key', async (t) => {
  let keys: ScheduledKey[] = []
  let made = 0
  const issued: { kid: string, until: number }[] = []
  for (let time = 0; time < 365 * day; time += 300_000) {
    const plan = planMaintenance(keys, schedule, time, 'running')
    if (plan !== null) {
      keys = keys.filter(({ kid }) => !plan.remove.includes(kid)).map((one) => ({ ...one, ...plan.move.find(({ kid }) => kid === one.kid) }))
      if (plan.create !== null) {
        t.ok(keys.length === 0 || plan.create.activatesAt >= time + schedule.publishAhead, 'published ahead')
        keys.push(key(`k${made++}`, plan.create.activatesAt))
      }
    }
    const signing = keyToSign(keys, schedule, time)
    if (signing === undefined) throw new Error(`no key at ${time}`)
    while (issued[0] !== undefined && issued[0].until < time) issued.shift()
    if (!issued.every(({ kid }) => keys.some((one) => one.kid === kid && (one.expiresAt === null || one.expiresAt > time)))) throw new Error(`a token outlived its key at ${time}`)
    issued.push({ kid: signing.kid, until: time + 302_000 })
  }
  t.equal(made, 13)
})
