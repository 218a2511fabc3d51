/** The admin port: an application of its own on a socket of its own. */
import { createServer } from 'node:http'
import fastify, { LogController, type FastifyBaseLogger } from 'fastify'
import type { Config } from './config/schema.ts'
import { bind, type Address } from './listener.ts'
import { adminApi, type AdminApiOptions } from './ops/admin-api.ts'
import { createRefuse, errorHandler } from './ops/error-handler.ts'

export interface AdminServerOptions extends Pick<AdminApiOptions, 'checks' | 'metrics'> {
  readonly config: Pick<Config, 'issuer' | 'admin'>
  readonly log: FastifyBaseLogger
}

export interface AdminServer {
  readonly address: Address
  close (): Promise<void>
}

/** Throws a StartupFault when the port cannot be had. */
export async function openAdminServer ({ config, log, metrics, checks }: AdminServerOptions): Promise<AdminServer> {
  const refuse = createRefuse({ realm: config.issuer })
  const app = fastify({ loggerInstance: log, logController: new LogController({ disableRequestLogging: true }), frameworkErrors: refuse, exposeHeadRoutes: false })
  await app.register(errorHandler, { refuse })
  await app.register(adminApi, { metrics, checks })
  await app.ready()
  const server = createServer((request, response) => { app.routing(request, response) })
  const address = await bind(server, config.admin)
  return {
    address,
    async close () {
      server.close()
      server.closeAllConnections()
      await app.close()
    },
  }
}
