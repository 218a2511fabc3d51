/**
 * Fastify's `host` constraint, read as the routes read it: Fastify's own compares the header letter for letter, so that
 * `GOOD.test`, `good.test:80` and `good.test.` would fall through to the routes without hosts.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { FastifyRouterOptions } from 'fastify'
import type { RouteTable } from '../routes/compile.ts'

type Strategy = NonNullable<FastifyRouterOptions<Server>['constraints']>[string]
type Storage = ReturnType<Strategy['storage']>

export function hostConstraint ({ hostGroup }: Pick<RouteTable, 'hostGroup'>): Strategy {
  return {
    name: 'host',
    storage () {
      const handlers = new Map<unknown, Parameters<Storage['set']>[1]>()
      return {
        get: (group) => handlers.get(group) ?? null,
        set: (group, handler) => { handlers.set(group, handler) },
      }
    },
    validate () {},
    // Before admission: what is no valid Host comes to nothing that is configured, and is refused there.
    deriveConstraint: (request: IncomingMessage) => hostGroup(request.headers.host ?? '') ?? '',
    mustMatchWhenDerived: false,
  }
}
