import t, { type Test } from 'tap'
import fastify from 'fastify'
import { gateway, supportAllMethods } from '../../src/gateway/gateway.ts'
import { createLiveConnections } from '../../src/gateway/live-connections.ts'
import { compileTrustedProxies } from '../../src/gateway/trusted-proxies.ts'
import { openUpstreamPool } from '../../src/gateway/upstreams.ts'
import { compileRoutes } from '../../src/routes/compile.ts'
import { configOf } from '../login/config-of.ts'

t.test('a thousand routes are as many to the router as one: a start or a reload does not wait for them', async (t) => {
  t.equal(await entriesOf(t, 1_000), await entriesOf(t, 1))
})

async function entriesOf (t: Test, count: number): Promise<number> {
  const config = configOf({})
  const [route] = config.routes
  if (route === undefined) throw new Error('no route to make many of')
  const routes = Array.from({ length: count }, (_, number) => ({ ...route, path: `/api-${number}` }))
  const pool = openUpstreamPool({ connectTimeout: 1_000, maxHeaderSize: 16_384 })
  const app = fastify({ exposeHeadRoutes: false })
  t.teardown(async () => {
    await app.close()
    await pool.close()
  })
  supportAllMethods(app)
  let entries = 0
  app.addHook('onRoute', () => { entries++ })
  await app.register(gateway, {
    table: compileRoutes({ ...config, routes }),
    pool,
    verify: () => { throw new Error('no token comes') },
    live: createLiveConnections({ now: () => 0, isEnded: () => false }),
    trustedProxies: compileTrustedProxies([]),
    reservedPrefixes: [],
    observe: () => ({ answered () {}, faulted () {} }),
    timeouts: config.timeouts,
    bodyRate: config.limits.bodyRate,
  })
  const statusOf = async (url: string) => (await app.inject(url)).statusCode
  t.strictSame([await statusOf('/elsewhere'), await statusOf(`/api-${count - 1}/x`)], [404, 401])
  return entries
}
