/**
 * What can happen to the file of a running gateway: each time verified requests go on, logins and refreshes
 * answer 503 with Retry-After, no token is lost, and all of it heals without a restart. docs/operations.md tells it to operators.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startCli, type Running } from '../cli/running-cli.ts'
import { mountSmallDisk } from '../helpers/small-disk.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { openSqlite } from '../../src/storage/sqlite-driver.ts'
import { logIn, ready, refresh, soon, tokensOf, useAllAlong } from './gateway-client.ts'
import { folderWithAlice, notRun } from './sqlite-fault-rig.ts'

const upstream = await startUpstream((_request, response) => { response.end() })
t.teardown(() => upstream.close())

const refused = { status: 503, body: { error: 'unavailable', code: 'GW_UNAVAILABLE' }, retryAfter: /^\d+$/ }

/** While nothing can be written: what is answered, that nothing is lost by it, and that it heals. */
async function cannotWrite (t: Test, running: Running, { begin, end }: { readonly begin: () => void, readonly end: () => void }): Promise<void> {
  const before = await tokensOf(running)
  const traffic = useAllAlong(running, before.access_token)
  begin()
  t.match(await soon(3_000, async () => await refresh(running, before.refresh_token), ({ status }) => status === 503), refused)
  t.match(await logIn(running), refused)
  t.match(await refresh(running, before.refresh_token), refused, 'and again')
  t.match(await ready(running), { status: 503, body: { checks: { storage: 'failed', keys: 'ok' } } })
  await traffic.another(3)
  end()
  // With no grace window: had one of those that failed been written after all, this would be reuse.
  t.match(await refresh(running, before.refresh_token), { status: 200 }, 'the token that was answered 503 is as good as before')
  t.match(await logIn(running), { status: 200 })
  t.equal((await ready(running)).status, 200)
  const { others, count } = await traffic.stop()
  t.strictSame(others, [], `${count} verified requests went on`)
}

t.test('the disk is full, and has room again', async (t) => {
  const disk = mountSmallDisk(t, '2m')
  if (disk === null) {
    notRun(t, 'a full disk', 'nobody may mount a file system here')
    return
  }
  const running = await startCli(t, await folderWithAlice(t, { upstream: upstream.url, storage: `${disk.folder}/gatewarden.db` }))
  await cannotWrite(t, running, { begin: disk.fill, end: disk.empty })
  running.child.kill('SIGTERM')
  t.equal(await running.exited, 0)
})

t.test('every write is refused, as by a file system that turned read-only, and allowed again', async (t) => {
  if (process.platform !== 'linux') {
    notRun(t, 'writes that are refused', 'only Linux sets limits to a running process')
    return
  }
  const running = await startCli(t, await folderWithAlice(t, { upstream: upstream.url }))
  // Of the running process. Sockets and pipes have no such limit; to SQLite the write fails as on a read-only file system.
  const limit = (bytes: string) => { execFileSync('prlimit', [`--pid=${running.child.pid}`, `--fsize=${bytes}:`]) }
  await cannotWrite(t, running, { begin: () => { limit('0') }, end: () => { limit('unlimited') } })
})

t.test('another process holds the lock for long: who reads goes on, who writes is answered in bounded time', async (t) => {
  const folder = await folderWithAlice(t, { upstream: upstream.url })
  const running = await startCli(t, folder)
  const before = await tokensOf(running)
  const traffic = useAllAlong(running, before.access_token)
  const other = openSqlite(join(folder, 'data/gatewarden.db'))
  t.teardown(() => { other.close() })
  other.exec('BEGIN IMMEDIATE')
  const answers = await Promise.all([...Array.from({ length: 100 }, async () => await logIn(running)), refresh(running, before.refresh_token)])
  for (const answer of answers) {
    if (answer.status !== 503 || answer.retryAfter === null || answer.milliseconds > 12_000) t.fail(`${answer.status} after ${answer.milliseconds} ms`)
  }
  other.exec('COMMIT')
  t.match(await refresh(running, before.refresh_token), { status: 200 })
  t.match(await logIn(running), { status: 200 })
  t.strictSame((await traffic.stop()).others, [])
})

t.test('the file is deleted or replaced while it is open: nothing is answered as done that the next start would not know', async (t) => {
  const folder = await folderWithAlice(t, { upstream: upstream.url })
  const file = join(folder, 'data/gatewarden.db')
  const running = await startCli(t, folder)
  const away = `${file}.away`
  await cannotWrite(t, running, { begin: () => { renameSync(file, away) }, end: () => { renameSync(away, file) } })
  const replaced = () => {
    renameSync(file, away)
    copyFileSync(away, file)
  }
  await cannotWrite(t, running, { begin: replaced, end: () => { renameSync(away, file) } })
  t.match(await running.line(({ cause }) => JSON.stringify(cause ?? '').includes('replaced while it was open')), { level: 'error', reason: 'storage' })
})
