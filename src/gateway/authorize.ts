/** 3  may they?   the route's rule over request.identity → on, or 403. */
import type { onRequestHookHandler } from 'fastify'
import { Refusal } from '../errors.ts'

export const authorize: onRequestHookHandler = function authorize (request, _reply, done) {
  const { identity, route } = request
  if (identity !== null && route?.access.allows(identity) !== true) {
    throw new Refusal('GW_ACCESS_DENIED', {
      reason: `needs ${route?.access.description ?? 'a route'}`,
      ...(route === null || route.access.scope === null ? {} : { scope: route.access.scope }),
    })
  }
  done()
}
