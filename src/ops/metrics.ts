/** What is counted, and how Prometheus reads it; who counts what is decided by those who call. Label values come from the configuration or from this file. */
import { AggregatorRegistry, Counter, Gauge, Registry, type Histogram } from 'prom-client'
import { registerProcessMetrics } from './process-metrics.ts'

export type UpstreamErrorKind = (typeof upstreamErrorKinds)[number]

/** Made once for each route; what a request touches is a few cells of a typed array. */
export interface RouteMetrics {
  observe (status: number, seconds: number): void
  upstreamError (kind: UpstreamErrorKind): void
}

/** Asked at each scrape, and never in between. */
export interface MetricsSources {
  readonly tokenCache: () => { readonly hits: number, readonly misses: number, readonly refused: number, readonly size: number }
  readonly passwordHashing: () => { readonly running: number, readonly queued: number, readonly rejected: number }
  readonly liveConnections: () => { readonly websocket: number, readonly stream: number }
  readonly endedSessions: () => number
  /** Milliseconds. */
  readonly revocationLag: () => number
  readonly trustedIssuers?: () => readonly { readonly name: string, readonly keys: number, readonly ageSeconds: number | null }[]
}

export interface Metrics {
  /** The same pattern gets the same object, so that counts outlive a reload. */
  route (pattern: string): RouteMetrics
  countAuthEvent (event: { readonly event: string, readonly outcome?: unknown }): void
  /** A fetch of a trusted issuer's keys. Both come from the configuration and the code, not from the issuer. */
  countKeyFetch (issuer: string, outcome: string): void
  render (): Promise<{ readonly contentType: string, readonly body: string }>
  /** For mergeMetrics. */
  values (): Promise<MetricValues>
  close (): void
}

/** The figures of one process, as they travel to another. */
export type MetricValues = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** Of several processes one scrape: counts are added up, and of what cannot be added the worst is told. */
export async function mergeMetrics (values: readonly MetricValues[]): Promise<{ readonly contentType: string, readonly body: string }> {
  const merged = AggregatorRegistry.aggregate([...values])
  return { contentType: merged.contentType, body: await merged.metrics() }
}

/** The counts among the figures of several processes, added up: what is told of a process that has ended, and of one that does not answer. */
export async function countsIn (values: readonly MetricValues[]): Promise<MetricValues> {
  // prom-client's types call the type a number; it is a word.
  return (await AggregatorRegistry.aggregate([...values]).getMetricsAsJSON()).filter(({ type }) => ['counter', 'histogram'].includes(String(type)))
}

const upstreamErrorKinds = ['refused', 'timeout', 'reset', 'broken'] as const
const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const
/** Seconds. From a cached answer of a neighbour to the default timeout of an upstream. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const

export function createMetrics (sources: MetricsSources): Metrics {
  const registry = new Registry()
  const routes = new Map<string, RouteCounts>()
  const authEvents = Object.fromEntries(authEventCounts.map(({ key }) => [key, 0]))

  registerRouteMetrics(registry, routes)
  registerAuthMetrics(registry, authEvents)
  registerSources(registry, sources)
  const countKeyFetch = registerIssuerMetrics(registry, sources.trustedIssuers ?? (() => []))
  const processMetrics = registerProcessMetrics(registry)

  return {
    route (pattern) {
      const known = routes.get(pattern)
      if (known !== undefined) return known
      const counts = countRoute()
      routes.set(pattern, counts)
      return counts
    },
    countAuthEvent ({ event, outcome }) {
      for (const { key } of authEventCounts) {
        if (key === event || key === `${event} ${String(outcome)}`) authEvents[key] = (authEvents[key] ?? 0) + 1
      }
    },
    countKeyFetch,
    async render () {
      return { contentType: registry.contentType, body: await registry.metrics() }
    },
    values: () => registry.getMetricsAsJSON(),
    close () {
      processMetrics.close()
      registry.clear()
    },
  }
}

interface RouteCounts extends RouteMetrics {
  readonly byStatusClass: Float64Array
  /** One more than there are bounds: the last is what took longer than all. */
  readonly byDuration: Float64Array
  readonly byUpstreamError: Float64Array
  secondsInAll: number
}

