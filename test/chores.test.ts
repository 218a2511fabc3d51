import { once } from 'node:events'
import t from 'tap'
import { repeat } from '../src/chores.ts'

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

/** The timers of `repeat` keep nothing running. */
async function turn (): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, 1) })
}
