import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { watchFiles } from '../../src/config/watch.ts'
import { within } from '../helpers/within.ts'

/** Milliseconds: watchFiles looks every second by itself. */
const look = 20

function start (t: Test, files: readonly string[]) {
  let changes = 0
  let told: () => void = () => {}
  const watch = watchFiles(files, () => { changes++; told() }, look)
  t.teardown(watch.close)
  return {
    watch,
    changes: () => changes,
    next: async () => { await within(5_000, new Promise<void>((resolve) => { told = resolve })) },
  }
}

t.test('a ConfigMap that is swapped as Kubernetes does it is seen each time', async (t) => {
  const volume = t.testdir({})
  // The file is a link into ..data, and that is a link to a folder with a time for a name: renamed over, the old one removed.
  const swap = (version: string) => {
    mkdirSync(join(volume, `..${version}`))
    writeFileSync(join(volume, `..${version}`, 'config.yaml'), `audience: ${version}`)
    symlinkSync(`..${version}`, join(volume, '..data_tmp'))
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
  }
  swap('first')
  symlinkSync('..data/config.yaml', join(volume, 'config.yaml'))
  const { changes, next } = start(t, [join(volume, 'config.yaml')])
  let before = 'first'
  for (const version of ['second', 'third', 'fourth']) {
    const seen = next()
    swap(version)
    rmSync(join(volume, `..${before}`), { recursive: true })
    await seen
    t.equal(readFileSync(join(volume, 'config.yaml'), 'utf8'), `audience: ${version}`)
    before = version
  }
  t.equal(changes(), 3)
})

t.test('a file written over, replaced, removed and back again is seen; one only touched is not', async (t) => {
  const folder = t.testdir({ 'config.yaml': 'one', 'secret': 'x' })
  const file = join(folder, 'config.yaml')
  const { changes, next } = start(t, [file, join(folder, 'secret')])
  const changed = async (change: () => void) => {
    const seen = next()
    change()
    await seen
  }
  await changed(() => { writeFileSync(file, 'two') })
  await changed(() => { writeFileSync(`${file}.new`, 'six'); renameSync(`${file}.new`, file) })
  await changed(() => { writeFileSync(join(folder, 'secret'), 'y') })
  await changed(() => { unlinkSync(file) })
  await changed(() => { writeFileSync(file, 'six') })
  t.equal(changes(), 5)
  writeFileSync(file, 'six')
  await pause(look * 5)
  t.equal(changes(), 5)
})

t.test('a file that is still being written is waited for', async (t) => {
  const file = join(t.testdir({ 'config.yaml': 'one' }), 'config.yaml')
  let seen = ''
  const watch = watchFiles([file], () => { seen = readFileSync(file, 'utf8') }, 40)
  t.teardown(watch.close)
  let text = ''
  for (let part = 0; part < 15; part++) {
    text += `part ${part}\n`
    writeFileSync(file, text)
    await pause(10)
  }
  t.equal(seen, '', 'as long as it changes from look to look')
  await pause(200)
  t.equal(seen, text)
})

t.test('follows other files from then on, and none once closed', async (t) => {
  const folder = t.testdir({ one: '1', two: '2' })
  const { watch, changes, next } = start(t, [join(folder, 'one')])
  watch.follow([join(folder, 'two')])
  writeFileSync(join(folder, 'one'), 'x')
  await pause(look * 5)
  t.equal(changes(), 0)
  const seen = next()
  writeFileSync(join(folder, 'two'), 'x')
  await seen
  watch.close()
  writeFileSync(join(folder, 'two'), 'y')
  await pause(look * 5)
  t.equal(changes(), 1)
})
