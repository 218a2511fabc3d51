/**
 * How the bundle gets Node's own modules (docs/decisions/0020): what it asks for and no more, by `process.getBuiltinModule`. An `import` of
 * one reads every property of it, those too that load what they stand for when they are read: in Node 22 and 24 `node:http` has such
 * ones for the WebSocket of Node's own undici, which takes 14 MB and a sixth of a start.
 */
import { createRequire, isBuiltin } from 'node:module'
import type { Plugin } from 'esbuild'

/**
 * Loaded when something of it is called, or read by a package: 2 to 12 MB, and milliseconds of a start. The source may import their
 * functions, no more; where it imports something else the build fails. No module whose functions keep something in `this` may be here.
 */
const onDemand: readonly string[] = ['http2', 'https', 'readline', 'tls']

export const leanBuiltinsPlugin: Plugin = {
  name: 'lean builtins',
  setup ({ onResolve, onLoad }) {
    const [imported, required] = ['lean-builtin', 'lean-builtin by require']
    onResolve({ filter: /^[a-z][\w:/]*$/ }, ({ path, kind }) => {
      if (!isBuiltin(path)) return undefined
      if (kind === 'import-statement') return { path: withoutScheme(path), namespace: imported }
      return kind === 'require-call' ? { path: withoutScheme(path), namespace: required } : undefined
    })
    onLoad({ filter: /./, namespace: imported }, ({ path }) => ({ contents: moduleOf(path) }))
    onLoad({ filter: /./, namespace: required }, ({ path }) => ({ contents: `module.exports = ${objectOf(path)}` }))
  },
}

function withoutScheme (path: string): string {
  return path.replace(/^node:/, '')
}

function moduleOf (path: string): string {
  const found = createRequire(import.meta.url)(`node:${path}`) as Readonly<Record<string, unknown>>
  const names = Object.keys(found).filter((name) => /^[a-z_$][\w$]*$/i.test(name) && name !== 'default')
  const isLazy = onDemand.includes(path)
  return [
    `const builtin = /* @__PURE__ */ ${objectOf(path)}`,
    'export default builtin',
    // What nothing imports is never read: a call that is marked as pure is left out of the bundle then.
    'const property = (name) => builtin[name]',
    'const callOf = (name) => (...args) => builtin[name](...args)',
    ...names.filter((name) => !isLazy || typeof found[name] === 'function')
      .map((name) => `export const ${name} = /* @__PURE__ */ ${isLazy ? 'callOf' : 'property'}('${name}')`),
  ].join('\n')
}

function objectOf (path: string): string {
  const load = `process.getBuiltinModule('node:${path}')`
  return onDemand.includes(path) ? `new Proxy({}, { get: (_, name) => ${load}[name] })` : load
}
