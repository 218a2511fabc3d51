/** dist/: src/ and what it depends on, in a few files. Node spends most of a start on finding and reading 1,400 of them. */
import { rmSync } from 'node:fs'
import { resolve } from 'node:path'
import { build } from 'esbuild'
import { helperModules } from '../src/helper-module.ts'
import { compiledSchemaPlugin } from './compile-schema.ts'
import { leanBuiltinsPlugin } from './lean-builtins.ts'
import { leanPackagesPlugin } from './lean-packages.ts'

const root = resolve(import.meta.dirname, '..')
for (const before of ['dist/cli', 'dist/cli.js', 'dist/cli.js.map']) rmSync(resolve(root, before), { recursive: true, force: true })

await build({
  absWorkingDir: root,
  entryPoints: [
    { in: 'src/cli.ts', out: 'cli' },
    // Threads and processes of their own, looked for beside the chunk that starts them.
    ...helperModules.map((name) => ({ in: `src/${name}.ts`, out: `cli/${name}` })),
  ],
  outdir: 'dist',
  // As deep as src/cli/: what looks for a file of the project from there finds it from here too.
  chunkNames: 'cli/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // Binaries, and what pg asks for and does without.
  external: ['@node-rs/argon2', '@node-rs/bcrypt', '@photostructure/sqlite', 'pg-native'],
  sourcemap: true,
  sourcesContent: false,
  // Node reads all of it at each start; names stay, for stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  // Beside the code, not in it.
  legalComments: 'external',
  plugins: [leanBuiltinsPlugin, leanPackagesPlugin, compiledSchemaPlugin],
  logLevel: 'warning',
})
