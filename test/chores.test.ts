import { once } from 'node:events'
import t from 'tap'
import { atMostEvery, repeat } from '../src/chores.ts'

t.test('a chore is begun anew once it is done, never beside itself; what fails is told of and tried again', async (t) => {
  const faults: unknown[] = []
  const done: (() => void)[] = []
  let others = 0
  const { stop } = repeat([
    { every: 1, what: 'slow', work: async () => { await new Promise<void>((resolve) => { done.push(resolve) }) } },
    { every: 1, what: 'failing', work: async () => { others++; throw new Error('not now') } },
  ], (error, what) => { faults.push(`${what}: ${String(error)}`) })
  t.teardown(stop)
  const turnsOfOther = async (count: number) => { for (const until = others + count; others < until;) await turn() }
  await turnsOfOther(10)
  t.equal(done.length, 1)
  done[0]?.()
  await turnsOfOther(10)
  t.equal(done.length, 2)
  t.equal(faults[9], 'failing: Error: not now')
})

t.test('what is under way when all is stopped is told to end, and its failure is nobody’s', async (t) => {
  const faults: unknown[] = []
  let told = 0
  const { stop } = repeat([{
    every: 1,
    what: 'long',
    work: async (stopping) => {
      told++
      await once(stopping, 'abort')
      told++
      throw new Error('the storage has been closed')
    },
  }], (error) => { faults.push(error) })
  while (told === 0) await turn()
  stop()
  while (told === 1) await turn()
  for (let count = 0; count < 10; count++) await turn()
  t.equal(told, 2)
  t.strictSame(faults, [])
})

t.test('what is triggered often is done at once, no sooner again than after its interval, and once after the last trigger', async (t) => {
  const begun: number[] = []
  const { trigger, stop } = atMostEvery(50, async () => { begun.push(performance.now()) }, t.error)
  t.teardown(stop)
  for (let count = 0; count < 3; count++) trigger()
  while (begun.length < 1) await turn()
  for (let count = 0; count < 3; count++) trigger()
  while (begun.length < 2) await turn()
  for (let count = 0; count < 10; count++) await turn()
  const [first = 0, second = 0, ...others] = begun
  // Node's timers count whole milliseconds, by a clock that is read once a turn: one of 50 may be over after 48.
  t.ok(second - first > 45, `${second - first} ms`)
  t.strictSame(others, [])
})

t.test('a failure of what is triggered is told of, and the next trigger is heard; after a stop none is', async (t) => {
  const faults: unknown[] = []
  const { trigger, stop } = atMostEvery(1, async () => { throw new Error('not now') }, (error) => { faults.push(String(error)) })
  trigger()
  while (faults.length < 1) await turn()
  trigger()
  while (faults.length < 2) await turn()
  trigger()
  stop()
  trigger()
  for (let count = 0; count < 10; count++) await turn()
  t.strictSame(faults, ['Error: not now', 'Error: not now'])
})

/** The timers of chores keep nothing running. */
async function turn (): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, 1) })
}
