/** `gatewarden keys …`: the signing keys kept in storage. A running gateway sees each change at once. */
import type { Config } from '../config/schema.ts'
import { openPersistentState } from '../persistent-state.ts'
import { openKeyRing, type KeyRing, type KeyView } from '../tokens/key-ring.ts'
import type { Io } from './io.ts'
import { openConfig } from './open-config.ts'
import { table } from './table.ts'

export interface KeysOptions {
  readonly config: string
  readonly json?: boolean
}

export async function listKeys (options: KeysOptions, io: Io): Promise<number> {
  return await withKeys(options, io, async (keyRing) => { show(keyRing.list(), options, io) })
}

export async function rotateKeys (options: KeysOptions & { readonly immediately?: boolean }, io: Io): Promise<number> {
  return await withKeys(options, io, async (keyRing) => {
    show([await keyRing.rotate({ immediately: options.immediately === true })], options, io)
  })
}

async function withKeys (options: KeysOptions, io: Io, work: (keyRing: KeyRing) => Promise<void>): Promise<number> {
  const loaded = openConfig(options.config, io)
  if (loaded === null) return 2
  const { keyRing, close } = await openKeys(loaded.config, io)
  try {
    await work(keyRing)
    return 0
  } finally {
    await close()
  }
}

/** Throws a StartupFault. */
export async function openKeys (config: Config, io: Pick<Io, 'complain'>) {
  const { storage, masterKey, masterKeyCreated } = await openPersistentState(config)
  try {
    if (masterKeyCreated !== null) io.complain(`A master key was made: ${masterKeyCreated}. Keep a copy of it apart from the data.`)
    const keyRing = await openKeyRing({ config, db: storage.db, masterKey, now: Date.now })
    return {
      storage,
      keyRing,
      async close () {
        keyRing.close()
        await storage.close()
      },
    }
  } catch (error) {
    await storage.close()
    throw error
  }
}

function show (keys: readonly KeyView[], { json }: KeysOptions, io: Io): void {
  if (json === true) io.print(JSON.stringify(keys.map(withDates)))
  else for (const line of table(['KID', 'ALGORITHM', 'STATE', 'SIGNS FROM', 'VERIFIES UNTIL'], keys.map(cells))) io.print(line)
}

function withDates (key: KeyView) {
  return { ...key, createdAt: date(key.createdAt), activatesAt: date(key.activatesAt), expiresAt: date(key.expiresAt) }
}

function cells ({ kid, algorithm, state, activatesAt, expiresAt }: KeyView): string[] {
  return [kid, algorithm, state, date(activatesAt) ?? '', date(expiresAt) ?? '']
}

function date (time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}
