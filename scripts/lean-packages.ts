/**
 * What the bundle takes of packages that load more than the gateway asks for (docs/decisions/0018). The source imports them
 * whole, and so does every test but those of the command line, which run the bundle.
 */
import type { Plugin } from 'esbuild'

/** Package → the module that stands for it in the bundle: the parts that are asked for, or a word for what is never called. */
const leanPackages: Readonly<Record<string, string>> = {
  // Agents and their pools; without fetch, WebSockets, caches and mocks, and without `Headers`, which would load Node's own undici.
  'undici': `
    const Dispatcher = require('undici/lib/dispatcher/dispatcher')
    Object.assign(Dispatcher.prototype, require('undici/lib/api'))
    module.exports = {
      Dispatcher,
      Agent: require('undici/lib/dispatcher/agent'),
      Client: require('undici/lib/dispatcher/client'),
      Pool: require('undici/lib/dispatcher/pool'),
      buildConnector: require('undici/lib/core/connect'),
      errors: require('undici/lib/core/errors'),
    }`,
  // Without the default metrics, which ask for OpenTelemetry.
  'prom-client': `
    module.exports = {
      AggregatorRegistry: require('prom-client/lib/cluster'),
      Counter: require('prom-client/lib/counter'),
      Gauge: require('prom-client/lib/gauge'),
      Registry: require('prom-client/lib/registry'),
    }`,
  // http-proxy's WebSockets are not turned on: a handshake goes through gateway/websocket.ts.
  'ws': 'module.exports = class WebSocket {}',
  // app.inject() of tests.
  'light-my-request': notHere('app.inject()'),
  // No route has a schema: bodies are read by login/body.ts, or are the upstream's.
  '@fastify/ajv-compiler': `module.exports = () => () => { ${thrown('a validator of route schemas')} }`,
  '@fastify/fast-json-stringify-compiler': `module.exports = () => () => { ${thrown('a serializer of route schemas')} }`,
}

export const leanPackagesPlugin: Plugin = {
  name: 'lean packages',
  setup ({ onResolve, onLoad }) {
    const namespace = 'lean-package'
    onResolve({ filter: /^[@\w]/ }, ({ path }) => Object.hasOwn(leanPackages, path) ? { path, namespace } : undefined)
    onLoad({ filter: /./, namespace }, ({ path }) => ({ contents: leanPackages[path] ?? '', resolveDir: import.meta.dirname }))
  },
}

function notHere (what: string): string {
  return `module.exports = () => { ${thrown(what)} }`
}

function thrown (what: string): string {
  return `throw new Error(${JSON.stringify(`${what} is not part of the bundle (scripts/lean-packages.ts)`)})`
}
