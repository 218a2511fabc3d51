/** How the process itself fares: the few figures that cost nothing until they are read. Their names are the ones dashboards know. */
import { readdirSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { Counter, Gauge, type Registry } from 'prom-client'

/** prom-client's own default metrics watch every garbage collection and cannot be stopped again: these can. */
export function registerProcessMetrics (registry: Registry): { close (): void } {
  const startedAt = performance.timeOrigin / 1000
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  let lastUtilization = performance.eventLoopUtilization()

  registry.registerMetric(new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time, user and system.',
    registers: [],
    collect () {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  }))
  gauge('process_start_time_seconds', 'Start, since the epoch.', () => startedAt, 'min')
  gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss())
  gauge('process_open_fds', 'Open file descriptors; 0 where the system does not tell.', openFiles)
  gauge('nodejs_heap_size_used_bytes', 'Heap in use.', () => process.memoryUsage().heapUsed)
  gauge('nodejs_eventloop_utilization_ratio', 'Share of time that the event loop was busy, since the last scrape.', () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, lastUtilization)
    lastUtilization = now
    return utilization
  }, 'average')
  gauge('nodejs_eventloop_lag_p99_seconds', 'What 99 of 100 turns of the event loop stayed under, since the last scrape.', () => {
    const seconds = delay.percentile(99) / 1e9
    delay.reset()
    return seconds
  }, 'max')

  /** `aggregator`: what several processes are told of as. */
  function gauge (name: string, help: string, read: () => number, aggregator: 'sum' | 'max' | 'min' | 'average' = 'sum'): void {
    registry.registerMetric(new Gauge({ name, help, aggregator, registers: [], collect () { this.set(read()) } }))
  }

  return { close: () => { delay.disable() } }
}

function openFiles (): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}
