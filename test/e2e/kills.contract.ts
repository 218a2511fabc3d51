/**
 * The rule: a process may be killed at any step of anything it does, and after a restart
 * - the database is sound, and the gateway starts, signs, and lets users log in;
 * - a refresh token that a client was given works still, or the successor that it bought, or might have bought, does;
 * - what was refused, or whose end was answered, stays refused; of what was asked for and not answered, either all has happened or nothing;
 * - no session forks: a token that is shown twice has one successor.
 *
 * What dies is dist/cli.js, at a step of src/steps.ts. Which steps an operation passes is recorded first, and none of them all may
 * be passed by no operation. Each process works on a copy of one prepared storage; what is restarted on it is the gateway, in this
 * process. With GATEWARDEN_KILLS=all an operation is killed at every passing of every step; else once at each of the steps that are
 * its own, one engine at the first passing and the other one at the last.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { pino } from 'pino'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore, slowestHashKey, type UserStore } from '../../src/credentials/user-store.ts'
import { openPersistentState, type PersistentState } from '../../src/persistent-state.ts'
import { startGateway } from '../../src/server.ts'
import { allSteps, type Step } from '../../src/steps.ts'
import { copyStorage } from '../../src/storage/copy.ts'
import type { Tables } from '../../src/storage/database.ts'
import { openKeyRing, type KeyRing } from '../../src/tokens/key-ring.ts'
import { configText, password } from '../cli/running-cli.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { doomed, type Doomed, type Ending } from './doomed-process.ts'
import type { Fate } from './ordered-death.ts'
import { endedElsewhere, held, logIn, logOut, newClient, refresh, use, type Client } from './remembering-client.ts'
import { violationsIn } from './session-history.ts'

export interface Engine {
  /** The URL of a new storage for a gateway in `folder`: an empty one, or one that holds what another does, which nobody has open. */
  create (folder: string, from: Place | null): Promise<string>
  remove (place: Place): Promise<void>
  /** What the engine itself finds wrong. */
  damage (place: Place): readonly string[]
  /** Whether a gateway makes its master key by itself, beside the data. */
  readonly makesMasterKey: boolean
  /** Which one a short run takes, of a step that is passed more than once. */
  readonly passing: 'first' | 'last'
  /** What `storage copy` reads, where that is another one. */
  readonly movesFrom?: Engine
}

/** A folder with a config.yaml, and the storage that this names. */
export interface Place { readonly folder: string, readonly storage: string }

interface World {
  readonly place: Place
  readonly client: Client
  /** Of a copy. */
  readonly source?: Place
}

interface Operation {
  readonly name: string
  /** How the steps begin that it is killed at in every run. */
  readonly own: readonly string[]
  /** What it is done in: of its own, for each process. */
  readonly begin: () => Promise<World>
  readonly act: (process: Doomed, world: World) => Promise<Ending>
  /** What is wrong before anybody starts. */
  readonly faultsBefore?: (world: World, ending: Ending) => Promise<string[]>
  /** What is wrong after the restart. */
  readonly faults: (world: World, url: string, ending: Ending) => Promise<string[]>
}

const anotherPassword = 'a staple that no horse has'
/** Three batches. */
const imported = Array.from({ length: 401 }, (_, index) => `user${index}`)

const takesAll = process.env['GATEWARDEN_KILLS'] === 'all'

/** A machine may be several times slower. */
export const killsTimeout: number = takesAll ? 4 * 3_600_000 : 600_000

