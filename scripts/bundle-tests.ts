/**
 * .test-bundle/: every test file, with what it imports in shared chunks. A test spends more time on finding and reading 1,400
 * modules than on testing, and there are many. tap is in them, too.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { helperModules } from '../src/helper-module.ts'

const root = resolve(import.meta.dirname, '..')
const { devDependencies } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }

/** The test files, as paths under test/. */
export async function bundleTests (): Promise<string[]> {
  const all = readdirSync(resolve(root, 'test'), { recursive: true, encoding: 'utf8' })
  const tests = all.filter((file) => file.endsWith('.test.ts'))
  // What tests start as processes of their own.
  const processes = all.filter((file) => file.endsWith('.process.ts'))

  rmSync(resolve(root, '.test-bundle'), { recursive: true, force: true })
  await build({
    absWorkingDir: root,
    entryPoints: [
      ...[...tests, ...processes].map((file) => ({ in: `test/${file}`, out: file.slice(0, -'.ts'.length) })),
      ...helperModules.map((name) => ({ in: `src/${name}.ts`, out: name })),
    ],
    outdir: '.test-bundle',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    external: [...Object.keys(devDependencies).filter((name) => name !== 'tap'), '@node-rs/argon2', '@node-rs/bcrypt', '@photostructure/sqlite', 'pg-native'],
    banner: { js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);" },
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'warning',
    plugins: [{
      // Where a file looks for others, it looks from where it stands in the tree.
      name: 'import.meta of the source',
      setup ({ onLoad }) {
        onLoad({ filter: /\/(?:src|test|scripts|bench)\/[^/].*\.ts$/ }, async ({ path }) => {
          if (path.includes('/node_modules/')) return undefined
          const text = await readFile(path, 'utf8')
          return {
            loader: 'ts',
            contents: text
              .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)))
              .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path.endsWith('/src/helper-module.ts') ? resolve(root, '.test-bundle/helper-module.js') : path).href)),
          }
        })
      },
    }],
  })
  return tests
}

if (process.argv[1] === import.meta.filename) await bundleTests()
