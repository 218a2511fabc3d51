/**
 * What the bundle takes of packages that load more than the gateway asks for (docs/decisions/0020). The source imports them
 * whole, and so does every test but those of the command line, which run the bundle.
 */
import type { Plugin } from 'esbuild'

/**
 * Package → the module that stands for it in the bundle: the parts that are asked for, or a word for what is never called. Where
 * the source imports from one of them what is not here, the build fails.
 */
const leanPackages: Readonly<Record<string, string>> = {
  // Agents and their pools; without fetch, WebSockets, caches and mocks, and without `Headers`, which would load Node's own undici.
  'undici': `
    import Dispatcher from 'undici/lib/dispatcher/dispatcher.js'
    import api from 'undici/lib/api/index.js'
    Object.assign(Dispatcher.prototype, api)
    export { default as Agent } from 'undici/lib/dispatcher/agent.js'`,
  // Without the default metrics, which ask for OpenTelemetry.
  'prom-client': `
    export { default as AggregatorRegistry } from 'prom-client/lib/cluster.js'
    export { default as Counter } from 'prom-client/lib/counter.js'
    export { default as Gauge } from 'prom-client/lib/gauge.js'
    export { default as Registry } from 'prom-client/lib/registry.js'`,
  // http-proxy has it mount `reply.from`, which is never called: forwarding is gateway/forward.ts.
  '@fastify/reply-from': 'module.exports = async () => {}',
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
