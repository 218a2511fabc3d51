/** A rule that names methods is met by the method of the request line alone: no header, no spelling, no form changes it. */
import { METHODS } from 'node:http'
import { both, nothingOf, refusedAs, served, type AttackClass, type Judge } from './attack.ts'
import type { AimedRoute } from './range.ts'
import { bearer, requestText } from './request-text.ts'
import { routesAt } from './routes-of-host.ts'

export const methods: AttackClass = {
  name: 'methods',
  claim: 'a route is reached by the methods that it names, and the upstream is told of no other',
  async run (range, score) {
    const { marker } = range
    for (const route of range.routes) {
      const caller = route.isPublic ? [] : [bearer(range.tokenFor(route))]
      const { method, path, host } = route
      await score.control(`${route.name}: ${method}`, requestText({ method, target: path, host, lines: caller }), served(route.upstreamPath(path)))
      for (const other of ['TRACE', 'TRACK', 'CONNECT', ...notTaken(route, range.routes)]) {
        await score.attack(`${route.name}: ${other}`, requestText({ method: other, target: path, host, lines: [...caller, 'Content-Length: 0'] }), refusedAs(400, 405))
      }
      for (const other of ['DELETE', 'PUT', 'POST', 'GET', 'TRACE', marker]) {
        for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'x_http_method_override', 'X.HTTP.Method.Override', 'HTTP_X_HTTP_METHOD_OVERRIDE']) {
          await score.attack(`${route.name}: ${name}: ${other}`, requestText({ method, target: path, host, lines: [...caller, `${name}: ${other}`] }), both(nothingOf(marker), sameMethod(method), noOverride))
        }
        await score.attack(`${route.name}: _method=${other}`, requestText({ method, target: `${path}?_method=${other}`, host, lines: caller }), sameMethod(method))
      }
      for (const spelling of [method.toLowerCase(), ` ${method}`, `${method}\t`, `${method}\u0000`, `\r\n${method}x`, `${method}/`, `X${method}`]) {
        await score.attack(`${route.name}: ${JSON.stringify(spelling)}`, requestText({ method: spelling, target: path, host, lines: caller }), refusedAs(400, 405, 0))
      }
    }
  },
}

/** Methods that no route of the path takes. */
function notTaken ({ config: { path }, host }: AimedRoute, routes: readonly AimedRoute[]): string[] {
  const here = routesAt(routes, host, path).map(({ config }) => config.methods)
  if (here.includes(undefined)) return []
  const taken = new Set(here.flatMap((names) => names ?? []))
  if (taken.has('GET')) taken.add('HEAD')
  return METHODS.filter((method) => !taken.has(method) && method !== 'CONNECT' && method !== 'TRACE')
}

function sameMethod (method: string): Judge {
  return ({ seen }) => seen.every((one) => one.method === method) ? null : `the upstream saw ${seen.map((one) => one.method).join(', ')}`
}

const noOverride: Judge = ({ seen }) => seen.flatMap(({ headers }) => headers).some(([name]) => /method/i.test(name)) ? 'the upstream saw an override' : null