function countRoute (): RouteCounts {
  const byStatusClass = new Float64Array(statusClasses.length)
  const byDuration = new Float64Array(bounds.length + 1)
  const byUpstreamError = new Float64Array(upstreamErrorKinds.length)
  const counts: RouteCounts = {
    byStatusClass,
    byDuration,
    byUpstreamError,
    secondsInAll: 0,
    observe (status, seconds) {
      increment(byStatusClass, Math.min(Math.max(Math.trunc(status / 100), 1), 5) - 1)
      let bucket = 0
      while (bucket < bounds.length && seconds > (bounds[bucket] ?? Infinity)) bucket++
      increment(byDuration, bucket)
      counts.secondsInAll += seconds
    },
    upstreamError (kind) {
      increment(byUpstreamError, upstreamErrorKinds.indexOf(kind))
    },
  }
  return counts
}

function increment (cells: Float64Array, index: number): void {
  cells[index] = (cells[index] ?? 0) + 1
}

function registerRouteMetrics (registry: Registry, routes: ReadonlyMap<string, RouteCounts>): void {
  counter(registry, 'gatewarden_requests_total', 'Requests answered, by route and class of status.', ['route', 'status'], (metric) => {
    for (const [route, { byStatusClass }] of routes) {
      statusClasses.forEach((status, index) => { metric.inc({ route, status }, byStatusClass[index] ?? 0) })
    }
  })
  counter(registry, 'gatewarden_upstream_errors_total', 'Upstreams that could not be reached, or answered late, or badly.', ['route', 'kind'], (metric) => {
    for (const [route, { byUpstreamError }] of routes) {
      upstreamErrorKinds.forEach((kind, index) => { metric.inc({ route, kind }, byUpstreamError[index] ?? 0) })
    }
  })
  const name = 'gatewarden_request_duration_seconds'
  const durations = {
    name,
    help: 'Time from the request to the end of its answer.',
    type: 'histogram',
    aggregator: 'sum',
    get: async () => ({
      name: durations.name,
      help: durations.help,
      type: durations.type,
      aggregator: durations.aggregator,
      values: [...routes].flatMap(([route, counts]) => histogramValues(name, route, counts)),
    }),
  }
  // A cast: prom-client's Histogram can only be fed one observation at a time, and a Registry asks no more of a
  // metric than a name and `get`. Its types call the type a number; what it prints is this word.
  registry.registerMetric(durations as unknown as Histogram)
}

function histogramValues (name: string, route: string, { byDuration, secondsInAll }: RouteCounts) {
  let count = 0
  const buckets = [...bounds, Infinity].map((bound, index) => {
    count += byDuration[index] ?? 0
    return { metricName: `${name}_bucket`, labels: { le: bound === Infinity ? '+Inf' : String(bound), route }, value: count }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: { route }, value: secondsInAll },
    { metricName: `${name}_count`, labels: { route }, value: count },
  ]
}

/** Which auth events are counted, and as what: `event` alone, or `event outcome`. */
const authEventCounts = [
  { key: 'login', metric: 'logins', outcome: 'accepted' },
  { key: 'login_failed', metric: 'logins', outcome: 'refused' },
  { key: 'throttled', metric: 'logins', outcome: 'throttled' },
  { key: 'refresh rotated', metric: 'refreshes', outcome: 'rotated' },
  { key: 'refresh repeated', metric: 'refreshes', outcome: 'repeated' },
  { key: 'refresh_failed', metric: 'refreshes', outcome: 'refused' },
  { key: 'reuse', metric: 'reuses', outcome: null },
] as const

function registerAuthMetrics (registry: Registry, counts: Readonly<Record<string, number>>): void {
  counter(registry, 'gatewarden_logins_total', 'Logins by their outcome.', ['outcome'], (metric) => {
    for (const { key, metric: of, outcome } of authEventCounts) if (of === 'logins') metric.inc({ outcome }, counts[key] ?? 0)
  })
  counter(registry, 'gatewarden_refreshes_total', 'Refreshes by their outcome; repeated: a duplicate inside the grace window got the same successor.', ['outcome'], (metric) => {
    for (const { key, metric: of, outcome } of authEventCounts) if (of === 'refreshes') metric.inc({ outcome }, counts[key] ?? 0)
  })
  counter(registry, 'gatewarden_refresh_token_reuses_total', 'Used refresh tokens shown after the grace window: each ended its session.', [], (metric) => {
    metric.inc(counts['reuse'] ?? 0)
  })
}

