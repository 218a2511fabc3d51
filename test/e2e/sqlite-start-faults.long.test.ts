/** What can have happened to the file that a gateway starts with. docs/operations.md tells it to operators. */
import { once } from 'node:events'
import { appendFileSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cli, startCli } from '../cli/running-cli.ts'
import { mountSmallDisk } from '../helpers/small-disk.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { logIn, refresh, tokensOf } from './gateway-client.ts'
import { folderWithAlice, notRun } from './sqlite-fault-rig.ts'

const upstream = await startUpstream((_request, response) => { response.end() })
t.teardown(() => upstream.close())

t.test('a log of commits with garbage at its end, or cut short, costs the last commit at most', async (t) => {
  for (const [what, harm] of Object.entries({
    'garbage': (log: string) => { appendFileSync(log, Buffer.alloc(10_000, 0xa5)) },
    'cut short': (log: string) => { truncateSync(log, statSync(log).size - 100) },
  })) {
    const folder = await folderWithAlice(t, { upstream: upstream.url })
    const first = await startCli(t, folder)
    const [kept, last] = [await tokensOf(first), await tokensOf(first)]
    first.child.kill('SIGKILL')
    await once(first.child, 'exit')
    harm(join(folder, 'data/gatewarden.db-wal'))
    const second = await startCli(t, folder)
    t.match(await refresh(second, kept.refresh_token), { status: 200 }, what)
    // Lost is the session of the last login, its row being in what was cut off: that client logs in anew.
    t.match(await refresh(second, last.refresh_token), { status: what === 'garbage' ? 200 : 401 }, what)
    t.match(await logIn(second), { status: 200 })
  }
})

t.test('a file that is damaged stops the start with a clear line, and is left as it was', async (t) => {
  const folder = await folderWithAlice(t, { upstream: upstream.url })
  const file = join(folder, 'data/gatewarden.db')
  truncateSync(file, statSync(file).size - 20_000)
  const before = readFileSync(file)
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: [^\n]*(?:damaged)[^\n]*\n$/)
  t.ok(readFileSync(file).equals(before), 'not a byte is changed')
})

t.test('a read-only file system stops the start with a clear line', async (t) => {
  const disk = mountSmallDisk(t, '2m')
  if (disk === null) {
    notRun(t, 'a start on a read-only file system', 'nobody may mount a file system here')
    return
  }
  const folder = await folderWithAlice(t, { upstream: upstream.url, storage: `${disk.folder}/gatewarden.db` })
  disk.setReadOnly(true)
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: the storage cannot be opened: [^\n]*must be writable[^\n]*\n$/)
  disk.setReadOnly(false)
  t.match(await logIn(await startCli(t, folder)), { status: 200 })
})

t.test('a disk that is full at the start gives a clear line; with room again it starts', async (t) => {
  const disk = mountSmallDisk(t, '2m')
  if (disk === null) {
    notRun(t, 'a start on a full disk', 'nobody may mount a file system here')
    return
  }
  const folder = await folderWithAlice(t, { upstream: upstream.url, storage: `${disk.folder}/gatewarden.db` })
  disk.fill()
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: [^\n]*(?:full|writable)[^\n]*\n$/)
  disk.empty()
  t.match(await logIn(await startCli(t, folder)), { status: 200 })
})
