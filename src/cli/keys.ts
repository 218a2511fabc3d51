/** `gatewarden keys`: which keys sign and verify, and the next one. A running gateway notices by itself. */
import { openPersistentState } from '../persistent-state.ts'
import { openKeyRing, type KeyRing, type KeyView } from '../tokens/key-ring.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import { print, printJson, printTable } from './print.ts'

export interface JsonOption extends ConfigOption {
  readonly json?: true
}

export interface RotateOptions extends JsonOption {
  readonly now?: true
}

export async function listKeys (options: JsonOption): Promise<void> {
  await withKeys(options, async (ring) => {
    const keys = ring.list().map(inIsoTime)
    if (options.json === true) printJson(keys)
    else printTable(['kid', 'algorithm', 'state', 'made', 'signs from', 'verifies until'], keys.map(({ kid, algorithm, state, createdAt, activatesAt, expiresAt }) => [kid, algorithm, state, createdAt ?? '-', activatesAt ?? '-', expiresAt ?? '-']))
  })
}

export async function rotateKeys (options: RotateOptions): Promise<void> {
  await withKeys(options, async (ring) => {
    const key = inIsoTime(await ring.rotate({ immediately: options.now === true }))
    if (options.json === true) printJson(key)
    else print(`${key.kid} ${key.state === 'signing' ? 'signs' : 'will sign'} from ${key.activatesAt ?? 'now'}`)
  })
}

async function withKeys (options: ConfigOption, work: (ring: KeyRing) => Promise<void>): Promise<void> {
  const { config } = loadOrThrow(options.config)
  const { storage, masterKey, masterKeyCreated } = await openPersistentState(config)
  try {
    if (masterKeyCreated !== null) process.stderr.write(`made a master key: ${masterKeyCreated}; keep a copy of it, apart from the data\n`)
    const ring = await openKeyRing({ config, db: storage.db, masterKey, now: Date.now })
    try {
      await work(ring)
    } finally {
      ring.close()
    }
  } finally {
    await storage.close()
  }
}

function inIsoTime ({ kid, algorithm, state, createdAt, activatesAt, expiresAt }: KeyView) {
  return { kid, algorithm, state, createdAt: iso(createdAt), activatesAt: iso(activatesAt), expiresAt: iso(expiresAt) }
}

function iso (time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}
