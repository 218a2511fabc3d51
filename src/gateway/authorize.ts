/** 2  may they?   the route's rule over request.identity → on, or 403. */
import type { onRequestHookHandler } from 'fastify'
import { Refusal } from '../errors.ts'
import type { Access } from '../routes/access.ts'

export function authorize (access: Access): onRequestHookHandler {
  return function authorize (request, _reply, done) {
    if (request.identity !== null && !access.allows(request.identity)) {
      throw new Refusal('GW_ACCESS_DENIED', {
        reason: `needs ${access.description}`,
        ...(access.scope === null ? {} : { scope: access.scope }),
      })
    }
    done()
  }
}
