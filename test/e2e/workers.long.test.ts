/** `workers: 2`: several processes that an outsider cannot tell from one. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { projectRoot } from '../cli/built-cli.ts'
import { cli, configFolder, configText, password, startCli, type Running } from '../cli/running-cli.ts'
import { freePort } from '../helpers/free-port.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { processOf } from './remembering-client.ts'
import { isDeath, lines, workersOf } from './worker-processes.ts'

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

t.test('workers that die before they serve: the others go on, and each is replaced once, after longer and longer', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  // A free port would be another one after a time without any worker.
  const port = await freePort()
  const folder = configFolder(t, { workers: 2, listen: { port }, routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }] })
  t.equal((await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)).code, 0)
  const { die, born, launched } = deaths(folder)

  die(2)
  const running = await startCli(t, folder, [], launched)
  const { log } = running
  const deadBeforeReady = log.filter(isUnborn)
  t.equal(deadBeforeReady.length, 2, 'a start outlives deaths')
  t.match(deadBeforeReady, [{ err: { message: 'ended by SIGKILL' } }, { err: { message: 'ended by SIGKILL' } }])
  const token = await login(running)

  die(1_000)
  const [one = 0, other = 0] = workersOf(running)
  process.kill(one, 'SIGKILL')
  const [died] = await lines(running, isDeath, 1)
  const failed = (await lines(running, isUnborn, 2 + 4)).slice(2)
  t.same(await statuses(running, token, 10), [200], 'the other goes on')
  const times = [died, ...failed].map((line) => Date.parse(String(line?.['time'])))
  const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0))
  // A death of one that served, and two before, came before the first.
  for (const [index, least] of [400, 800, 1_600, 3_200].entries()) t.ok((pauses[index] ?? 0) >= least, `pause ${index}: ${pauses[index]} ms`)

  process.kill(other, 'SIGKILL')
  await lines(running, isDeath, 2)
  t.equal(await refusal(port), 'ECONNREFUSED', 'without any worker connections are refused, and wait for nothing')
  t.equal((await fetch(`${running.adminUrl}/readyz`)).status, 503)
  t.equal((await fetch(`${running.adminUrl}/livez`)).status, 200)

  die(0)
  await t.resolves(within(60_000, async () => await refusal(port) === null && born().filter(({ pid, lives }) => lives && isAlive(pid)).length === 2 && (await fetch(`${running.adminUrl}/readyz`)).status === 200), 'two others take their places')
  t.same(await statuses(running, token, 10), [200], 'and no session is lost')
  running.child.kill('SIGTERM')
  t.equal(await running.exited, 0)
  t.equal(born().length, 2 + log.filter(isUnborn).length + log.filter(isDeath).length, 'as many as configured, whoever died when')
  t.same(born().filter(({ pid }) => isAlive(pid)), [], 'nobody is left behind')
})

t.test('a start in which no worker comes up is one clear line and exit 1', async (t) => {
  const folder = configFolder(t, { workers: 2 })
  const { die, born, launched } = deaths(folder)
  die(1_000)
  const { code, stderr, stdout } = await cli(folder, ['start'], '', launched)
  t.equal(code, 1)
  t.match(stderr, /^error: no worker comes up: 5 have ended one after the other before they served \(the last one: ended by SIGKILL\); [^\n]+\n$/)
  t.notMatch(stdout, /"msg":"ready"/)
  t.equal(born().length, 5)
})

t.test('at a start a worker may take its time, as for a migration; one that takes another\'s place has a minute', async (t) => {
  const running = await startCli(t, configFolder(t, { workers: 2 }), [], { nodeOptions: ['--import', join(projectRoot, 'test/helpers/hasty-primary.mjs')] })
  t.equal(workersOf(running).length, 2)
  t.strictSame(running.log.filter(isUnborn), [])
  const [victim = 0] = workersOf(running)
  process.kill(victim, 'SIGKILL')
  t.match(await lines(running, isUnborn, 2), [{ err: { message: 'the worker has not answered within 60000 ms' } }, {}], 'which is begun again')
})

t.test('whatever a worker dies between, the others answer a scrape and a probe, and no count falls', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const folder = configFolder(t, { workers: 2, routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }] })
  t.equal((await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)).code, 0)
  const running = await startCli(t, folder)
  const token = await login(running)
  let deaths = 0
  let used = 0
  let before = new Map<string, number>()

  async function useTenTimes (): Promise<void> {
    t.same(await statuses(running, token, 10), [200])
    used += 10
  }

  /** Asked already, where it is a promise. */
  async function scraped (asked: Promise<Response> = fetch(`${running.adminUrl}/metrics`)): Promise<void> {
    const response = await asked
    t.equal(response.status, 200)
    const counts = countsOf(await response.text())
    t.strictSame([...before].filter(([sample, count]) => (counts.get(sample) ?? -1) < count), [])
    t.equal(counts.get('gatewarden_requests_total{route="/api",status="2xx"}'), used)
    t.equal(counts.get('gatewarden_request_duration_seconds_count{route="/api"}'), used)
    before = counts
  }

  async function replaced (): Promise<void> {
    await lines(running, isDeath, ++deaths)
    await scraped()
    await within(60_000, async () => (await servers(running)).size === 2)
    await scraped()
  }

  await useTenTimes()
  await scraped()

  // The question has come to a worker that will never answer it.
  for (const path of ['/metrics', '/readyz']) {
    const [victim = 0] = workersOf(running)
    process.kill(victim, 'SIGSTOP')
    const asked = fetch(`${running.adminUrl}${path}`)
    // What came first has been passed on when this is answered.
    for (let times = 0; times < 2; times++) t.equal((await fetch(`${running.adminUrl}/livez`)).status, 200)
    process.kill(victim, 'SIGKILL')
    if (path === '/metrics') await scraped(asked)
    else t.equal((await asked).status, 200)
    await replaced()
    await useTenTimes()
    await scraped()
  }

  // The first process asks before it learns of the death.
  const [victim = 0] = workersOf(running)
  running.child.kill('SIGSTOP')
  const asked = fetch(`${running.adminUrl}/metrics`)
  process.kill(victim, 'SIGKILL')
  await within(60_000, async () => execFileSync('ps', ['-o', 'stat=', '-p', String(victim)], { encoding: 'utf8' }).startsWith('Z'))
  running.child.kill('SIGCONT')
  await scraped(asked)
  await replaced()

  // A worker that hangs costs a scrape its patience, and no more.
  const [silent = 0] = workersOf(running)
  process.kill(silent, 'SIGSTOP')
  await scraped()
  process.kill(silent, 'SIGCONT')
  await scraped()
})

