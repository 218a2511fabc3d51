/** `gatewarden users import`: users of another system into storage, with their hashes, roles and ids as they are. */
import { importUsers, type ImportReport } from '../credentials/user-import.ts'
import { StartupFault } from '../errors.ts'
import { openStorage } from '../storage/open-storage.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import { UsageFault } from './failure.ts'
import { print, printJson } from './print.ts'
import { readUserRecords } from './user-records.ts'

export interface ImportUsersOptions extends ConfigOption {
  readonly dryRun?: true
  readonly skipRefused?: true
  readonly map: Readonly<Record<string, string>>
  readonly json?: true
}

/** What a user is made of → what a file calls it, unless it is mapped. */
const fieldNames = { id: 'id', name: 'name', passwordHash: 'password_hash', roles: 'roles', scopes: 'scopes', attributes: 'attributes', disabled: 'disabled' }

export async function importUsersFrom (file: string, options: ImportUsersOptions): Promise<void> {
  const fields = mapped(options.map)
  const { config } = loadOrThrow(options.config)
  const storage = await openStorage(config.storage, { postgres: config.storageOptions })
  const dryRun = options.dryRun === true
  try {
    const report = await importUsers({
      db: storage.db, records: () => readUserRecords(file), fields, dryRun, skipRefused: options.skipRefused === true, now: Date.now, onProgress: progress(),
    })
    tell(file, report, dryRun, options.json === true)
  } finally {
    await storage.close()
  }
}

function mapped (map: Readonly<Record<string, string>>): typeof fieldNames {
  const known = new Map(Object.entries(fieldNames).map(([field, name]) => [name, field]))
  const unknown = Object.keys(map).find((name) => !known.has(name))
  if (unknown !== undefined) throw new UsageFault(`error: --map knows no ${JSON.stringify(unknown)}; it knows ${[...known.keys()].join(', ')}`)
  return { ...fieldNames, ...Object.fromEntries(Object.entries(map).map(([name, column]) => [known.get(name), column])) }
}

/** Nothing was imported, unless it says how many were. */
function tell (file: string, { imported, accepted, refused }: ImportReport, dryRun: boolean, json: boolean): void {
  if (json) printJson({ imported, accepted, refused, dryRun })
  else for (const { line, name, reason } of refused) process.stderr.write(`${file}:${line}: ${name === null ? '' : `${JSON.stringify(name)}: `}${reason}\n`)
  const count = `${refused.length} of ${accepted + refused.length} users ${refused.length === 1 ? 'is' : 'are'} refused`
  if (dryRun || imported > 0) {
    if (!json) print(dryRun ? `${accepted} users can be imported, ${count}; nothing was changed` : `${imported} users imported${refused.length > 0 ? `, ${count}` : ''}`)
    if (dryRun && refused.length > 0) process.exitCode = 1
    return
  }
  throw new StartupFault(accepted + refused.length === 0 ? `${file} holds no users` : `${count}, and so nothing was imported; correct them${accepted === 0 ? '' : ', or leave them out with --skip-refused'}`)
}

/** On a terminal alone: one line that counts. */
function progress (): (phase: string, count: number) => void {
  let shown = 0
  return (phase, count) => {
    if (!process.stderr.isTTY || performance.now() - shown < 200) return
    shown = performance.now()
    process.stderr.write(`\r${count} users ${phase}\u001b[K\r`)
  }
}
