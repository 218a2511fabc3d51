/** What a start leaves behind in memory is given back. */
import { runInNewContext } from 'node:vm'

/** Milliseconds: when the start is over, in whose way it would be. */
const later = 1_000

/**
 * V8 collects in full when its heap has grown much, and that of a gateway with little to do may not for hours: on Node 24, 10 MB of
 * what the start has made would stay. The end of a context is what V8 takes for a hint at garbage: some seconds later, and only while
 * little is going on, it collects in small steps and makes the heap of this thread smaller (MemoryReducer::NotifyPossibleGarbage).
 */
export function hintAtGarbage (): void {
  setTimeout(() => { runInNewContext('0') }, later).unref()
}
