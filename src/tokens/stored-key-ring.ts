/** The key ring kept in storage: encrypted under the master key, made on first start, rotated by age or by hand. */
import { createPrivateKey } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import { Refusal, StartupFault } from '../errors.ts'
import { step } from '../steps.ts'
import type { Database, KeysTable } from '../storage/database.ts'
import { asymmetricAlgorithm, type AsymmetricAlgorithm } from './algorithms.ts'
import { generatePrivateKey, materialOf, type KeyMaterial } from './key-material.ts'
import type { KeyRing, KeyView, SigningKey } from './key-ring.ts'
import { keyToSign, nextOf, planMaintenance, planRotation, stateOf, verifies, type Changes, type Schedule, type ScheduledKey } from './key-schedule.ts'
import { open, seal, type MasterKey } from './master-key.ts'

interface StoredKey extends ScheduledKey {
  readonly algorithm: AsymmetricAlgorithm
  readonly signing: SigningKey
  readonly material: KeyMaterial
  /** As it stands in the row: when it is unchanged, the key need not be opened again. */
  readonly sealed: string
}

/** Counts the changes of the ring. Who would change it must be the one to raise the count: a lock that both engines know. */
const generationKey = 'key_ring_generation'
/** How late another process may hear of a rotation (ms), and go on signing with the key before. */
const learning = 5_000
const attempts = 10

export interface StoredKeyRingOptions {
  readonly algorithm: AsymmetricAlgorithm
  readonly accessToken: Pick<Config['accessToken'], 'lifetime' | 'clockTolerance'>
  readonly keys: Pick<Config['keys'], 'rotateEvery' | 'publishAhead'>
  readonly db: Database
  readonly masterKey: MasterKey
  readonly now: () => number
  readonly settledNow?: () => number
}

export async function openStoredKeyRing (options: StoredKeyRingOptions): Promise<KeyRing> {
  const { algorithm, accessToken, keys: { rotateEvery, publishAhead }, db, masterKey, now, settledNow = now } = options
  const schedule: Schedule = { algorithm, rotateEvery, publishAhead, verifyFor: accessToken.lifetime + accessToken.clockTolerance + learning }
  const sealingKey = masterKey.derive('signing-keys')
  const listeners = new Set<() => void>()
  let keys: readonly StoredKey[] = []
  let byKid: ReadonlyMap<string, StoredKey> = new Map()
  let readings = 0
  let latest = 0

  await db.insertInto('meta').values({ key: generationKey, value: '0' }).onConflict((conflict) => conflict.column('key').doNothing()).execute()
  await change((current, time) => planMaintenance(current, schedule, time, 'opening'))

  function signing (): StoredKey {
    const key = keyToSign(keys, schedule, now())
    if (key === undefined) throw new Refusal('GW_UNAVAILABLE', { reason: 'there is no key to sign with' })
    return key
  }

  function view (key: StoredKey): KeyView {
    const { kid, createdAt, activatesAt, expiresAt } = key
    return { kid, algorithm: key.algorithm, state: stateOf(key, keyToSign(keys, schedule, now()), now()), createdAt, activatesAt, expiresAt }
  }

  /** Reads the rows; tells the listeners when they say something new. */
  async function load (): Promise<void> {
    const reading = ++readings
    const rows = await db.selectFrom('keys').selectAll().orderBy('activates_at').orderBy('kid').execute()
    const before = byKid
    const loaded = await Promise.all(rows.map((row) => openRow(row, before.get(row.kid), sealingKey, masterKey)))
    // An older answer must not undo a newer one.
    if (reading < latest) return
    latest = reading
    const same = loaded.length === keys.length && loaded.every((key, place) => key === keys[place])
    if (same) return
    keys = loaded
    byKid = new Map(loaded.map((key) => [key.kid, key]))
    for (const listener of listeners) listener()
  }

  /** Reads, plans, writes; starts over when another process was faster. Returns whether this one has changed anything. */
  async function change (plan: (current: readonly StoredKey[], time: number) => Changes | null): Promise<boolean> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const { value: generation } = await db.selectFrom('meta').select('value').where('key', '=', generationKey).executeTakeFirstOrThrow()
      await load()
      const time = now()
      const changes = plan(keys, time)
      if (changes === null) return false
      step('keys: planned')
      const created = changes.create === null ? null : await createRow(algorithm, changes.create.activatesAt, time, sealingKey)
      step('keys: key made')
      if (await commit(db, generation, changes, created)) {
        step('keys: committed')
        await load()
        return true
      }
    }
    throw new StartupFault('The signing keys in storage are being changed by others without end: look for a second gateway with another configuration on the same storage')
  }

  return {
    signingKey: () => signing().signing,
    verifyingKey (kid) {
      const key = byKid.get(kid)
      return key !== undefined && verifies(key, now()) ? key.material.verifying : undefined
    },
    publicKeys () {
      const time = now()
      const first = keyToSign(keys, schedule, time)
      return keys.filter((key) => verifies(key, time))
        .sort((one, other) => Number(other === first) - Number(one === first))
        .map((key) => key.material.publicJwk)
    },
    list: () => keys.filter((key) => verifies(key, now())).map(view),
    async rotate ({ immediately = false } = {}) {
      const before = signing().kid
      await change((current, time) => {
        // Of two that rotate at once the slower one finds it done.
        if (immediately && keyToSign(current, schedule, time)?.kid !== before) return null
        return planRotation(current, schedule, time, immediately)
      })
      const current = signing()
      return view(immediately ? current : nextOf(keys, schedule, current, now()) ?? current)
    },
    async maintain () {
      const time = now()
      // By a clock that was set ahead, and may be set back, keys would die that tokens still need, and a next one be made for next year.
      if (settledNow() < time) return
      await change((current, time) => planMaintenance(current, schedule, time, 'running'))
    },
    reload: load,
    onChange (listener) {
      listeners.add(listener)
    },
    close () {
      listeners.clear()
    },
  }
}

