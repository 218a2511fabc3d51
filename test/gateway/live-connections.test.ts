import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { createLiveConnections, type EndReason, type LiveConnection } from '../../src/gateway/live-connections.ts'

interface Recorded extends LiveConnection { readonly ends: EndReason[] }

function connection (given: Partial<LiveConnection> = {}): Recorded {
  const ends: EndReason[] = []
  return { kind: 'websocket', sessionId: 'session', expiresAt: Infinity, end: (why) => { ends.push(why) }, ...given, ends }
}

/** Time that is moved by hand; the timers are real and at most milliseconds long here. */
function clock (start = 1_700_000_000_000) {
  let time = start
  return { now: () => time, pass: (milliseconds: number) => { time += milliseconds } }
}

const nobodyEnded = () => false

t.test('ends a connection once its time has come, and not before', async (t) => {
  const { now } = { now: Date.now }
  const live = createLiveConnections({ now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const expiresAt = now() + 150
  let endedAt = 0
  const ended = new Promise<EndReason>((resolve) => {
    live.add(connection({ expiresAt, end: (why) => { endedAt = now(); resolve(why) } }))
  })
  const keepsProcess = setTimeout(() => {}, 5_000)
  t.equal(await ended, 'expired')
  clearTimeout(keepsProcess)
  t.ok(endedAt >= expiresAt, `${endedAt - expiresAt} ms after`)
  t.ok(endedAt < expiresAt + 1_000)
})

t.test('asks the clock, not the timer, whether the time has come', async (t) => {
  const { now, pass } = clock()
  const live = createLiveConnections({ now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const soon = connection({ expiresAt: now() + 20 })
  live.add(soon)
  await wait(250)
  t.same(soon.ends, [], 'the clock stands still')
  pass(1_000)
  await wait(250)
  t.same(soon.ends, ['expired'])
})

t.test('a connection that comes later but ends sooner is ended first', async (t) => {
  const order: string[] = []
  const live = createLiveConnections({ now: Date.now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const base = Date.now()
  for (const [name, after] of [['never', Infinity], ['late', 420], ['soon', 110], ['middle', 250], ['soon too', 110]] as const) {
    live.add(connection({ expiresAt: base + after, end: () => { order.push(name) } }))
  }
  await wait(900)
  t.same(order, ['soon', 'soon too', 'middle', 'late'])
})

t.test('an expiry further away than any timer reaches neither fires at once nor warns', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => { process.off('warning', onWarning) })
  const { now } = clock()
  const live = createLiveConnections({ now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const far = connection({ expiresAt: now() + 2 ** 33 })
  live.add(far)
  await wait(50)
  t.same(far.ends, [])
  t.same(warnings, [])
})

t.test('the end of a session ends its connections of either kind, at once, and nobody else\'s', async (t) => {
  const live = createLiveConnections({ now: Date.now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const mine = [connection({ sessionId: 'a' }), connection({ sessionId: 'a', kind: 'stream' }), connection({ sessionId: 'b' })]
  const others = [connection({ sessionId: 'c' }), connection({ sessionId: null })]
  for (const one of [...mine, ...others]) live.add(one)
  live.endSessions(['a', 'unknown', 'b'])
  t.same(mine.map(({ ends }) => ends), [['revoked'], ['revoked'], ['revoked']])
  t.same(others.map(({ ends }) => ends), [[], []])
})

t.test('a connection is ended once, whatever reasons there are', async (t) => {
  const { now, pass } = clock()
  const live = createLiveConnections({ now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const one = connection({ expiresAt: now() + 10 })
  live.add(one)
  live.endSessions(['session'])
  live.endSessions(['session'])
  live.endAll()
  pass(10_000)
  await wait(150)
  t.same(one.ends, ['revoked'])
})

t.test('what has said that it is over is not ended', async (t) => {
  const { now, pass } = clock()
  const live = createLiveConnections({ now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const one = connection({ expiresAt: now() + 10 })
  const over = live.add(one)
  over()
  over()
  t.same(live.counts(), { websocket: 0, stream: 0 })
  live.endSessions(['session'])
  live.endAll()
  pass(10_000)
  await wait(150)
  t.same(one.ends, [])
})

t.test('counts by kind, from the beginning until a connection says that it is over', async (t) => {
  const live = createLiveConnections({ now: Date.now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const over = [connection(), connection(), connection({ kind: 'stream' })].map((one) => live.add(one))
  t.same(live.counts(), { websocket: 2, stream: 1 })
  live.endSessions(['session'])
  t.same(live.counts(), { websocket: 2, stream: 1 }, 'told to end is not over')
  for (const one of over) one()
  t.same(live.counts(), { websocket: 0, stream: 0 })
})

t.test('a connection may say that it is over from within its end', async (t) => {
  const live = createLiveConnections({ now: Date.now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const removed: string[] = []
  for (const name of ['a', 'b', 'c']) {
    const over = live.add(connection({
      end () {
        removed.push(name)
        over()
      },
    }))
  }
  live.endSessions(['session'])
  t.same(removed, ['a', 'b', 'c'])
  t.same(live.counts(), { websocket: 0, stream: 0 })
})

t.test('a session that ended before its connection was added ends it all the same', async (t) => {
  const ended = new Set<string>()
  const live = createLiveConnections({ now: Date.now, isEnded: (sessionId) => ended.has(sessionId) })
  t.teardown(() => { live.close() })
  // Verified, then revoked while the upstream was asked, then added: endSessions came too early to see it.
  ended.add('session')
  live.endSessions(['session'])
  const late = connection()
  const over = live.add(late)
  t.same(late.ends, [], 'never from within add')
  await Promise.resolve()
  t.same(late.ends, ['revoked'], 'but before anything else can happen')
  over()
  const other = connection({ sessionId: null })
  live.add(other)
  await Promise.resolve()
  t.same(other.ends, [])
})

t.test('when the gateway shuts down all are ended, and all that come after', async (t) => {
  const live = createLiveConnections({ now: Date.now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  const before = [connection(), connection({ sessionId: null, kind: 'stream' })]
  for (const one of before) live.add(one)
  live.endAll()
  t.same(before.map(({ ends }) => ends), [['shutdown'], ['shutdown']])
  const after = connection({ sessionId: null })
  live.add(after)
  await Promise.resolve()
  t.same(after.ends, ['shutdown'])
})

t.test('once closed it ends nothing by time', async (t) => {
  const live = createLiveConnections({ now: Date.now, isEnded: nobodyEnded })
  const before = connection({ expiresAt: Date.now() + 10 })
  live.add(before)
  live.close()
  const after = connection({ expiresAt: Date.now() + 10 })
  live.add(after)
  await wait(200)
  t.same([...before.ends, ...after.ends], [])
})

t.test('ten thousand connections that come, go and expire leave nothing behind', async (t) => {
  const { now, pass } = clock()
  const live = createLiveConnections({ now, isEnded: nobodyEnded })
  t.teardown(() => { live.close() })
  let ended = 0
  for (const remove of addMany(live, 10_000, now, () => { ended++ })) remove()
  t.same(live.counts(), { websocket: 5_000, stream: 0 })
  pass(301_000)
  const deadline = performance.now() + 12_000
  while (ended < 5_000 && performance.now() < deadline) await wait(50)
  t.equal(ended, 5_000)
  t.same(live.counts(), { websocket: 0, stream: 0 })
})

t.test('a connection that comes and goes costs no more beside ten thousand than beside a thousand', async (t) => {
  const { now } = clock()
  /** Milliseconds for one, the least of several: what else the machine does only ever adds. */
  const cost = (count: number) => Math.min(...Array.from({ length: 7 }, () => {
    const live = createLiveConnections({ now, isEnded: nobodyEnded })
    const startedAt = performance.now()
    for (const remove of addMany(live, count, now, () => {})) remove()
    const took = performance.now() - startedAt
    live.close()
    return took / count
  }))
  cost(1_000)
  const few = cost(1_000)
  const many = cost(10_000)
  // Ten, if each looked at all the others; and five are what a machine may lose of its speed from one moment to the next.
  t.ok(many < 5 * few, `${(many * 1_000).toFixed(1)} and ${(few * 1_000).toFixed(1)} µs`)
})

/** Adds them, to expire within five minutes, in no order, and returns what removes every second one. */
function addMany (live: ReturnType<typeof createLiveConnections>, count: number, now: () => number, ended: () => void): (() => void)[] {
  const over: (() => void)[] = []
  for (let index = 0; index < count; index++) {
    const remove = live.add(connection({
      sessionId: `session-${index % 3_000}`,
      expiresAt: now() + 1 + (index * 7_919) % 300_000,
      end () {
        ended()
        remove()
      },
    }))
    if (index % 2 === 0) over.push(remove)
  }
  return over
}
