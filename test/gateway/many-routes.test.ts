import t from 'tap'
import fastify from 'fastify'
import { gateway, supportAllMethods } from '../../src/gateway/gateway.ts'
import { hostConstraint } from '../../src/gateway/host-constraint.ts'
import { createLiveConnections } from '../../src/gateway/live-connections.ts'
import { compileTrustedProxies } from '../../src/gateway/trusted-proxies.ts'
import { openUpstreamPool } from '../../src/gateway/upstreams.ts'
import { compileRoutes } from '../../src/routes/compile.ts'
import { configOf } from '../login/config-of.ts'

t.test('while many routes are made, as a reload does beside the requests, those get their turn after each', async (t) => {
  const config = configOf({})
  const [route] = config.routes
  if (route === undefined) throw new Error('no route to make many of')
  const routes = Array.from({ length: 40 }, (_, number) => ({ ...route, path: `/api-${number}` }))
  const table = compileRoutes({ ...config, routes })
  const pool = openUpstreamPool({ connectTimeout: 1_000, maxHeaderSize: 16_384 })
  const app = fastify({ exposeHeadRoutes: false, routerOptions: { constraints: { host: hostConstraint(table) } } })
  t.teardown(async () => {
    await app.close()
    await pool.close()
  })
  supportAllMethods(app)

  let turns = 0
  let isReady = false
  setImmediate(function count () {
    turns++
    if (!isReady) setImmediate(count)
  })
  await app.register(gateway, {
    table,
    pool,
    verify: () => { throw new Error('no token comes') },
    live: createLiveConnections({ now: () => 0, isEnded: () => false }),
    trustedProxies: compileTrustedProxies([]),
    reservedPrefixes: [],
    observe: () => ({ answered () {}, faulted () {} }),
    timeouts: config.timeouts,
    bodyRate: config.limits.bodyRate,
  })
  isReady = true
  t.ok(turns >= routes.length, `${turns} turns`)
  t.equal((await app.inject('/elsewhere')).statusCode, 404)
})
