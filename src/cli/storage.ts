/** `gatewarden storage`: the schema brought up to date ahead of a start; everything copied to another engine, logins included. */
import { statSync } from 'node:fs'
import { StartupFault } from '../errors.ts'
import { openPersistentState } from '../persistent-state.ts'
import { copyStorage } from '../storage/copy.ts'
import { openStorage } from '../storage/open-storage.ts'
import { assertKeysOpen } from '../tokens/stored-key-ring.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import type { JsonOption } from './keys.ts'
import { print, printJson, printTable } from './print.ts'

export async function migrateStorage (options: ConfigOption): Promise<void> {
  const { config } = loadOrThrow(options.config)
  await (await openStorage(config.storage, { postgres: config.storageOptions, warn: toStderr })).close()
  print('up to date')
}

/** `from`: as `storage` is written. */
export async function copyToStorage (from: string, options: JsonOption): Promise<void> {
  const { config } = loadOrThrow(options.config)
  // An SQLite file that is not there would be made.
  if (from.startsWith('sqlite:') && statSync(from.slice('sqlite:'.length), { throwIfNoEntry: false }) === undefined) {
    throw new StartupFault(`there is no such file: ${from.slice('sqlite:'.length)}`)
  }
  const { storage: target, masterKey } = await openPersistentState(config, toStderr)
  try {
    const source = await openStorage(from, { postgres: config.storageOptions })
    try {
      // Under another master key no refresh token would be known, and no key open.
      await assertKeysOpen(source.db, masterKey)
      const counts = Object.entries(await copyStorage(source, target))
      if (options.json === true) printJson(Object.fromEntries(counts))
      else printTable(['table', 'rows'], counts.map(([name, count]) => [name, String(count)]))
    } finally {
      await source.close()
    }
  } finally {
    await target.close()
  }
}

function toStderr (message: string): void {
  process.stderr.write(`${message}\n`)
}
