/** The first of several processes: starts the workers, replaces one that dies, and makes all of them look like one gateway. */
import cluster, { type Worker } from 'node:cluster'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { openAdminServer } from '../admin-server.ts'
import { assertReloadable } from '../config/reloadable.ts'
import type { Config } from '../config/schema.ts'
import { StartupFault } from '../errors.ts'
import { countsIn, mergeMetrics, type MetricValues } from '../ops/metrics.ts'
import type { Gateway } from '../server.ts'
import type { FromWorker, Order, Started, ToWorker } from './messages.ts'

/** Milliseconds that a worker may take for an answer, beside a start, a reload and a drain. */
const patience = 5_000

/** A worker that dies again and again is waited for longer each time, up to this. */
const longestPause = 5_000

/** Workers that may die one after the other before there has been one that serves. */
const firstDeaths = 5

interface Member {
  readonly worker: Worker
  readonly hiredAt: number
  /** Serves; before that it is nobody's replacement, and nobody asks it for anything. */
  serves: boolean
  /** At the last scrape. */
  figures: MetricValues
  /** `timeout`: null waits for as long as the worker lives. */
  ask (order: Order, timeout?: number | null): Promise<unknown>
}

/** Died, or could never be made: it has said nothing about why. */
class WorkerEnded extends Error {}

/** `count`: of processes, all on one port. Throws a StartupFault. */
export async function startWorkers (config: Config, count: number, { log }: { readonly log: FastifyBaseLogger }): Promise<Gateway> {
  cluster.setupPrimary({ serialization: 'advanced' })
  const members = new Set<Member>()
  let current = config
  let draining: Promise<void> | null = null
  let misfortunes = 0
  /** Of workers that have ended, as of the last scrape of each: to Prometheus a count that falls has begun anew, and all of it is an increase. */
  let countsOfEnded: Promise<MetricValues> = Promise.resolve([])

  /** `timeout`: of the start; without one the worker may take as long as a single process, which is not cut off in a migration either. */
  async function add (timeout: number | null): Promise<Started> {
    const member = hire()
    let given = current
    try {
      const started = await member.ask({ order: 'start', config: shareOf(given, count) }, timeout) as Started
      // Reloads meanwhile went to those who served.
      while (given !== current) {
        given = current
        await member.ask({ order: 'reload', config: shareOf(given, count) }, 60_000)
      }
      member.serves = true
      return started
    } catch (error) {
      members.delete(member)
      member.worker.kill('SIGKILL')
      throw error
    }
  }

  function hire (): Member {
    const worker = cluster.fork()
    const member: Member = { worker, hiredAt: Date.now(), serves: false, figures: [], ask: correspond(worker) }
    members.add(member)
    worker.on('message', (message: FromWorker) => {
      if (!('ended' in message)) return
      for (const other of members) if (other !== member && other.worker.isConnected()) other.worker.send(message)
    })
    worker.once('exit', (code, signal) => {
      // Of one that dies before it serves, or was ended on purpose, those who started it know.
      if (!members.delete(member) || !member.serves || draining !== null) return
      log.error({ worker: worker.id, code, signal }, 'a worker has died; another takes its place')
      countsOfEnded = countsOfEnded.then(async (counts) => await countsIn([counts, member.figures]))
      misfortunes = Date.now() - member.hiredAt > 60_000 ? 0 : misfortunes + 1
      void replace()
    })
    return member
  }

  async function replace (): Promise<void> {
    while (draining === null) {
      await recover()
      if (draining !== null) return
      try {
        // The storage is up to date by now, and the others serve meanwhile.
        await add(60_000)
        return
      } catch (error) {
        // Ended on purpose, it is no failure.
        if (draining === null) noteFailure(error)
      }
    }
  }

  /** It brings the storage up to date and makes what is missing, keys too; the others find it. */
  async function addFirst (): Promise<Started> {
    for (let deaths = 1; ; deaths++) {
      try {
        return await add(null)
      } catch (error) {
        if (!(error instanceof WorkerEnded)) throw error
        noteFailure(error)
        if (deaths === firstDeaths) throw new StartupFault(`no worker comes up: ${deaths} have ended one after the other before they served (the last one: ${error.message}); see what they said before that, and whether there is memory for ${count}`)
        await recover()
      }
    }
  }

  async function addFurther (): Promise<void> {
    try {
      await add(null)
    } catch (error) {
      // What one of them says of the configuration or the storage is the start's fault; for one that dies nobody waits.
      if (!(error instanceof WorkerEnded)) throw error
      noteFailure(error)
      void replace()
    }
  }

  function noteFailure (error: unknown): void {
    misfortunes++
    log.error({ err: error }, 'a worker could not be started')
  }

  async function recover (): Promise<void> {
    await pause(Math.min(50 * 2 ** misfortunes, longestPause))
  }

  function serving (): Member[] {
    return [...members].filter(({ serves }) => serves)
  }

  /** A worker that dies instead of an answer is no longer one of those that serve. */
  async function check (name: string): Promise<'degraded' | undefined> {
    const outcomes = await Promise.all(serving().map(async ({ ask }) => await ask({ order: 'check', check: name }).catch((error: unknown) => {
      if (!(error instanceof WorkerEnded)) throw error
    })))
    return outcomes.includes('degraded') ? 'degraded' : undefined
  }

  /** Of one that gives no answer its counts of the scrape before. */
  async function figuresOfAll (): Promise<MetricValues[]> {
    // Taken together: a worker that dies while they are asked is among those that are asked.
    const [ended, members] = [countsOfEnded, serving()]
    const figures = members.map(async (member) => {
      try {
        member.figures = await member.ask({ order: 'metrics' }) as MetricValues
        return member.figures
      } catch {
        return await countsIn([member.figures])
      }
    })
    return await Promise.all([ended, ...figures])
  }

  async function dismiss (order: Order, timeout: number): Promise<void> {
    await Promise.all([...members].map(async ({ worker, ask }) => {
      const exited = new Promise<void>((resolve) => { worker.once('exit', () => { resolve() }) })
      await Promise.race([ask(order, timeout).catch(() => {}), exited])
      const late = setTimeout(() => { worker.kill('SIGKILL') }, 1_000)
      await exited
      clearTimeout(late)
    }))
  }

  try {
    const first = await addFirst()
    await Promise.all(Array.from({ length: count - 1 }, addFurther))
    const admin = await openAdminServer({
      config,
      log,
      metrics: { render: async () => await mergeMetrics(await figuresOfAll()) },
      checks: {
        ...Object.fromEntries(['storage', 'keys', 'revocations'].map((name) => [name, async () => await check(name)])),
        workers: () => { if (serving().length === 0) throw new Error('there is none') },
        accepting: () => { if (draining !== null) throw new Error('draining') },
      },
    })
    return {
      publicAddress: { host: first.host, port: first.port, url: first.url },
      adminAddress: admin.address,
      masterKeyCreated: first.masterKeyCreated,
      async reload (next) {
        assertReloadable(current, next)
        const [one, ...others] = serving()
        // What one of them refuses all would refuse, and nothing has changed then.
        await one?.ask({ order: 'reload', config: shareOf(next, count) }, 60_000)
        current = next
        for (const { worker, ask } of others) {
          // A worker that knows the configuration before must not go on beside those that do not: the next one has this one.
          await ask({ order: 'reload', config: shareOf(next, count) }, 60_000).catch(() => worker.kill('SIGKILL'))
        }
      },
      async drain () {
        draining ??= (async () => {
          await dismiss({ order: 'drain' }, current.timeouts.drain + patience)
          await admin.close()
        })()
        await draining
      },
    }
  } catch (error) {
    draining = Promise.resolve()
    await dismiss({ order: 'drain' }, patience)
    throw error
  }
}

