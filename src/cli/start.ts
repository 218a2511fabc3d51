/** `gatewarden start`: runs the gateway; which signal and which change of a file does what. */
import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'
import closeWithGrace from 'close-with-grace'
import type { Logger } from 'pino'
import { faultText } from '../config/fault.ts'
import { lintConfig } from '../config/lint.ts'
import { loadConfig, type Loaded } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { watchFiles } from '../config/watch.ts'
import { StartupFault } from '../errors.ts'
import { hintAtGarbage } from '../heap-hint.ts'
import { openLog } from '../ops/log-destination.ts'
import { loggerOptions } from '../ops/logger.ts'
import { openPersistentState } from '../persistent-state.ts'
import type { Gateway } from '../server.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import { version } from './version.ts'

type LoadedConfig = Extract<Loaded, { config: unknown }>

/** Milliseconds after `timeouts.drain` at which a shutdown that hangs is cut off. */
const closing = 5_000

/** Resolves when the gateway is ready; from then on signals decide. */
export async function start ({ config: file }: ConfigOption): Promise<void> {
  if (cluster.worker !== undefined) {
    // The configuration comes from the first process: what stands in the file by now may be another one.
    const { serveAsWorker } = await import('../workers/worker.ts')
    serveAsWorker(openLog(loggerOptions({ level: 'info' })).child({ worker: cluster.worker.id }))
    return
  }
  const loaded = loadOrThrow(file)
  const log = openLog(loggerOptions(loaded.config.log))
  warnOf(loaded, log)
  const starting = startProcesses(loaded.config, log)
  const changes = followChanges(file, loaded, starting, log)
  endGracefully(starting, loaded.config.timeouts.drain, log, changes.ignore)

  const gateway = await starting
  if (gateway.masterKeyCreated !== null) {
    log.warn({ file: gateway.masterKeyCreated }, 'made a master key: without this file the keys in storage cannot be read; keep a copy of it, apart from the data')
  }
  // Whatever the level, this line is written: others wait for it, and with port 0 it is the only place that says the address.
  log.child({}, { level: 'info' }).info({ public: gateway.publicAddress.url, admin: gateway.adminAddress.url, version: version() }, 'ready')
  hintAtGarbage()
}

async function startProcesses (config: Config, log: Logger): Promise<Gateway> {
  const workers = config.workers === 'auto' ? availableParallelism() : config.workers
  if (workers === 1) {
    // At once: while this thread reads what a gateway is made of, that of the storage opens its file.
    const [state, { startGateway }] = await Promise.all([openPersistentState(config, (message) => { log.warn(message) }), import('../server.ts')])
    return await startGateway(config, { log, state })
  }
  return await (await import('../workers/primary.ts')).startWorkers(config, workers, { log })
}

/** The one place that warns of what is allowed but dangerous. */
function warnOf ({ config, faultAt }: LoadedConfig, log: Logger): void {
  for (const { path, message } of lintConfig(config)) {
    const { file, line, column, path: key } = faultAt(path, message)
    log.warn({ at: `${file}:${line}:${column}`, key }, message)
  }
}

/** A reload takes over the configuration as a whole; one that fails changes nothing, and says why. */
function followChanges (file: string, first: LoadedConfig, starting: Promise<Gateway>, log: Logger): { ignore (): void } {
  let last: Promise<void> = Promise.resolve()
  let ignored = false
  const watch = watchFiles(first.files, () => { reload('a changed file') })
  process.on('SIGHUP', () => { reload('SIGHUP') })

  function reload (why: string): void {
    // One after the other: the last word is that of the last change.
    last = last.then(async () => { await reloadNow(why) }).catch((error: unknown) => { logFailure(error, log) })
  }

  async function reloadNow (why: string): Promise<void> {
    const gateway = await starting
    if (ignored) return
    const loaded = loadConfig(file)
    if ('faults' in loaded) {
      for (const fault of loaded.faults) log.error({ at: `${fault.file}:${fault.line}:${fault.column}`, key: fault.path }, faultText(fault))
      log.error({ faults: loaded.faults.length }, `reload after ${why} failed; the configuration before goes on`)
      return
    }
    // At once, so that what changes while the reload is under way is seen as a change.
    watch.follow(loaded.files)
    await gateway.reload(loaded.config)
    log.level = loaded.config.log.level
    warnOf(loaded, log)
    log.info(`reloaded after ${why}`)
  }

  return {
    ignore () {
      ignored = true
      watch.close()
    },
  }
}

function logFailure (error: unknown, log: Logger): void {
  if (error instanceof StartupFault) log.error(`reload failed: ${error.message}`)
  else log.error({ err: error }, 'reload failed; the configuration before goes on')
}

/** SIGTERM and SIGINT drain and exit 0; a second one, or a fault that nobody caught, exits 1 at once. */
function endGracefully (starting: Promise<Gateway>, drain: number, log: Logger, onEnd: () => void): void {
  closeWithGrace({
    delay: drain + closing,
    logger: false,
    // SIGHUP reloads; the others are faults of the machine, which no JavaScript outlives.
    skip: ['SIGHUP', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV', 'SIGUSR2', 'beforeExit'],
    onSecondSignal: (signal) => { log.error({ signal }, 'second signal: exiting without waiting any longer') },
    onSecondError: (error) => { log.fatal({ err: error }, 'a fault that nobody caught') },
    onTimeout: () => { log.error('the shutdown took too long: exiting without waiting any longer') },
  }, async ({ signal, err }) => {
    if (err !== undefined) {
      // What state is left nobody knows: whoever supervises this process starts a new one.
      log.fatal({ err }, 'a fault that nobody caught')
      return
    }
    log.info({ signal }, 'draining')
    onEnd()
    try {
      const gateway = await starting
      await gateway.drain()
    } catch (error) {
      log.error({ err: error }, 'the shutdown failed')
      throw error
    }
    log.info('stopped')
  })
}
