/** `gatewarden users`: who is kept in storage. A running gateway notices by itself. */
import type { Config } from '../config/schema.ts'
import { createNewPasswordFault, type NewPasswordFault } from '../credentials/new-password.ts'
import { createPasswordHasher } from '../credentials/password-hash.ts'
import { createUserStore, type UserStore, type UserView } from '../credentials/user-store.ts'
import { openStorage } from '../storage/open-storage.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import type { JsonOption } from './keys.ts'
import { readPassword } from './password.ts'
import { print, printJson, printJsonPages, printTablePages } from './print.ts'

export interface PasswordOption extends ConfigOption {
  readonly passwordStdin?: true
}

export interface AddOptions extends PasswordOption {
  readonly role: readonly string[]
  readonly scope: readonly string[]
  readonly attribute: Readonly<Record<string, unknown>>
  readonly json?: true
}

export async function addUser (name: string, options: AddOptions): Promise<void> {
  await withUsers(options, async (store) => {
    const { role: roles, scope: scopes, attribute: attributes } = options
    const id = await store.add({ name, password: await readPassword(options), roles, scopes, attributes })
    if (options.json === true) printJson({ id, name })
    else print(id)
  })
}

export async function listUsers (options: JsonOption): Promise<void> {
  await withUsers(options, async (store) => {
    if (options.json === true) await printJsonPages(store.list())
    else await printTablePages(['name', 'id', 'roles', 'scopes', 'state', 'added'], rowsOf(store.list()))
  })
}

async function * rowsOf (pages: AsyncIterable<readonly UserView[]>): AsyncGenerator<string[][]> {
  for await (const users of pages) {
    yield users.map(({ name, id, roles, scopes, disabled, createdAt }) => [name, id, roles.join(','), scopes.join(' '), disabled ? 'disabled' : 'active', createdAt])
  }
}

export async function setPassword (name: string, options: PasswordOption): Promise<void> {
  await withUsers(options, async (store) => { await store.setPassword(name, await readPassword(options)) })
}

export async function withUsers (options: ConfigOption, work: (store: UserStore) => Promise<void>): Promise<void> {
  const { config } = loadOrThrow(options.config)
  const storage = await openStorage(config.storage, { postgres: config.storageOptions })
  try {
    await work(createUserStore({
      db: storage.db,
      hasher: createPasswordHasher(config.passwords),
      newPasswordFault: newPasswordFaultOf(config),
      now: Date.now,
    }))
  } finally {
    await storage.close()
  }
}

/** The name of the service is the first thing to try: of the issuer's host, each part that is a name. */
function newPasswordFaultOf ({ issuer, passwords }: Config): NewPasswordFault {
  const { hostname } = new URL(issuer)
  return createNewPasswordFault({
    minimumLength: passwords.minimumLength,
    blockListFile: passwords.blockList?.file,
    contextWords: [hostname, ...hostname.split('.')],
  })
}
