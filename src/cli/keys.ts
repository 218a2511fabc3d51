/** `gatewarden keys`: which keys sign and verify, and the next one. A running gateway notices by itself. */
import type { Command } from 'commander'
import { openPersistentState } from '../persistent-state.ts'
import { openKeyRing, type KeyRing, type KeyView } from '../tokens/key-ring.ts'
import { configOption, example, loadOrThrow, type ConfigOption } from './config-option.ts'
import { print, printJson, printTable } from './print.ts'

interface JsonOption extends ConfigOption {
  readonly json?: true
}

export function addKeys (program: Command): void {
  const keys = program.command('keys').description('the keys that sign access tokens')
    .addHelpText('after', example('gatewarden keys list'))

  keys.command('list')
    .description('show the keys: the next one, the one that signs, those that still verify')
    .addOption(configOption())
    .option('--json', 'print JSON: a list of {kid, algorithm, state, createdAt, activatesAt, expiresAt}')
    .addHelpText('after', example('gatewarden keys list --json'))
    .action(list)

  keys.command('rotate')
    .description('make the next key; it signs once every verifier can have fetched it (keys.publishAhead)')
    .addOption(configOption())
    .option('--now', 'let it sign at once; verifiers with an old copy of the JWKS refuse its tokens until they fetch it anew')
    .option('--json', 'print JSON: the key, as in list')
    .addHelpText('after', example('gatewarden keys rotate'))
    .action(rotate)
}

async function list (options: JsonOption): Promise<void> {
  await withKeys(options, async (ring) => {
    const keys = ring.list().map(inIsoTime)
    if (options.json === true) printJson(keys)
    else printTable(['kid', 'algorithm', 'state', 'made', 'signs from', 'verifies until'], keys.map(({ kid, algorithm, state, createdAt, activatesAt, expiresAt }) => [kid, algorithm, state, createdAt ?? '-', activatesAt ?? '-', expiresAt ?? '-']))
  })
}

async function rotate (options: JsonOption & { readonly now?: true }): Promise<void> {
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
