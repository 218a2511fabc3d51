/** What the documents say holds: what is generated is current, their YAML loads, their links and commands lead somewhere. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { createLoader, routes } from './config/load-text.ts'

const root = resolve(import.meta.dirname, '..')
const documents = [root, ...['docs', 'docs/decisions', 'k8s', 'bench', 'examples'].map((folder) => join(root, folder))]
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder).filter((file) => file.endsWith('.md')).map((file) => join(folder, file)))
  .map((file) => ({ file, name: relative(root, file), text: readFileSync(file, 'utf8') }))

t.test('the configuration reference, the error list and the JSON Schema are what the source says', async (t) => {
  await t.resolves(promisify(execFile)(process.execPath, ['--import', 'tsx', 'scripts/docs.ts', '--check'], { cwd: root }))
})

t.test('every YAML block loads, a fragment with the one key that has no default added', async (t) => {
  const { faults } = createLoader(t)
  let blocks = 0
  for (const { name, text } of documents) {
    for (const [, yaml = ''] of text.matchAll(/^```yaml\n(.*?)^```/gms)) {
      const keys = Object.keys(parse(yaml) as object)
      if (keys.includes('apiVersion') || keys.includes('kind')) continue
      blocks++
      const environment = Object.fromEntries([...yaml.matchAll(/\$\{(\w+)\}/g)].map(([, variable = '']) => [variable, 'a-secret-of-at-least-32-random-bytes']))
      // The files that an example names are the reader's.
      const found = faults(keys.includes('routes') ? yaml : `${yaml}\n${routes}`, environment).filter((fault) => !fault.includes('there is no such file'))
      t.strictSame(found, [], `${name}: ${keys.join(', ')}`)
    }
  }
  t.ok(blocks > 0, `${blocks} blocks`)
})

t.test('every relative link leads to a file', async (t) => {
  for (const { file, name, text } of documents) {
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:|^#/.test(link)) continue
      t.ok(existsSync(resolve(dirname(file), link.replace(/#.*/, ''))), `${name}: ${link}`)
    }
  }
})

t.test('every npm script that is named exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  for (const { name, text } of documents) {
    for (const [, script = ''] of text.matchAll(/npm run ([\w:-]+)/g)) t.ok(script in scripts, `${name}: ${script}`)
  }
})
