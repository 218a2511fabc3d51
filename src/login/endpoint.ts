/** One path with all its methods: what is served, HEAD and OPTIONS, and 405 for the rest, so that none falls through to a route. */
import type { FastifyInstance, RouteHandlerMethod, onResponseHookHandler } from 'fastify'
import { Refusal } from '../errors.ts'

export type Handlers = Partial<Readonly<Record<'GET' | 'POST' | 'DELETE', RouteHandlerMethod>>>

/** Told of each answer of one path: made at boot, called for each request. */
export type Observe = (pattern: string) => (status: number, seconds: number) => void

export function endpoint (app: FastifyInstance, url: string, handlers: Handlers, observe: Observe): void {
  const served = Object.keys(handlers).flatMap((method) => method === 'GET' ? ['GET', 'HEAD'] : [method])
  const allow = [...served, 'OPTIONS'].join(', ')
  const observed = observe(url)
  const onResponse: onResponseHookHandler = function observeAnswer (_request, reply, done) {
    observed(reply.statusCode, reply.elapsedTime / 1000)
    done()
  }

  for (const [method, handler] of Object.entries(handlers)) {
    app.route({ method, url, handler, onResponse, exposeHeadRoute: method === 'GET' })
  }
  // Before the body: whatever it is, it is not looked at.
  app.route({
    method: app.supportedMethods.filter((method) => !served.includes(method)),
    url,
    onResponse,
    onRequest: function answerOtherMethods (request, reply) {
      if (request.method !== 'OPTIONS') throw new Refusal('GW_METHOD_NOT_ALLOWED', { allow })
      reply.code(204).header('allow', allow).send()
    },
    handler: unreached,
  })
}

const unreached: RouteHandlerMethod = async () => { throw new Refusal('GW_METHOD_NOT_ALLOWED') }
