import { pathToFileURL } from 'node:url'
import { join, resolve } from 'node:path'
import type { ValidateFunction } from 'ajv'
import { build } from 'esbuild'
import t from 'tap'
import { compiledSchemaPlugin } from '../../scripts/compile-schema.ts'
import { check } from '../../src/config/schema-check.ts'
import { configSchema } from '../../src/config/schema.ts'

const route = { path: '/', upstream: 'http://127.0.0.1:3000', access: 'public' }

t.test('what the bundle checks by, compiled, finds the same faults and fills in the same defaults', async (t) => {
  const outfile = join(t.testdir(), 'schema-check.cjs')
  const root = resolve(import.meta.dirname, '../..')
  const { metafile } = await build({
    stdin: { contents: "export * from './src/config/schema-check.ts'; export * from './src/config/schema.ts'", resolveDir: root },
    outfile, absWorkingDir: root, bundle: true, format: 'cjs', platform: 'node', metafile: true, plugins: [compiledSchemaPlugin],
  })
  const compiled = await import(pathToFileURL(outfile).href) as { readonly check: ValidateFunction, readonly configSchema: unknown }
  t.strictSame(compiled.configSchema, JSON.parse(JSON.stringify(configSchema)))
  t.strictSame(Object.keys(metafile.inputs).filter((file) => /typebox|ajv\/dist\/(?:ajv|core|compile)/.test(file)), [])

  const values: unknown[] = [
    { routes: [route] },
    { routes: [{ ...route, timeout: '5 min', access: { roles: [] } }, { ...route, access: {} }, { ...route, access: 'publc' }], lisen: 1 },
    { listen: { port: 65536, host: '' }, log: { level: 'inffo', access: 1 }, workers: 1.5, limits: 5, trustedProxies: ['10.0.0.0/33'] },
    { identity: { headers: { X_User: 'sub', X: '' } }, credentials: [{ type: 'htpaswd' }, { type: 'http', url: 'ftp://x' }, { type: 'sql' }], routes: [] },
    { trustedIssuers: [{ name: 'a b', issuer: 'x', audience: 5, algorithms: ['none'] }], clients: [{ id: '', secret: 'short' }], routes: [{ ...route, upstream: [] }] },
    [], null, 'text',
  ]
  let found = 0
  for (const value of values) {
    const [ours, theirs] = [structuredClone(value), structuredClone(value)]
    t.equal(compiled.check(theirs), check(ours))
    t.strictSame(plain(compiled.check.errors), plain(check.errors))
    t.strictSame(theirs, ours)
    found += check.errors?.length ?? 0
  }
  t.ok(found > 30, 'there was something to find')
})

/** What typebox hides in its schemas is nobody's matter. */
function plain (errors: ValidateFunction['errors']): unknown {
  return JSON.parse(JSON.stringify(errors ?? null))
}
