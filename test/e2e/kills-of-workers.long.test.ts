/**
 * The rule of kills.contract.ts where one of two workers is killed: the other goes on and answers what it has under way, the dead one
 * is replaced, and a client whose answer was lost asks again, of whoever serves. It gets what a client of a single process would:
 * no token that it was given is unknown, none forks, and what has ended stays so, at each worker. Where an end was committed and the
 * worker died before it could tell the other one, that hears of it from the storage.
 */
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Step } from '../../src/steps.ts'
import { cli, configFolder, password, startCli } from '../cli/running-cli.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { soon } from './gateway-client.ts'
import { sqliteEngine } from './kills-sqlite-engine.ts'
import { orderedDeath } from './ordered-death.ts'
import { held, logIn, logOut, newClient, processOf, refresh, use, type Held } from './remembering-client.ts'
import { violationsIn } from './session-history.ts'
import { isDeath, lines, workersOf } from './worker-processes.ts'

/** Milliseconds. A machine may be several times slower. */
const timeout = 600_000
/** Milliseconds until a worker must have been replaced, or have heard. */
const patience = 60_000
/** At the upstream while a worker dies. */
const underWay = 4

t.setTimeout(timeout)

t.test('SQLite', { timeout }, async (t) => {
  const folder = await underKills(t, {})
  t.strictSame(sqliteEngine.damage({ folder, storage: `sqlite:${join(folder, 'data/gatewarden.db')}` }), [])
})

t.test('PostgreSQL', { timeout }, async (t) => {
  const server = await startPostgres(t, { fsync: 'off' })
  await underKills(t, { storage: await server.createDatabase(), keys: { masterKey: randomBytes(32).toString('base64url') } })
})

