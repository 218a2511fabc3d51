import t, { type Test } from 'tap'
import { createMetrics, type Metrics, type MetricsSources } from '../../src/ops/metrics.ts'

function start (t: Test, sources: Partial<MetricsSources> = {}): Metrics {
  const metrics = createMetrics({
    tokenCache: () => ({ hits: 5, misses: 3, refused: 2, size: 3 }),
    passwordHashing: () => ({ running: 2, queued: 7, rejected: 1 }),
    liveConnections: () => ({ websocket: 4, stream: 6 }),
    endedSessions: () => 9,
    revocationLag: () => 250,
    ...sources,
  })
  t.teardown(() => { metrics.close() })
  return metrics
}

async function samples (metrics: Metrics): Promise<Map<string, number>> {
  const { body } = await metrics.render()
  return new Map(body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => {
    const space = line.lastIndexOf(' ')
    return [line.slice(0, space), Number(line.slice(space + 1))]
  }))
}

t.test('counts requests by route and class of status', async (t) => {
  const metrics = start(t)
  const api = metrics.route('/api')
  for (const status of [101, 200, 204, 302, 404, 401, 502]) api.observe(status, 0.001)
  metrics.route('/other').observe(200, 0.001)
  const seen = await samples(metrics)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="1xx"}'), 1)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="2xx"}'), 2)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="3xx"}'), 1)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="4xx"}'), 2)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="5xx"}'), 1)
  t.equal(seen.get('gatewarden_requests_total{route="/other",status="2xx"}'), 1)
})

t.test('keeps latency histograms by route: cumulative buckets, a sum and a count', async (t) => {
  const metrics = start(t)
  for (const seconds of [0.0005, 0.001, 0.03, 45]) metrics.route('/api').observe(200, seconds)
  const seen = await samples(metrics)
  const bucket = (le: string) => seen.get(`gatewarden_request_duration_seconds_bucket{le="${le}",route="/api"}`)
  t.equal(bucket('0.001'), 2, 'a bound holds what equals it')
  t.equal(bucket('0.025'), 2)
  t.equal(bucket('0.05'), 3)
  t.equal(bucket('30'), 3)
  t.equal(bucket('+Inf'), 4)
  t.equal(seen.get('gatewarden_request_duration_seconds_count{route="/api"}'), 4)
  t.ok(Math.abs((seen.get('gatewarden_request_duration_seconds_sum{route="/api"}') ?? 0) - 45.0315) < 1e-9)
  t.match((await metrics.render()).body, '# TYPE gatewarden_request_duration_seconds histogram')
})

t.test('a route asked for again goes on counting where it was', async (t) => {
  const metrics = start(t)
  t.equal(metrics.route('/api'), metrics.route('/api'))
})

t.test('a status that is none lands in a class all the same', async (t) => {
  const metrics = start(t)
  metrics.route('/api').observe(0, 0)
  metrics.route('/api').observe(999, 0)
  const seen = await samples(metrics)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="1xx"}'), 1)
  t.equal(seen.get('gatewarden_requests_total{route="/api",status="5xx"}'), 1)
})

t.test('counts upstream errors by route and kind', async (t) => {
  const metrics = start(t)
  for (const kind of ['refused', 'timeout', 'timeout', 'reset', 'broken'] as const) metrics.route('/api').upstreamError(kind)
  const seen = await samples(metrics)
  t.equal(seen.get('gatewarden_upstream_errors_total{route="/api",kind="refused"}'), 1)
  t.equal(seen.get('gatewarden_upstream_errors_total{route="/api",kind="timeout"}'), 2)
})

t.test('counts logins, refreshes and reuses from the auth events', async (t) => {
  const metrics = start(t)
  const events = [
    { event: 'login' }, { event: 'login' }, { event: 'login_failed' }, { event: 'throttled' },
    { event: 'refresh', outcome: 'rotated' }, { event: 'refresh', outcome: 'repeated' }, { event: 'refresh', outcome: 'repeated' }, { event: 'refresh_failed' },
    { event: 'reuse' }, { event: 'logout' }, { event: 'something else' },
  ]
  for (const event of events) metrics.countAuthEvent(event)
  const seen = await samples(metrics)
  t.equal(seen.get('gatewarden_logins_total{outcome="accepted"}'), 2)
  t.equal(seen.get('gatewarden_logins_total{outcome="refused"}'), 1)
  t.equal(seen.get('gatewarden_logins_total{outcome="throttled"}'), 1)
  t.equal(seen.get('gatewarden_refreshes_total{outcome="rotated"}'), 1)
  t.equal(seen.get('gatewarden_refreshes_total{outcome="repeated"}'), 2)
  t.equal(seen.get('gatewarden_refreshes_total{outcome="refused"}'), 1)
  t.equal(seen.get('gatewarden_refresh_token_reuses_total'), 1)
})

t.test('reads cache, hashing, live connections and ended sessions at the scrape', async (t) => {
  let size = 3
  const metrics = start(t, { tokenCache: () => ({ hits: 5, misses: 3, refused: 2, size }) })
  await metrics.render()
  size = 11
  const seen = await samples(metrics)
  t.equal(seen.get('gatewarden_token_verifications_total{result="hit"}'), 5, 'copied, not added up')
  t.equal(seen.get('gatewarden_token_verifications_total{result="miss"}'), 3)
  t.equal(seen.get('gatewarden_token_verifications_total{result="refused"}'), 2)
  t.equal(seen.get('gatewarden_token_cache_size'), 11)
  t.equal(seen.get('gatewarden_password_hashes{state="running"}'), 2)
  t.equal(seen.get('gatewarden_password_hashes{state="queued"}'), 7)
  t.equal(seen.get('gatewarden_password_hashes_rejected_total'), 1)
  t.equal(seen.get('gatewarden_live_connections{kind="websocket"}'), 4)
  t.equal(seen.get('gatewarden_live_connections{kind="stream"}'), 6)
  t.equal(seen.get('gatewarden_ended_sessions'), 9)
})

t.test('tells how the process fares', async (t) => {
  const seen = await samples(start(t))
  for (const name of ['process_cpu_seconds_total', 'process_start_time_seconds', 'process_resident_memory_bytes', 'nodejs_heap_size_used_bytes']) {
    t.ok((seen.get(name) ?? 0) > 0, name)
  }
  t.ok(seen.has('nodejs_eventloop_lag_p99_seconds'))
  t.ok(seen.has('nodejs_eventloop_utilization_ratio'))
})

t.test('its own metrics are called gatewarden_…, and each has its help and type', async (t) => {
  const { body, contentType } = await start(t).render()
  t.equal(contentType, 'text/plain; version=0.0.4; charset=utf-8')
  const names = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name)
  t.ok(names.every((name) => /^(gatewarden|process|nodejs)_/.test(name)))
  t.strictSame(names, [...body.matchAll(/^# HELP (\S+) \S/gm)].map(([, name = '']) => name))
})

t.test('two gateways in one process count apart', async (t) => {
  const [one, other] = [start(t), start(t)]
  one.route('/api').observe(200, 0)
  t.equal((await samples(other)).get('gatewarden_requests_total{route="/api",status="2xx"}'), undefined)
})
