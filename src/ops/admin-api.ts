/** Health and metrics on their own port; what is healthy is decided by the checks that it is handed. */
import type { FastifyPluginAsync } from 'fastify'
import type { Metrics } from './metrics.ts'

export interface AdminApiOptions {
  /** By name: throws or rejects while the gateway should get no requests; 'degraded' is said, and no reason to stay away. */
  readonly checks: Readonly<Record<string, Check>>
  /** Longest wait for one check, in milliseconds. */
  readonly checkTimeout?: number
  readonly metrics: Pick<Metrics, 'render'>
}

type Check = () => Promise<void> | 'degraded' | void
type Outcome = 'ok' | 'degraded' | 'failed' | 'timeout'

/** For a Fastify app of its own that has the error handler: everything else is its 404. */
export const adminApi: FastifyPluginAsync<AdminApiOptions> = async (app, { checks, checkTimeout = 1000, metrics }) => {
  const probes = Object.entries(checks).map(([name, check]) => ({ name, probe: singleFlight(check, checkTimeout) }))
  let wasReady: boolean | null = null

  app.addHook('onRequest', function ownHeaders (request, reply, next) {
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': request.id })
    next()
  })

  // Whether the process should be restarted. Nothing that a restart cannot mend belongs here: not the storage, not a drain.
  app.get('/livez', { exposeHeadRoute: true }, async () => ({ status: 'alive' }))

  app.get('/readyz', { exposeHeadRoute: true }, async (_request, reply) => {
    const outcomes = await Promise.all(probes.map(async ({ name, probe }) => [name, await probe()] as const))
    const ready = outcomes.every(([, outcome]) => outcome === 'ok' || outcome === 'degraded')
    const answer = { status: ready ? 'ready' : 'unready', checks: Object.fromEntries(outcomes) }
    // A probe every few seconds would fill the log: only a change is news.
    if (ready !== wasReady) app.log[ready ? 'info' : 'warn'](answer.checks, ready ? 'ready' : 'not ready')
    wasReady = ready
    return await reply.code(ready ? 200 : 503).send(answer)
  })

  app.get('/metrics', { exposeHeadRoute: true }, async (_request, reply) => {
    const { contentType, body } = await metrics.render()
    return await reply.type(contentType).send(body)
  })
}

/** A storage that hangs is asked once, not again by each probe that comes while it does. */
function singleFlight (check: Check, timeout: number): () => Promise<Outcome> {
  let underWay: Promise<Outcome> | null = null
  return async () => {
    underWay ??= outcomeOf(check).finally(() => { underWay = null })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Outcome>((resolve) => { timer = setTimeout(resolve, timeout, 'timeout') })
    try {
      return await Promise.race([underWay, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

async function outcomeOf (check: Check): Promise<Outcome> {
  try {
    return await check() ?? 'ok'
  } catch {
    return 'failed'
  }
}
