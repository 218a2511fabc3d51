/**
 * The rule: a process may be killed at any step of anything it does, and after a restart
 * - the database is sound, and the gateway starts, signs, and lets users log in;
 * - a refresh token that a client was given works still, or the successor that it bought, or might have bought, does;
 * - what was refused, or whose end was answered, stays refused; of what was asked for and not answered, either all has happened or nothing;
 * - no session forks: a token that is shown twice has one successor.
 *
 * What dies is dist/cli.js, at a step of src/steps.ts. Which steps an operation passes is recorded first, and none of them all may
 * be passed by no operation. Each process works on a copy of one prepared storage; what is restarted on it is the gateway, in this
 * process. A run kills an operation at the first and the last passing of the steps that are its own; with GATEWARDEN_KILLS=all at
 * every passing of every step.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { openPersistentState, type PersistentState } from '../../src/persistent-state.ts'
import { startGateway } from '../../src/server.ts'
import { allSteps, type Step } from '../../src/steps.ts'
import { openKeyRing } from '../../src/tokens/key-ring.ts'
import { buildIfStale } from '../cli/built-cli.ts'
import { configText, password } from '../cli/running-cli.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { doomed, type Doomed, type Ending, type Fate } from './doomed-process.ts'
import { logIn, logOut, refresh, use, type Client, type Held } from './remembering-client.ts'
import { violationsIn } from './session-history.ts'

export interface Engine {
  /** The URL of a new storage for a gateway in `folder`: an empty one, or one that holds what another does, which nobody has open. */
  create (folder: string, from: Place | null): Promise<string>
  remove (place: Place): Promise<void>
  /** What the engine itself finds wrong. */
  damage (place: Place): readonly string[]
  /** What it has no need of. */
  readonly neverPassed: readonly Step[]
}

/** A folder with a config.yaml, and the storage that this names. */
export interface Place { readonly folder: string, readonly storage: string }

interface World { readonly place: Place, readonly client: Client }

interface Operation {
  readonly name: string
  /** How the steps begin that it is killed at in every run. */
  readonly own: readonly string[]
  /** What it is done in: of its own, for each process. */
  readonly begin: () => Promise<World>
  readonly act: (process: Doomed, world: World) => Promise<Ending>
  /** Sentences on what is wrong after the restart. */
  readonly faults: (world: World, url: string, ending: Ending) => Promise<string[]>
}

const takesAll = process.env['GATEWARDEN_KILLS'] === 'all'

/** A machine may be several times slower. */
export const killsTimeout: number = takesAll ? 4 * 3_600_000 : 600_000

export function killsContract (engine: Engine): (t: Test) => Promise<void> {
  return async (t) => {
    await buildIfStale()
    const upstream = await startUpstream()
    t.teardown(upstream.close)
    const root = t.testdir()
    const masterKey = randomBytes(32).toString('base64url')
    let places = 0

    async function create (from: Place | null, config: Record<string, unknown> = { keys: { masterKey } }): Promise<Place> {
      const folder = join(root, String(places++))
      mkdirSync(folder)
      const storage = await engine.create(folder, from)
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

    async function remove (place: Place): Promise<void> {
      await engine.remove(place)
      rmSync(place.folder, { recursive: true })
    }

    const prepared: World = await (async () => {
      const place = await create(null)
      const client: Client = { events: [], held: [] }
      await withState(place, async (config, { storage, masterKey }) => {
        const users = createUserStore({ db: storage.db, hasher: createPasswordHasher(config.passwords), now: Date.now })
        for (const name of ['alice', 'bob']) await users.add({ name, password })
        const ring = await openKeyRing({ config, db: storage.db, masterKey, now: Date.now })
        // The first key is retired, and the second one has signed all that there is.
        await ring.rotate({ immediately: true })
        ring.close()
      })
      await restarted(place, async (url) => {
        for (const name of ['fresh', 'repeating', 'rotated', 'ended']) await logIn(client, url, { name, username: 'alice', password })
        await logIn(client, url, { name: 'of bob', username: 'bob', password })
        await refresh(client, url, held(client, 'repeating'), 'lost')
        for (const name of ['rotated', 'ended']) await refresh(client, url, held(client, name))
        await logOut(client, url, held(client, 'ended'))
      })
      return { place, client }
    })()
    const copied = async (): Promise<World> => ({ place: await create(prepared.place), client: structuredClone(prepared.client) })

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
        own: ['refresh: '],
        begin: copied,
        act: async (process, { client }) => await process.gateway(async (url) => { await refresh(client, url, held(client, 'repeating')) }),
        faults: async ({ client }, url) => await useAll(client, url),
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
        const faults = [...engine.damage(world.place)]
        await restarted(world.place, async (url) => { faults.push(...await operation.faults(world, url, ending)) })
        faults.push(...violationsIn({ events: world.client.events, disturbances: [] }, { lag: 0, recovery: 0 }))
        t.strictSame(faults, [], `${label}: ${ending}`)
        return { ending, passed: fate === 'record' ? process.passed() : [] }
      } finally {
        await remove(world.place)
      }
    }

    for (const operation of operations) {
      await t.test(operation.name, async (t) => {
        const { passed } = await attempt(t, operation, 'record', 'nobody kills it')
        for (const step of new Set(passed)) everPassed.add(step)
        for (const step of new Set(passed)) {
          if (!takesAll && !operation.own.some((beginning) => step.startsWith(beginning))) continue
          const last = passed.filter((one) => one === step).length
          for (let nth = 1; nth <= last || takesAll; nth = takesAll || nth === last ? nth + 1 : last) {
            const { ending } = await attempt(t, operation, { step, nth }, `at "${step}", passing ${nth} of ${last}`)
            if (nth === 1) t.equal(ending, 'killed')
            if (ending === 'lived') break
          }
        }
      })
    }
    t.comment(`${kills} kills`)
    t.strictSame(allSteps.filter((step) => !everPassed.has(step) && !engine.neverPassed.includes(step)), [], 'each step is passed by some operation')
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

function configOf ({ folder }: Place): Config {
  const loaded = loadConfig(join(folder, 'config.yaml'))
  if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults))
  return loaded.config
}

function held (client: Client, name: string): Held {
  const found = client.held.find((one) => one.name === name)
  if (found === undefined) throw new Error(`the client holds no session ${name}`)
  return found
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
