/** Deletes beside the load: a few rows at a time, and after each batch a break as long as the batch took. */
import { setTimeout as pause } from 'node:timers/promises'

/**
 * Rows of one batch. SQLite lets nobody else write meanwhile, and what is not in memory costs it a read for each row and index:
 * of a million sessions fifty take milliseconds, five hundred a tenth of a second, and as many rows are deleted in a second either way.
 */
const BATCH = 50

/** Until a batch finds fewer rows than it may delete, or `signal` is aborted; how many rows in all. */
export async function inSmallBatches (deleteSome: (limit: number) => Promise<number>, signal?: AbortSignal): Promise<number> {
  let all = 0
  for (;;) {
    const began = performance.now()
    const deleted = await deleteSome(BATCH)
    all += deleted
    if (deleted < BATCH || signal?.aborted === true) return all
    await pause(performance.now() - began)
  }
}
