import t from 'tap'
import { createSettledTime } from '../src/settled-time.ts'

const minute = 60_000
const day = 24 * 60 * minute
const year = 365 * day

function start () {
  const clock = { time: 1_000_000_000_000, elapsed: 5 }
  return {
    clock,
    settled: createSettledTime(() => clock.time, () => clock.elapsed),
    pass (milliseconds: number) {
      clock.time += milliseconds
      clock.elapsed += milliseconds
    },
  }
}

t.test('goes with the clock, small steps and leaps of seconds included', async (t) => {
  const { clock, settled, pass } = start()
  for (const step of [0, 1, minute, year]) {
    pass(step)
    t.equal(settled(), clock.time)
  }
  clock.time += 1_000
  t.equal(settled(), clock.time)
})

t.test('a year ahead, and back after a minute: as if it had not been', async (t) => {
  const { clock, settled, pass } = start()
  const right = clock.time
  clock.time += year
  t.equal(settled(), right)
  pass(minute)
  t.equal(settled(), right + minute)
  clock.time -= year
  t.equal(settled(), right + minute)
  pass(minute)
  t.equal(settled(), right + 2 * minute)
})

t.test('ahead for good is believed after a day, and from then on followed', async (t) => {
  const { clock, settled, pass } = start()
  const right = clock.time
  clock.time += year
  for (let passed = 0; passed < day; passed += minute) {
    t.equal(settled(), right + passed)
    pass(minute)
  }
  t.equal(settled(), clock.time)
  pass(minute)
  t.equal(settled(), clock.time)
})

t.test('each jump has a day of its own', async (t) => {
  const { clock, settled, pass } = start()
  const right = clock.time
  clock.time += year
  settled()
  pass(day - minute)
  clock.time -= year
  t.equal(settled(), right + day - minute)
  clock.time += year
  t.equal(settled(), right + day - minute)
  pass(2 * minute)
  t.equal(settled(), right + day + minute)
})

t.test('what is set back is followed at once: nothing is deleted by a time that is too early', async (t) => {
  const { clock, settled } = start()
  clock.time -= year
  t.equal(settled(), clock.time)
})