function registerSources (registry: Registry, { tokenCache, passwordHashing, liveConnections, endedSessions, revocationLag }: MetricsSources): void {
  counter(registry, 'gatewarden_token_verifications_total', 'Access tokens verified: found in the cache, or by their signature, or refused.', ['result'], (metric) => {
    const { hits, misses, refused } = tokenCache()
    metric.inc({ result: 'hit' }, hits)
    metric.inc({ result: 'miss' }, misses)
    metric.inc({ result: 'refused' }, refused)
  })
  gauge(registry, 'gatewarden_token_cache_size', 'Verified tokens remembered.', [], (metric) => { metric.set(tokenCache().size) })
  gauge(registry, 'gatewarden_password_hashes', 'Password hashes being computed, and waiting for it.', ['state'], (metric) => {
    const { running, queued } = passwordHashing()
    metric.set({ state: 'running' }, running)
    metric.set({ state: 'queued' }, queued)
  })
  counter(registry, 'gatewarden_password_hashes_rejected_total', 'Password hashes refused because the queue was full, or too slow.', [], (metric) => {
    metric.inc(passwordHashing().rejected)
  })
  gauge(registry, 'gatewarden_live_connections', 'Open WebSockets and event streams.', ['kind'], (metric) => {
    const { websocket, stream } = liveConnections()
    metric.set({ kind: 'websocket' }, websocket)
    metric.set({ kind: 'stream' }, stream)
  })
  gauge(registry, 'gatewarden_revocation_lag_seconds', 'Sessions that others have ended longer ago are all known here. Below one, unless the storage is out of hearing and reach.', [], (metric) => { metric.set(Math.min(revocationLag() / 1000, Number.MAX_SAFE_INTEGER)) }, 'max')
  gauge(registry, 'gatewarden_ended_sessions', 'Ended sessions that are remembered because a token of theirs may not have expired.', [], (metric) => { metric.set(endedSessions()) }, 'max')
}

/** → counts a fetch. */
function registerIssuerMetrics (registry: Registry, issuers: NonNullable<MetricsSources['trustedIssuers']>): Metrics['countKeyFetch'] {
  const fetches = new Map<string, Map<string, number>>()
  counter(registry, 'gatewarden_issuer_key_fetches_total', 'Fetches of the keys of trusted issuers, by their outcome.', ['issuer', 'outcome'], (metric) => {
    for (const [issuer, outcomes] of fetches) for (const [outcome, count] of outcomes) metric.inc({ issuer, outcome }, count)
  })
  gauge(registry, 'gatewarden_issuer_keys', 'Keys of trusted issuers that verify tokens now.', ['issuer'], (metric) => {
    metric.reset()
    for (const { name, keys } of issuers()) metric.set({ issuer: name }, keys)
  }, 'max')
  gauge(registry, 'gatewarden_issuer_keys_age_seconds', 'Time since the keys of a trusted issuer were fetched; absent without keys.', ['issuer'], (metric) => {
    metric.reset()
    for (const { name, ageSeconds } of issuers()) if (ageSeconds !== null) metric.set({ issuer: name }, ageSeconds)
  }, 'max')
  return function countKeyFetch (issuer, outcome) {
    const outcomes = fetches.get(issuer) ?? new Map<string, number>()
    fetches.set(issuer, outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1))
  }
}

/** A counter whose values are kept elsewhere, as plain numbers, and copied at a scrape. */
function counter<Label extends string> (registry: Registry, name: string, help: string, labelNames: Label[], fill: (metric: Counter<Label>) => void): void {
  registry.registerMetric(new Counter<Label>({
    name,
    help,
    labelNames,
    registers: [],
    collect () {
      this.reset()
      fill(this)
    },
  }))
}

function gauge<Label extends string> (registry: Registry, name: string, help: string, labelNames: Label[], fill: (metric: Gauge<Label>) => void, aggregator: 'sum' | 'max' = 'sum'): void {
  registry.registerMetric(new Gauge<Label>({ name, help, labelNames, aggregator, registers: [], collect () { fill(this) } }))
}