export function killsContract (engine: Engine): (t: Test) => Promise<void> {
  return async (t) => {
    const upstream = await startUpstream()
    t.teardown(upstream.close)
    const root = t.testdir()
    const masterKey = randomBytes(32).toString('base64url')
    let places = 0

    async function create (from: Place | null, config: Record<string, unknown> = { keys: { masterKey } }, on = engine): Promise<Place> {
      const folder = join(root, String(places++))
      mkdirSync(folder)
      const storage = await on.create(folder, from)
      writeFileSync(join(folder, 'config.yaml'), configText({
        storage,
        // Nothing grows old while the processes die.
        accessToken: { lifetime: '2h' },
        refreshToken: { graceWindow: '2h' },
        routes: [{ path: '/api', upstream: upstream.url, access: 'authenticated' }],
        ...config,
      }))
      return { folder, storage }
    }

    async function remove (place: Place, on = engine): Promise<void> {
      await on.remove(place)
      rmSync(place.folder, { recursive: true })
    }

    const prepared: World = await (async () => {
      const place = await create(null)
      const client = newClient()
      await withState(place, async (config, state) => { for (const name of ['alice', 'bob']) await usersIn(config, state).add({ name, password }) })
      // The first key is retired, and the second one has signed all that there is.
      await withKeys(place, async (ring) => { await ring.rotate({ immediately: true }) })
      await restarted(place, async (url) => {
        for (const name of ['fresh', 'repeating', 'rotated', 'ended']) await logIn(client, url, { name, username: 'alice', password })
        await logIn(client, url, { name: 'of bob', username: 'bob', password })
        await refresh(client, url, held(client, 'repeating'), 'lost')
        for (const name of ['rotated', 'ended']) await refresh(client, url, held(client, name))
        await logOut(client, url, held(client, 'ended'))
      })
      return { place, client }
    })()
    const passwordHash = await createPasswordHasher(configOf(prepared.place).passwords).hash(password)
    const copied = async (): Promise<World> => ({ place: await create(prepared.place), client: structuredClone(prepared.client) })

    const sourceEngine = engine.movesFrom ?? engine
    const preparedSource = await (async () => {
      if (sourceEngine === engine) return prepared.place
      const place = await create(null, undefined, sourceEngine)
      await withState(prepared.place, async (_, from) => { await withState(place, async (_, to) => { await copyStorage(from.storage, to.storage) }) })
      return place
    })()

    const operations: readonly Operation[] = [
      {
        name: 'a login',
        own: ['login: ', 'storage: '],
        begin: copied,
        act: async (process, { client }) => await process.gateway(async (url) => { await logIn(client, url, { name: 'new', username: 'alice', password }) }),
        faults: async ({ client }, url) => await useAll(client, url),
      },
      {
        name: 'a refresh',
        own: ['refresh: '],
        begin: copied,
        act: async (process, { client }) => await process.gateway(async (url) => { await refresh(client, url, held(client, 'rotated')) }),
        faults: async ({ client }, url) => await useAll(client, url),
      },
      {
        name: 'a refresh that is repeated, for its answer was lost',
        own: ['refresh: found rotated before'],
        begin: copied,
        act: async (process, { client }) => await process.gateway(async (url) => { await refresh(client, url, held(client, 'repeating')) }),
        faults: async ({ client }, url) => await useAll(client, url),
      },
      {
        name: 'a logout',
        own: ['session: '],
        begin: copied,
        act: async (process, { client }) => await process.gateway(async (url) => { await logOut(client, url, held(client, 'rotated')) }),
        faults: async ({ client }, url) => await useAll(client, url),
      },
      {
        name: 'users passwd',
        own: ['user: ', 'sessions of a user: '],
        begin: copied,
        act: async (process, { client }) => await endingAlice(client, () => process.command(['users', 'passwd', 'alice', '--password-stdin'], anotherPassword)),
        async faults ({ client }, url, ending) {
          const isNew = await logIn(client, url, { name: 'new', username: 'alice', password: anotherPassword }) === 'given'
          const isOld = await logIn(client, url, { name: 'old', username: 'alice', password }) === 'given'
          return [
            ...isNew === isOld ? [`the old and the new password ${isNew ? 'both work' : 'do not work'}`] : [],
            ...ending === 'lived' && isOld ? ['the old password works'] : [],
            ...await faultsOfSessions(client, url, isOld),
            ...await useAll(client, url, { username: 'alice', secret: isNew ? anotherPassword : password }),
          ]
        },
      },
      {
        name: 'users disable',
        own: ['user: '],
        begin: copied,
        act: async (process, { client }) => await endingAlice(client, () => process.command(['users', 'disable', 'alice'])),
        async faults ({ client }, url, ending) {
          const isIn = await logIn(client, url, { name: 'new', username: 'alice', password }) === 'given'
          return [
            ...ending === 'lived' && isIn ? ['alice is not disabled'] : [],
            ...await faultsOfSessions(client, url, isIn),
            ...await useAll(client, url, { username: isIn ? 'alice' : 'bob' }),
          ]
        },
      },
      {
        name: 'keys rotate',
        own: ['keys: '],
        begin: copied,
        act: async (process) => await process.command(['keys', 'rotate']),
        async faults ({ place, client }, url, ending) {
          const rotated = await keysIn(place)
          await withKeys(place, async (ring) => { await ring.rotate() })
          return [
            ...endless(rotated) === 1 ? [] : [`${endless(rotated)} keys have no end`],
            ...ending === 'lived' && rotated.length !== 3 ? [`${rotated.length} keys`] : [],
            // Done by now, if not before; and once.
            ...(await keysIn(place)).length === 3 ? [] : ['rotated again, there are not three keys'],
            ...await useAll(client, url),
          ]
        },
      },
      {
        name: 'a rotation that is due at a start',
        own: ['keys: dead ones deleted', 'keys: committed'],
        async begin () {
          const world = await copied()
          await withState(world.place, async (config, { storage: { db } }) => {
            await db.updateTable('keys').set({ expires_at: 1 }).where('expires_at', 'is not', null).execute()
            await db.updateTable('keys').set({ activates_at: Date.now() - config.keys.rotateEvery }).where('expires_at', 'is', null).execute()
          })
          return world
        },
        act: async (process) => await process.start(),
        async faults ({ place, client }, url) {
          const keys = await keysIn(place)
          return [
            ...keys.length === 2 && endless(keys) === 1 ? [] : [`${keys.length} keys, ${endless(keys)} without end: there should be the one before and the next`],
            ...await useAll(client, url),
          ]
        },
      },
      {
        name: 'a first start',
        own: ['migration: ', 'master key: '],
        begin: async () => ({ place: await create(null, engine.makesMasterKey ? {} : { keys: { masterKey } }), client: newClient() }),
        act: async (process) => await process.start(),
        async faults ({ place, client }, url) {
          const [migrations, keys] = [await migrationsIn(place), await keysIn(place)]
          await withState(place, async (config, state) => { await usersIn(config, state).add({ name: 'alice', password }) })
          return [
            ...isDeepStrictEqual(migrations, await migrationsIn(prepared.place)) ? [] : [`the schema is at ${migrations.join(', ')}`],
            ...keys.length === 1 && endless(keys) === 1 ? [] : [`${keys.length} keys`],
            // Whoever has a draft has the master key.
            ...readdirSync(place.folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.includes('master.key.')),
            ...await useAll(client, url),
          ]
        },
      },
      {
        name: 'users import',
        own: ['import: '],
        async begin () {
          const world = await copied()
          writeFileSync(join(world.place.folder, 'users.csv'), ['name,password_hash', ...imported.map((name) => `${name},"${passwordHash}"`), ''].join('\n'))
          return world
        },
        act: async (process) => await process.command(['users', 'import', 'users.csv']),
        async faults ({ place, client }, url, ending) {
          const { users, costs } = await importedIn(place)
          const isWhole = users === imported.length
          const canLogIn = await logIn(client, url, { name: 'imported', username: imported.at(-1) ?? '', password }) === 'given'
          return [
            ...users === 0 || isWhole ? [] : [`${users} of ${imported.length} users are imported`],
            ...ending === 'lived' && !isWhole ? ['nobody is imported'] : [],
            ...canLogIn === isWhole && costs === isWhole ? [] : ['who is imported, cannot log in or is known by the time it takes'],
            ...await useAll(client, url),
          ]
        },
      },
      {
        name: 'storage copy',
        own: ['copy: '],
        begin: async () => ({ place: await create(null), client: structuredClone(prepared.client), source: await create(preparedSource, undefined, sourceEngine) }),
        act: async (process, { source }) => await process.command(['storage', 'copy', source?.storage ?? '']),
        async faultsBefore ({ place, source = place }, ending) {
          const [there, whole] = [await countsIn(place), await countsIn(source)]
          const isWhole = isDeepStrictEqual(there, whole)
          if (isWhole) return []
          if (ending === 'lived' || Object.values(there).some((count) => count > 0)) return [`copied are ${JSON.stringify(there)} of ${JSON.stringify(whole)}`]
          await withState(source, async (_, from) => { await withState(place, async (_, to) => { await copyStorage(from.storage, to.storage) }) })
          return []
        },
        async faults ({ place, client, source = place }, url) {
          // The source is as it was: whoever stays with it has lost nothing.
          const asBefore = structuredClone(client)
          const faults = [...await useAll(client, url), ...sourceEngine.damage(source)]
          await restarted(source, async (url) => { faults.push(...await useAll(asBefore, url)) })
          return [...faults, ...violationsIn({ events: asBefore.events, disturbances: [] }, { lag: 0, recovery: 0 })]
        },
      },
    ]

    const everPassed = new Set<Step>()
    let kills = 0

    /** Whether it was killed. */
    async function attempt (t: Test, operation: Operation, fate: Fate, label: string): Promise<{ readonly ending: Ending, readonly passed: readonly Step[] }> {
      const world = await operation.begin()
      try {
        const process = doomed(world.place.folder, fate)
        const ending = await operation.act(process, world)
        if (ending === 'killed') kills++
        const faults = [...engine.damage(world.place), ...await operation.faultsBefore?.(world, ending) ?? []]
        await restarted(world.place, async (url) => { faults.push(...await operation.faults(world, url, ending)) })
        faults.push(...violationsIn({ events: world.client.events, disturbances: [] }, { lag: 0, recovery: 0 }))
        t.strictSame(faults, [], `${label}: ${ending}`)
        return { ending, passed: fate === 'record' ? process.passed() : [] }
      } finally {
        await remove(world.place)
        if (world.source !== undefined) await remove(world.source, sourceEngine)
      }
    }

    for (const operation of operations) {
      await t.test(operation.name, async (t) => {
        const { passed } = await attempt(t, operation, 'record', 'nobody kills it')
        for (const step of new Set(passed)) everPassed.add(step)
        for (const step of new Set(passed)) {
          if (!takesAll && !operation.own.some((beginning) => step.startsWith(beginning))) continue
          const last = passed.filter((one) => one === step).length
          const from = takesAll || engine.passing === 'first' ? 1 : last
          // Timers pass some steps as well: how often an operation does, is known when it lives.
          for (let nth = from, ending: Ending = 'killed'; ending === 'killed' && (takesAll || nth === from); nth++) {
            ({ ending } = await attempt(t, operation, { step, nth }, `at "${step}", passing ${nth} of ${last}`))
            if (nth === 1) t.equal(ending, 'killed', 'once at least')
          }
        }
      })
    }
    t.comment(`${kills} kills`)
    t.strictSame(allSteps.filter((step) => !everPassed.has(step) && (engine.makesMasterKey || !step.startsWith('master key: '))), [], 'each step is passed by some operation')
  }
}

