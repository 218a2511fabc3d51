/** What outlives the process, as the server and the command line open it alike: the storage, and the master key beside it. */
import { dirname, join } from 'node:path'
import type { Config } from './config/schema.ts'
import type { Storage } from './storage/database.ts'
import { isPostgresUrl, openStorage } from './storage/open-storage.ts'
import { openMasterKey, type MasterKey } from './tokens/master-key.ts'

export interface PersistentState {
  readonly storage: Storage
  readonly masterKey: MasterKey
  /** Path of the master key's file, if this start made it. */
  readonly masterKeyCreated: string | null
  /** What an operator should know of how the master key is kept; null if nothing. */
  readonly masterKeyWarning: string | null
}

/** Throws a StartupFault. Whoever opens it closes `storage`. `warn` is told of what is allowed but unwise about that. */
export async function openPersistentState (config: Pick<Config, 'storage' | 'storageOptions' | 'keys'>, warn: (message: string) => void = () => {}): Promise<PersistentState> {
  const storage = await openStorage(config.storage, { postgres: config.storageOptions, warn })
  try {
    const { masterKey, created, warning } = openMasterKey({
      configured: config.keys.masterKey,
      // Replicas on one database share one key, which none of their folders holds.
      fileBesideData: isPostgresUrl(config.storage) ? null : join(dirname(config.storage.replace(/^sqlite:/, '')), 'master.key'),
    })
    return { storage, masterKey, masterKeyCreated: created, masterKeyWarning: warning }
  } catch (error) {
    await storage.close()
    throw error
  }
}
