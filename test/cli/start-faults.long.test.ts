import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { cli, configFolder, startCli } from './running-cli.ts'

t.test('a wrong configuration does not start: every fault in a line, exit 2', async (t) => {
  const { code, stdout, stderr } = await cli(t.testdir({ 'config.yaml': 'isuer: http://a\nroutes: []\n' }), ['start'])
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(stderr.trimEnd().split('\n'), [/^\.\/config\.yaml:1:1 .*issuer/, /^\.\/config\.yaml:2:9 routes/])
})

t.test('a port in use gives one clear line and exit 1, the public one and the admin one', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => { taken.once('listening', resolve) })
  t.teardown(() => { taken.close() })
  const { port } = taken.address() as AddressInfo
  for (const which of ['listen', 'admin']) {
    const { code, stderr } = await cli(configFolder(t, { [which]: { port } }), ['start'])
    t.equal(code, 1)
    t.match(stderr, new RegExp(`^error: .*:${port}.*in use.*\\n$`))
  }
})

t.test('a data folder that cannot be written gives one clear line and exit 1', async (t) => {
  // Not even root writes there.
  const { code, stderr } = await cli(configFolder(t, { storage: 'sqlite:/proc/gatewarden.db' }), ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: [^\n]*writ[^\n]*\n$/)
})

t.test('a data folder that cannot be made gives one clear line and exit 1', async (t) => {
  const folder = configFolder(t)
  writeFileSync(join(folder, 'data'), 'a file where the folder should be')
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: .*folder.*\n$/)
})

t.test('a damaged database gives one clear line and exit 1', async (t) => {
  const folder = configFolder(t)
  mkdirSync(join(folder, 'data'))
  writeFileSync(join(folder, 'data/gatewarden.db'), randomBytes(8192))
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: .*damaged.*\n$/)
})

t.test('a database whose pages are damaged gives one clear line too', async (t) => {
  const folder = configFolder(t)
  const running = await startCli(t, folder)
  running.child.kill('SIGTERM')
  await running.exited
  const file = join(folder, 'data/gatewarden.db')
  const size = statSync(file).size
  rmSync(`${file}-wal`, { force: true })
  const handle = openSync(file, 'r+')
  writeSync(handle, randomBytes(size - 100), 0, size - 100, 100)
  closeSync(handle)
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: [^\n]*damaged[^\n]*\n$/)
})

t.test('a master key that is not the one of the data gives one clear line and exit 1', async (t) => {
  const folder = configFolder(t)
  const first = await startCli(t, folder)
  first.child.kill('SIGTERM')
  await first.exited
  rmSync(join(folder, 'data/master.key'))
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: [^\n]*master key[^\n]*\n$/)
})