t.test('workers end when the first process is killed', async (t) => {
  const running = await startCli(t, configFolder(t, { workers: 2 }))
  const workers = workersOf(running)
  t.equal(workers.length, 2)
  running.child.kill('SIGKILL')
  await t.resolves(within(10_000, async () => workers.every((pid) => !isAlive(pid))))
})

const isUnborn = ({ msg }: Record<string, unknown>) => msg === 'a worker could not be started'

/** Workers that die as they begin: up to which one, and who has begun. */
function deaths (folder: string) {
  const file = join(folder, 'deaths')
  writeFileSync(`${file}.born`, '')
  return {
    die (count: number) { writeFileSync(file, String(count)) },
    born: () => readFileSync(`${file}.born`, 'utf8').trim().split('\n').map((line) => ({ pid: Number.parseInt(line), lives: line.endsWith('lives') })),
    launched: { env: { GATEWARDEN_DEATHS: file }, nodeOptions: ['--import', join(projectRoot, 'test/helpers/die-as-worker.mjs')] },
  }
}

/** Why a connection is not made; null when it is. */
async function refusal (port: number): Promise<string | null> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return null
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? ''
  } finally {
    socket.destroy()
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

/** What only grows, by its name and labels. */
function countsOf (scrape: string): Map<string, number> {
  const types = new Map([...scrape.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]))
  return new Map([...scrape.matchAll(/^(([a-z_]+?)(?:_bucket|_sum|_count)?(?:\{.*\})?) (\S+)$/gm)].flatMap(([, sample = '', name = '', count]) =>
    ['counter', 'histogram'].includes(types.get(name) ?? '') ? [[sample, Number(count)]] : []))
}

/** Which processes answer two connections, one after the other. */
async function servers ({ url }: Running): Promise<Set<string>> {
  const seen = new Set<string>()
  for (let times = 0; times < 2; times++) {
    const response = await fetch(`${url}/.well-known/jwks.json`, { headers: { connection: 'close' } })
    await response.arrayBuffer()
    seen.add(processOf(response.headers.get('x-request-id')))
  }
  return seen
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
