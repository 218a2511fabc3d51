/** `workers: 2`: several processes that an outsider cannot tell from one. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { cli, configFolder, configText, password, startCli, type Running } from '../cli/running-cli.ts'
import { startUpstream } from '../helpers/upstream.ts'

t.test('login, logout, metrics, reload, the death of a worker and the drain are as of one process', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const config = { workers: 2, routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }] }
  const folder = configFolder(t, config)
  t.equal((await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)).code, 0)
  const running = await startCli(t, folder)
  t.equal(workersOf(running).length, 2)
  t.equal(running.log.filter(({ msg }) => msg === 'ready').length, 1, 'one line when all are ready')

  // Connections go round the workers: twenty new ones meet both.
  const token = await login(running)
  t.same(await statuses(running, token, 20), [200], 'a token of one is good for the other')
  const logout = await fetch(`${running.url}/auth/logout`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  t.equal(logout.status, 204)
  await t.resolves(within(1_000, async () => (await statuses(running, token, 20)).join() === '401'), 'a logout holds at both within a second')

  const metrics = await (await fetch(`${running.adminUrl}/metrics`)).text()
  const passed = Number(/^gatewarden_requests_total\{route="\/api",status="2xx"\} (\d+)$/m.exec(metrics)?.[1])
  t.equal(passed, 20, 'one scrape gives the whole')
  t.match(metrics, /^gatewarden_logins_total\{outcome="accepted"\} 1$/m)

  const kept = await login(running)
  const [victim = 0] = workersOf(running)
  process.kill(victim, 'SIGKILL')
  t.match(await running.line(({ msg }) => String(msg).startsWith('a worker has died')), { signal: 'SIGKILL' })
  t.same(await statuses(running, kept, 10), [200], 'the other goes on meanwhile, and no session is lost')
  await t.resolves(within(15_000, async () => workersOf(running).length === 2 && (await (await fetch(`${running.adminUrl}/readyz`)).json() as { status: string }).status === 'ready'), 'another takes its place')

  writeFileSync(join(folder, 'config.yaml'), configText({ ...config, routes: [{ path: '/new', upstream: upstream.url, access: 'authenticated' }] }))
  running.child.kill('SIGHUP')
  await running.line(({ msg }) => String(msg).startsWith('reloaded after'))
  t.same(await statuses(running, kept, 20, '/new/x'), [200], 'a reload reaches both, the replaced one too')

  running.child.kill('SIGTERM')
  t.equal(await running.exited, 0)
  t.same(workersOf(running), [], 'nobody is left behind')
})

t.test('a port in use is one clear line and exit 1', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const folder = configFolder(t, { workers: 2, listen: { port: (server.address() as AddressInfo).port } })
  const { code, stderr } = await cli(folder, ['start'])
  t.equal(code, 1)
  t.match(stderr, /^error: cannot listen on 127\.0\.0\.1:\d+: it is in use; [^\n]+\n$/)
})

t.test('workers end when the first process is killed', async (t) => {
  const running = await startCli(t, configFolder(t, { workers: 2 }))
  const workers = workersOf(running)
  t.equal(workers.length, 2)
  running.child.kill('SIGKILL')
  await t.resolves(within(10_000, async () => workers.every((pid) => !isAlive(pid))))
})

function workersOf ({ child }: Running): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(child.pid)], { encoding: 'utf8' }).trim().split('\n').map(Number)
  } catch {
    // None: pgrep ends with 1.
    return []
  }
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function login ({ url }: Running): Promise<string> {
  const response = await fetch(`${url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'alice', password }) })
  return (await response.json() as { access_token: string }).access_token
}

/** Which statuses there are, of so many requests, each on a connection of its own. */
async function statuses ({ url }: Running, token: string, count: number, path = '/api/x'): Promise<number[]> {
  const all = await Promise.all(Array.from({ length: count }, async () => {
    const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}`, connection: 'close' } })
    await response.arrayBuffer()
    return response.status
  }))
  return [...new Set(all)]
}

async function within (milliseconds: number, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + milliseconds
  while (!await holds()) {
    if (Date.now() > end) throw new Error(`not within ${milliseconds} ms`)
    await pause(20)
  }
}
