/**
 * For `node --import`: lets the parent count what this process does between `begin` and `end`, both sent as messages. Counted are
 * bytes allocated on V8's heap, calls of each JavaScript function, and reads and writes of files, sockets and pipes. What the
 * messages themselves cost is the same each time, and is taken off by whoever asked. Wants --expose-gc.
 */
import { readFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { getHeapStatistics } from 'node:v8'
import { isMainThread } from 'node:worker_threads'

// The threads beside the loop load this as well, and have a heap and functions of their own.
if (isMainThread) {
  const session = new Session()
  session.connect()
  let before = { bytes: 0, io: 0 }

  post('Profiler.enable')
  // Exact, because functions then run unoptimised: nothing is inlined, and no allocation is optimised away.
  post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  process.on('message', (order) => {
    if (order === 'begin') {
      // What the last answer took to make and send is not counted.
      post('Profiler.takePreciseCoverage')
      globalThis.gc({ type: 'minor' })
      process.send('begun')
      before = { io: readsAndWrites(), bytes: getHeapStatistics().used_heap_size }
    } else if (order === 'settle') {
      setImmediate(() => { process.send('settled') })
    } else {
      const bytes = getHeapStatistics().used_heap_size - before.bytes
      const io = readsAndWrites() - before.io
      process.send({ bytes, io, calls: calls() })
    }
  })
  // It ends when the gateway would.
  process.channel.unref()

  /** Its answer comes before it returns: the inspected thread is this one. */
  function post (method, parameters) {
    let answer
    session.post(method, parameters, (error, result) => {
      if (error !== null) throw error
      answer = result
    })
    return answer
  }

  /** [URL of the script, where the function begins in it, calls]. */
  function calls () {
    return post('Profiler.takePreciseCoverage').result.flatMap(({ url, functions }) =>
      functions.map(({ ranges: [{ startOffset, count }] }) => [url, startOffset, count]).filter(([,, count]) => count > 0))
  }
}

/** The calls of read(2), write(2) and their kin by all threads; none where there is no /proc. */
function readsAndWrites () {
  if (process.platform !== 'linux') return 0
  const [, reads, writes] = /^syscr: (\d+)\nsyscw: (\d+)/m.exec(readFileSync('/proc/self/io', 'latin1'))
  return Number(reads) + Number(writes)
}
