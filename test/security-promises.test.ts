/** SECURITY.md names tests beside its promises; each is there. And each attack in test/security tells its story at its head. */
import t from 'tap'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'

const root = new URL('../', import.meta.url)
const text = readFileSync(new URL('SECURITY.md', root), 'utf8')

/** Promise → the paths of its tests. A name without a folder is in that of the name before it. */
function promises (): { promise: string, tests: string[] }[] {
  const section = text.slice(text.indexOf('## What is promised'), text.indexOf('## Examples of vulnerabilities'))
  return section.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| promise ')).map((line) => {
    const [, promise = '', cell = ''] = line.split('|').map((part) => part.trim())
    let folder = ''
    const tests = [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => {
      if (name.endsWith('/')) return name
      if (name.includes('/')) folder = dirname(name)
      const path = name.includes('/') ? name : `${folder}/${name}`
      return existsSync(new URL(`${path}.long.test.ts`, root)) ? `${path}.long.test.ts` : `${path}.test.ts`
    })
    return { promise, tests }
  })
}

t.test('each promise has tests, and each of them is there', async (t) => {
  const rows = promises()
  t.ok(rows.length > 10)
  for (const { promise, tests } of rows) {
    t.not(tests.length, 0, promise)
    t.strictSame(tests.filter((path) => !existsSync(new URL(path, root))), [], promise)
  }
})

t.test('each attack tells its story', async (t) => {
  const folder = new URL('test/security/', root)
  const untold = readdirSync(folder).filter((file) => file.endsWith('.test.ts') && !readFileSync(new URL(file, folder), 'utf8').startsWith('/**'))
  t.strictSame(untold, [])
})
