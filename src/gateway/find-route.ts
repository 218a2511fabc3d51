/** 1  where does it lead?   method, target and Host through the route table → request.route, or 400, 404, 405. */
import type { onRequestHookHandler } from 'fastify'
import { Refusal } from '../errors.ts'
import type { Route, RouteTable } from '../routes/compile.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Filled by findRoute(), also where the route then refuses; absent on the gateway's own endpoints. */
    route: Route | null
  }
}

export function findRoute (table: RouteTable): onRequestHookHandler {
  return function findRoute (request, _reply, done) {
    const { method = '', url = '', headers } = request.raw
    const found = table.find(method, url, headers.host)
    request.route = found.route
    if (found.kind === 'route') {
      done()
      return
    }
    if (found.kind === 'ambiguous') throw new Refusal('GW_PATH_AMBIGUOUS', { reason: found.reason })
    if (found.kind === 'other methods') throw new Refusal('GW_METHOD_NOT_ALLOWED', { allow: found.allow })
    throw new Refusal('GW_ROUTE_NOT_FOUND')
  }
}