/** The gateway, started anew, as long as `work` goes on. */
async function restarted (place: Place, work: (url: string) => Promise<void>): Promise<void> {
  const gateway = await startGateway(configOf(place), { log: pino({ level: 'silent' }) })
  try {
    await work(gateway.publicAddress.url)
  } finally {
    await gateway.drain()
  }
}

async function withState (place: Place, work: (config: Config, state: PersistentState) => Promise<void>): Promise<void> {
  const config = configOf(place)
  const state = await openPersistentState(config)
  try {
    await work(config, state)
  } finally {
    await state.storage.close()
  }
}

function usersIn (config: Config, { storage: { db } }: PersistentState): UserStore {
  return createUserStore({ db, hasher: createPasswordHasher(config.passwords), now: Date.now })
}

async function withKeys (place: Place, work: (ring: KeyRing) => Promise<void>): Promise<void> {
  await withState(place, async (config, { storage: { db }, masterKey }) => {
    const ring = await openKeyRing({ config, db, masterKey, now: Date.now })
    await work(ring)
    ring.close()
  })
}

async function rowsIn (place: Place, table: keyof Tables): Promise<Record<string, unknown>[]> {
  let rows: Record<string, unknown>[] = []
  await withState(place, async (_, { storage: { db } }) => { rows = await db.selectFrom(table).selectAll().execute() })
  return rows
}

