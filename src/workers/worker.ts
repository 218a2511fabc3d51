/** One of several processes that serve the public port: a gateway without an admin port, which does as the first process says. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { StartupFault } from '../errors.ts'
import { hintAtGarbage } from '../heap-hint.ts'
import { serve, type Served } from '../server.ts'
import type { FromWorker, Order, Started, ToWorker } from './messages.ts'

/** Serves until it is told to drain, or the first process is gone. */
export function serveAsWorker (log: Logger): void {
  let gateway: Served | null = null
  const say = (message: FromWorker) => { if (process.connected) process.send?.(message) }

  async function obey (order: Order): Promise<unknown> {
    if (order.order === 'start') return await start(order.config)
    if (gateway === null) throw new Error('not started')
    switch (order.order) {
      case 'reload':
        await gateway.reload(order.config)
        log.level = order.config.log.level
        return
      case 'drain': return await gateway.drain()
      case 'metrics': return await gateway.metrics.values()
      case 'check': return await gateway.checks[order.check]?.()
    }
  }

  async function start (config: Config): Promise<Started> {
    log.level = config.log.level
    gateway = await serve(config, { log })
    gateway.onSessionsEnd((ended) => { say({ ended }) })
    hintAtGarbage()
    return { ...gateway.publicAddress, masterKeyCreated: gateway.masterKeyCreated }
  }

  process.on('message', (message: ToWorker) => {
    if ('ended' in message) {
      gateway?.endSessions(message.ended)
      return
    }
    const { number } = message
    obey(message).then(
      (result) => { say({ number, result }) },
      (error: unknown) => {
        if (!(error instanceof StartupFault)) log.error({ err: error, order: message.order }, 'a worker could not do as it was told')
        say({ number, error: error instanceof Error ? error.message : String(error), expected: error instanceof StartupFault })
      }
    ).finally(() => { if (message.order === 'drain') process.disconnect() })
  })
  // Signals are for the first process, also where a terminal or a supervisor sends them to all.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  // Told to, or the first process is gone: nobody would end this one any more.
  process.once('disconnect', () => { void leave(gateway) })
  process.once('uncaughtException', (error) => {
    log.fatal({ err: error }, 'a fault that nobody caught')
    // What state is left nobody knows; the first process starts another.
    process.kill(process.pid, 'SIGKILL')
  })
  say({ listening: true })
}

async function leave (gateway: Served | null): Promise<void> {
  await gateway?.drain().catch(() => {})
  // With nothing left to do the process ends by itself, before this.
  await pause(1_000, undefined, { ref: false })
  process.kill(process.pid, 'SIGKILL')
}
