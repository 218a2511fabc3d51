/**
 * Measures only while the machine is itself. One that is shared, or hot, gives now and then a fifth of its cores for a minute,
 * and the process that is measured then has the same CPU time on its account for a fifth of the work. So a fixed piece of work is
 * done on both cores before and after; a measurement beside which that was slow is thrown away and made again, whatever came out.
 */
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { measuredCore, otherCore, spawnOn, stop } from './machine.ts'

/** Of the least time that the work has been seen to take: clocks come and go by half, and are what rounds and spreads are for. */
const slack = 1.7
const patience = 600_000

export interface FullSpeed {
  /** `make`, as often as it takes. Throws when the machine has not been itself for ten minutes. */
  measure <Result> (make: () => Promise<Result>): Promise<Result>
  /** Measurements that were kept, and that were thrown away. */
  readonly count: { kept: number, thrownAway: number }
  close (): Promise<void>
}

export async function openFullSpeed (): Promise<FullSpeed> {
  const pacemakers = [measuredCore, otherCore].map((core) => spawnOn(core, [process.execPath, resolve(import.meta.dirname, 'pace.mjs')], { stdio: ['pipe', 'pipe', 'inherit'] }))
  const count = { kept: 0, thrownAway: 0 }
  let best = Infinity

  /** Milliseconds of the slower core. */
  async function pace (): Promise<number> {
    const both: number[] = []
    // One after the other: two at once are what some machines slow down for.
    for (const { stdin, stdout } of pacemakers) {
      if (stdin === null || stdout === null) throw new Error('a pacemaker without pipes')
      stdin.write('\n')
      const [line] = await once(stdout, 'data') as [Buffer]
      both.push(Number.parseFloat(String(line)))
    }
    return Math.max(...both)
  }

  async function isItself (): Promise<boolean> {
    const now = await pace()
    // What was kept so far was then measured on a slow machine.
    if (now * slack < best && count.kept > 0) throw new Error(`the machine has become ${(best / now).toFixed(1)} times as fast: begin again`)
    best = Math.min(best, now)
    return now <= best * slack
  }

  for (let look = 0; look < 10; look++) {
    await isItself()
    await pause(500)
  }
  return {
    count,
    async measure (make) {
      for (const until = Date.now() + patience; Date.now() < until;) {
        if (!await isItself()) {
          await pause(1_000)
          continue
        }
        const result = await make()
        if (await isItself()) {
          count.kept++
          return result
        }
        count.thrownAway++
      }
      throw new Error(`the machine has been slower than ${best.toFixed(0)} ms for the same work for ten minutes`)
    },
    async close () {
      for (const pacemaker of pacemakers) await stop(pacemaker)
    },
  }
}