const keysIn = async (place: Place): Promise<Record<string, unknown>[]> => await rowsIn(place, 'keys')
const endless = (keys: readonly Record<string, unknown>[]): number => keys.filter(({ expires_at: expiresAt }) => expiresAt === null).length

async function migrationsIn (place: Place): Promise<unknown[]> {
  // Kysely's own table, which is none of ours.
  return (await rowsIn(place, 'kysely_migration' as keyof Tables)).map(({ name }) => name)
}

async function importedIn (place: Place): Promise<{ readonly users: number, readonly costs: boolean }> {
  const [users, meta] = [await rowsIn(place, 'users'), await rowsIn(place, 'meta')]
  return { users: users.filter(({ name }) => imported.includes(String(name))).length, costs: meta.some(({ key }) => key === slowestHashKey) }
}

async function countsIn (place: Place): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  await withState(place, async (_, { storage: { db } }) => {
    for (const table of ['users', 'sessions', 'keys', 'login_attempts', 'known_origins', 'meta'] as const) counts[table] = (await db.selectFrom(table).selectAll().execute()).length
  })
  return counts
}

/** What the command line does to alice's sessions, as her client sees it. */
async function endingAlice (client: Client, act: () => Promise<Ending>): Promise<Ending> {
  const began = performance.now()
  const ending = await act()
  endedElsewhere(client, client.held.filter(({ username }) => username === 'alice'), began, ending === 'lived' ? 'done' : 'unanswered')
  return ending
}