/** What is bounded for the gateway as a whole is shared out among its processes. */
function shareOf (config: Config, count: number): Config {
  return {
    ...config,
    limits: { ...config.limits, connections: Math.ceil(config.limits.connections / count) },
    passwords: { ...config.passwords, concurrency: Math.max(1, Math.floor(config.passwords.concurrency / count)), queue: Math.ceil(config.passwords.queue / count) },
  }
}

/** Orders and their answers, told apart by number. Rejects with the worker's own words, when it has ended, or does not answer. */
function correspond (worker: Worker): Member['ask'] {
  let count = 0
  const open = new Map<number, { resolve (result: unknown): void, reject (error: Error): void }>()
  const listening = new Promise<void>((resolve) => {
    worker.on('message', (message: FromWorker) => { if ('listening' in message) resolve() })
  })
  worker.on('message', (message: FromWorker) => {
    if (!('number' in message)) return
    const waiting = open.get(message.number)
    open.delete(message.number)
    if ('error' in message) waiting?.reject(message.expected ? new StartupFault(message.error) : new Error(message.error))
    else waiting?.resolve(message.result)
  })
  const giveUp = (why: string) => { for (const { reject } of open.values()) reject(new WorkerEnded(why)) }
  worker.once('exit', (code, signal) => { giveUp(`ended by ${signal ?? `exit ${code}`}`) })
  // It could not be made (no process or memory left), or was sent something before its end was known.
  worker.on('error', ({ message }) => { giveUp(message) })
  return async function ask (order, timeout = patience) {
    const number = count++
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        open.set(number, { resolve, reject })
        if (timeout !== null) timer = setTimeout(() => { reject(new Error(`the worker has not answered within ${timeout} ms`)) }, timeout)
        void listening.then(() => { if (worker.isConnected()) worker.send({ ...order, number } satisfies ToWorker) })
      })
    } finally {
      clearTimeout(timer)
      open.delete(number)
    }
  }
}
