// Run on the later Nodes too: Node 20 gives back by itself what a start took, and would pass without the hint.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { configFolder, startCli } from './running-cli.ts'

t.test('the heap that the start took is given back while little is asked', async (t) => {
  const folder = configFolder(t)
  const told = join(folder, 'heap')
  writeFileSync(told, '')
  // Megabytes that V8 has for new objects. It gives them back when it collects to save memory, and at no other time.
  const tell = `
    const { getHeapSpaceStatistics } = process.getBuiltinModule('node:v8')
    const { writeFileSync } = process.getBuiltinModule('node:fs')
    setInterval(() => {
      const { physical_space_size: bytes } = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
      writeFileSync(${JSON.stringify(told)}, String(bytes / 2 ** 20))
    }, 1_000).unref()`
  const { url } = await startCli(t, folder, [], { nodeOptions: ['--import', `data:text/javascript,${encodeURIComponent(tell)}`] })
  const heap = () => Number(readFileSync(told, 'utf8') || Infinity)
  let most = 0
  // Some ten seconds, and as long as it takes on a busy machine; without the hint, hours.
  for (const until = performance.now() + 60_000; heap() > 2 && performance.now() < until;) {
    if (heap() < Infinity) most = Math.max(most, heap())
    await sleep(200)
  }
  t.ok(most > 4, `the start took ${most} MB`)
  t.ok(heap() <= 2, `${heap()} MB are left`)
  t.equal((await fetch(`${url}/api`)).status, 401)
})