/** The folder of the gateway, which has ended. */
async function underKills (t: Test, config: Record<string, unknown>): Promise<string> {
  const atUpstream = new Set<{ readonly process: string, readonly response: ServerResponse }>()
  const upstream = await startUpstream((request, response) => {
    if (request.url !== '/api/waits') {
      response.end()
      return
    }
    const one = { process: processOf(request.headers['x-request-id']), response }
    atUpstream.add(one)
    response.once('close', () => { atUpstream.delete(one) })
  })
  t.teardown(upstream.close)
  const folder = configFolder(t, {
    workers: 2,
    // Nothing grows old while the workers die.
    accessToken: { lifetime: '2h' },
    refreshToken: { graceWindow: '2h' },
    routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }],
    ...config,
  })
  t.equal((await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)).code, 0)
  const death = orderedDeath(folder)
  const running = await startCli(t, folder, [], death.launched)
  const { url } = running
  const client = newClient()
  const loginAs = async (name: string) => await logIn(client, url, { name, username: 'alice', password })
  for (const name of ['kept', 'refreshed by many', 'refreshed by one', 'ended', 'ended before']) t.equal(await loginAs(name), 'given')
  const [kept, refreshedByMany, refreshedByOne, ended, endedBefore] = ['kept', 'refreshed by many', 'refreshed by one', 'ended', 'ended before'].map((name) => held(client, name)) as [Held, Held, Held, Held, Held]
  t.equal(await logOut(client, url, endedBefore), 'done')

  /** Asks, each time on a new connection, until two workers have answered: what they said. */
  async function byBoth<Said> (ask: () => Promise<Said>): Promise<Said[]> {
    const from = client.answeredBy.length
    const said = new Set<Said>()
    const asked = await soon(patience, async () => {
      said.add(await ask())
      return new Set(client.answeredBy.slice(from)).size
    }, (workers) => workers === 2)
    if (asked !== 2) throw new Error(`${asked} workers answer`)
    return [...said]
  }

  /** Requests that both workers have passed on, and by which of them; the upstream answers none. */
  async function requestsUnderWay () {
    const answers: Promise<number | 'cut'>[] = []
    while (answers.length < underWay) {
      answers.push(fetch(`${url}/api/waits`, { headers: { authorization: `Bearer ${kept.accessToken}`, connection: 'close' } }).then(({ status }) => status, () => 'cut' as const))
      const arrived = await soon(patience, async () => atUpstream.size, (size) => size === answers.length)
      if (arrived !== answers.length) throw new Error(`of ${answers.length} requests under way the upstream has ${arrived}`)
    }
    const processes = [...atUpstream].map(({ process }) => process)
    if (new Set(processes).size !== 2) throw new Error('one worker has no request under way')
    return { processes, answers }
  }

  /** A worker dies at the step, in what is asked. The other one goes on with what it has under way. */
  async function killing<Said> (t: Test, step: Step, ask: () => Promise<Said>): Promise<Said> {
    const workers = workersOf(running)
    const deathsBefore = death.deaths().map(({ pid }) => pid)
    const { processes, answers } = await requestsUnderWay()

    death.order({ step, nth: 1 })
    const said = await ask()
    death.callOff()

    const [dead, ...others] = death.deaths().filter(({ pid }) => !deathsBefore.includes(pid))
    t.match({ dead, others }, { dead: { step }, others: [] }, 'one has died there')
    t.ok(workers.includes(dead?.pid ?? 0), 'which is a worker')
    t.match((await lines(running, isDeath, deathsBefore.length + 1)).at(-1), { signal: 'SIGKILL' })
    const left = await soon(patience, async () => [...atUpstream].map(({ process }) => process), (left) => new Set(left).size === 1 && left.length === processes.filter((process) => process === left[0]).length)
    for (const { response } of atUpstream) response.end()
    t.strictSame(await Promise.all(answers), processes.map((process) => left.includes(process) ? 200 : 'cut'), 'the other one answers all that it has under way')
    return said
  }

  /** As a client sees it, and as an operator does. */
  async function replaced (t: Test): Promise<void> {
    t.strictSame(await byBoth(async () => await use(client, url, kept)), [true], 'two workers serve again')
    const workers = workersOf(running)
    t.equal(workers.length, 2)
    t.notOk(death.deaths().some(({ pid }) => workers.includes(pid)))
  }

  /** Each of them verifies its access token, and rotates its refresh token. */
  async function works (t: Test, one: Held): Promise<void> {
    t.strictSame(await byBoth(async () => await use(client, url, one)), [true], `${one.name}: its access token passes at both`)
    t.strictSame(await byBoth(async () => await refresh(client, url, one)), ['given'], `${one.name}: its refresh token works at both`)
  }

  async function isOver (t: Test, one: Held): Promise<void> {
    t.strictSame(await byBoth(async () => await use(client, url, one)), [false], `${one.name}: its access token is refused by both`)
    t.strictSame(await byBoth(async () => await refresh(client, url, one)), ['refused'], `${one.name}: its refresh token is refused by both`)
  }

  for (const step of ['login: session written', 'login: to be answered'] as const) {
    await t.test(step, async (t) => {
      t.equal(await killing(t, step, async () => await loginAs(`lost at ${step}`)), 'unanswered')
      t.equal(await loginAs(`after ${step}`), 'given', 'by the one that is left')
      await replaced(t)
      await works(t, held(client, `after ${step}`))
    })
  }

  await t.test('refresh: rotated, of a token that is shown to both workers at once', async (t) => {
    const said = await killing(t, 'refresh: rotated', async () => await Promise.all(Array.from({ length: 4 }, async () => await refresh(client, url, refreshedByMany, 'lost'))))
    t.strictSame([...new Set(said)].sort(), ['given', 'unanswered'])
    t.equal(await refresh(client, url, refreshedByMany, 'lost'), 'given', 'by the one that is left')
    await replaced(t)
    t.strictSame(await byBoth(async () => await refresh(client, url, refreshedByMany, 'lost')), ['given'])
    t.equal(await refresh(client, url, refreshedByMany), 'given')
    await works(t, refreshedByMany)
  })

  await t.test('refresh: to be answered', async (t) => {
    t.equal(await killing(t, 'refresh: to be answered', async () => await refresh(client, url, refreshedByOne)), 'unanswered')
    t.equal(await refresh(client, url, refreshedByOne), 'given', 'by the one that is left')
    await replaced(t)
    await works(t, refreshedByOne)
  })

  await t.test('session: ended', async (t) => {
    t.strictSame(await byBoth(async () => await use(client, url, ended)), [true])
    t.equal(await killing(t, 'session: ended', async () => await logOut(client, url, ended)), 'unanswered')
    await replaced(t)
    // By then the one that is left has heard of it.
    await isOver(t, ended)
    t.equal(await logOut(client, url, ended), 'done', 'asked again')
    await isOver(t, ended)
  })

  await t.test('all that the client was given works until it is ended, and then no more', async (t) => {
    const [over, live] = [[ended, endedBefore], client.held.filter((one) => one !== ended && one !== endedBefore)]
    for (const one of live) {
      await works(t, one)
      t.equal(await logOut(client, url, one), 'done')
      t.equal(await soon(1_000, async () => (await byBoth(async () => await use(client, url, one))).includes(true), (passes) => !passes), false)
    }
    for (const one of [...over, ...live]) await isOver(t, one)
  })

  t.strictSame(violationsIn({ events: client.events, disturbances: [] }, { lag: 1_000, recovery: 0 }), [])
  running.child.kill('SIGTERM')
  t.equal(await running.exited, 0)
  t.comment(`${death.deaths().length} workers killed, ${client.events.length} events of ${client.held.length} sessions`)
  return folder
}
