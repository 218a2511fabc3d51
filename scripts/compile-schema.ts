/** The configuration's schema in the bundle: as JSON, and as the function that ajv makes of it, without ajv and typebox. */
import { _ } from 'ajv'
import standaloneCode from 'ajv/dist/standalone/index.js'
import type { Plugin } from 'esbuild'
import { compileSchema, createAjv } from '../src/config/schema-check.ts'
import * as schema from '../src/config/schema.ts'

export const compiledSchemaPlugin: Plugin = {
  name: 'compiled schema',
  setup ({ onLoad }) {
    onLoad({ filter: /\/src\/config\/schema\.ts$/ }, () => ({ contents: valuesOf(schema) }))
    onLoad({ filter: /\/src\/config\/schema-check\.ts$/ }, () => ({ contents: compiledCheck(), resolveDir: import.meta.dirname }))
  },
}

/** All that the module exports is JSON; its types are gone by then. */
function valuesOf (module: Readonly<Record<string, unknown>>): string {
  return Object.entries(module).map(([name, value]) => `export const ${name} = ${JSON.stringify(value)}`).join('\n')
}

function compiledCheck (): string {
  const ajv = createAjv({ source: true, esm: true, formats: _`matches` })
  // ajv exports it under the name of the schema: that of the module's one export.
  const code = standaloneCode.default(ajv, compileSchema(ajv))
  return `
    import { formats } from '../src/config/formats.ts'
    const matches = Object.fromEntries(Object.entries(formats).map(([name, format]) => [name, format.matches]))
    ${code.replace('export const validate =', 'export const check =')}`
}
