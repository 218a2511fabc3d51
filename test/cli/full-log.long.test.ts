/** Standard output leads to a full disk: lines of the log are lost, and neither the process nor a request is. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ask, soon } from '../e2e/gateway-client.ts'
import { freePort } from '../helpers/free-port.ts'
import { mountSmallDisk } from '../helpers/small-disk.ts'
import { cliFile } from './built-cli.ts'
import { configFolder } from './running-cli.ts'

const isNotice = (line: string) => line.includes('lines of the log are lost')

/** Both streams into `file`; ready when it answers. */
async function startInto (t: Test, file: string) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const folder = configFolder(t, { listen: { port }, admin: { port: adminPort }, log: { access: true } })
  const handle = openSync(file, 'a')
  const child = spawn(process.execPath, [cliFile, 'start'], { cwd: folder, stdio: ['ignore', handle, handle] })
  closeSync(handle)
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const alive = async () => (await ask(`http://127.0.0.1:${adminPort}/livez`).catch(() => ({ status: 0 }))).status
  t.equal(await soon(20_000, alive, (status) => status === 200), 200)
  return { child, exited, refused: async () => (await ask(`http://127.0.0.1:${port}/api`)).status }
}

t.test('a disk that is full from the start', async (t) => {
  if (process.platform !== 'linux') {
    t.comment('NOT RUN: a log on a full disk, for there is no /dev/full')
    t.pass('NOT RUN: a log on a full disk (no /dev/full)')
    return
  }
  const { child, exited, refused } = await startInto(t, '/dev/full')
  for (let number = 0; number < 20; number++) t.equal(await refused(), 401)
  child.kill('SIGTERM')
  t.equal(await exited, 0, 'and it ends as it should')
})

t.test('a disk that fills up and has room again: the log goes on, and says how much is missing', async (t) => {
  const disk = mountSmallDisk(t, '1m')
  if (disk === null) {
    t.comment('NOT RUN: a log on a disk that has room again, for nobody may mount a file system here')
    t.pass('NOT RUN: a log on a disk that has room again (nobody may mount a file system here)')
    return
  }
  const file = join(disk.folder, 'gatewarden.log')
  const { refused } = await startInto(t, file)
  disk.fill()
  for (let number = 0; number < 600; number++) if (await refused() !== 401) t.fail('not answered')
  disk.empty()
  t.equal(await refused(), 401)
  const lines = async () => readFileSync(file, 'utf8').split('\n')
  t.ok((await soon(5_000, lines, (all) => all.some(isNotice))).some(isNotice))
  const parsed = (await lines()).filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>)
  const missing = parsed.find(({ msg }) => isNotice(String(msg)))
  t.match(missing, { level: 'warn', lines: Number })
  t.equal(parsed.filter(({ code }) => code === 'GW_TOKEN_MISSING').length + Number(missing?.['lines']), 601, 'each line is there or counted')
})