/** Throws a StartupFault where a key in storage does not open with this master key. */
export async function assertKeysOpen (db: Database, masterKey: MasterKey): Promise<void> {
  const sealingKey = masterKey.derive('signing-keys')
  for (const row of await db.selectFrom('keys').selectAll().execute()) await openRow(row, undefined, sealingKey, masterKey)
}

/**
 * The public key is taken from the private one and never from its column, and the seal binds name and algorithm: who can
 * write to the database, but lacks the master key, cannot bring in a key of their own.
 */
async function openRow (row: KeysTable, known: StoredKey | undefined, sealingKey: Buffer, masterKey: MasterKey): Promise<StoredKey> {
  const times = { createdAt: row.created_at, activatesAt: row.activates_at, expiresAt: row.expires_at }
  if (known !== undefined && known.sealed === row.private_key && known.algorithm === row.algorithm) {
    const unchanged = known.createdAt === times.createdAt && known.activatesAt === times.activatesAt && known.expiresAt === times.expiresAt
    return unchanged ? known : { ...known, ...times }
  }
  const algorithm = asymmetricAlgorithm(row.algorithm)
  const pem = algorithm === undefined ? null : open(sealingKey, row.private_key, sealedFor(row.algorithm, row.kid))
  if (algorithm === undefined || pem === null) {
    throw new StartupFault(
      `The signing key ${row.kid} in storage does not open with the master key from ${masterKey.source}. ` +
      'Give the master key that the keys were made with: in GATEWARDEN_MASTER_KEY, keys.masterKey, or its file beside the data. ' +
      'If it is lost, delete the rows of the table `keys`: new ones are made, and everybody logs in anew')
  }
  const material = await materialOf(createPrivateKey(pem), algorithm, 'gateway')
  if (material.signing === null || material.kid !== row.kid) throw new StartupFault(`The signing key ${row.kid} in storage is not the key that its name says: delete its row of the table \`keys\``)
  return { kid: row.kid, ...times, algorithm, signing: material.signing, material, sealed: row.private_key }
}

async function createRow (algorithm: AsymmetricAlgorithm, activatesAt: number, createdAt: number, sealingKey: Buffer): Promise<KeysTable> {
  const { kid, signing, publicJwk } = await materialOf(await generatePrivateKey(algorithm), algorithm, 'gateway')
  return {
    kid,
    algorithm,
    public_jwk: JSON.stringify(publicJwk),
    private_key: seal(sealingKey, String(signing?.key), sealedFor(algorithm, kid)),
    created_at: createdAt,
    activates_at: activatesAt,
    expires_at: null,
  }
}

/** All or nothing, and only on the ring that the plan was made for. */
async function commit (db: Database, generation: string, changes: Changes, created: KeysTable | null): Promise<boolean> {
  return await db.transaction().execute(async (transaction) => {
    // First of all, for it takes the lock: SQLite's write lock, PostgreSQL's row lock.
    const { numUpdatedRows } = await transaction.updateTable('meta')
      .set({ value: String(Number(generation) + 1) })
      .where('key', '=', generationKey).where('value', '=', generation)
      .executeTakeFirst()
    if (numUpdatedRows !== 1n) return false
    step('keys: ring taken')
    if (changes.remove.length > 0) await transaction.deleteFrom('keys').where('kid', 'in', changes.remove).execute()
    step('keys: dead ones deleted')
    for (const { kid, activatesAt, expiresAt } of changes.move) {
      await transaction.updateTable('keys').set({ activates_at: activatesAt, expires_at: expiresAt }).where('kid', '=', kid).execute()
    }
    step('keys: times moved')
    if (created !== null) await transaction.insertInto('keys').values(created).execute()
    step('keys: next key written')
    return true
  })
}

/** A thumbprint holds no space, so the two cannot run into each other. */
function sealedFor (algorithm: string, kid: string): string {
  return `${algorithm} ${kid}`
}