/** All that alice had before must live, or none of it. */
async function faultsOfSessions (client: Client, url: string, live: boolean): Promise<string[]> {
  const faults: string[] = []
  for (const name of ['fresh', 'repeating', 'rotated']) {
    if (await use(client, url, held(client, name)) !== live) faults.push(`${name}: ${live ? 'has ended, though nothing has changed' : 'lives on'}`)
  }
  return faults
}

function configOf ({ folder }: Place): Config {
  const loaded = loadConfig(join(folder, 'config.yaml'))
  if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults))
  return loaded.config
}

/** The client uses all it has, shows each refresh token twice, ends every session, and logs in again. What is wrong beside the history. */
async function useAll (client: Client, url: string, { username = 'alice', secret = password } = {}): Promise<string[]> {
  const faults: string[] = []
  for (const one of client.held) {
    const passes = await use(client, url, one)
    const isGiven = await refresh(client, url, one, 'lost') === 'given'
    if (passes !== isGiven) faults.push(`${one.name}: its access token ${passes ? 'passes' : 'is refused'}, its refresh token ${isGiven ? 'works' : 'does not'}`)
    if (!isGiven) continue
    if (await refresh(client, url, one) !== 'given') faults.push(`${one.name}: its successor is not given again`)
    await logOut(client, url, one)
    if (await use(client, url, one) || await refresh(client, url, one) !== 'refused') faults.push(`${one.name}: works after its end`)
  }
  if (await logIn(client, url, { name: 'afterwards', username, password: secret }) !== 'given') faults.push(`${username} cannot log in`)
  else if (!await use(client, url, held(client, 'afterwards'))) faults.push('a new access token does not pass')
  return faults
}
