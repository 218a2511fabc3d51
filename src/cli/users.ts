/** `gatewarden users …`: the users kept in storage. A running gateway sees each change at once. */
import { createPasswordHasher } from '../credentials/password-hash.ts'
import { createUserStore, type UserStore, type UserView } from '../credentials/user-store.ts'
import { openStorage } from '../storage/open-storage.ts'
import type { Io } from './io.ts'
import { openConfig } from './open-config.ts'
import { readPassword } from './password.ts'
import { table } from './table.ts'

export interface UsersOptions {
  readonly config: string
  readonly json?: boolean
}

export interface AddOptions extends UsersOptions, PasswordOptions {
  readonly role: readonly string[]
  readonly scope: readonly string[]
  readonly attribute: readonly (readonly [key: string, value: string])[]
}

export interface PasswordOptions extends UsersOptions {
  readonly passwordStdin?: boolean
}

export async function addUser (name: string, options: AddOptions, io: Io): Promise<number> {
  return await withUsers(options, io, async (users) => {
    const password = await readPassword(io, options.passwordStdin === true ? 'stdin' : 'terminal')
    const user = { roles: options.role, scopes: options.scope, attributes: attributesOf(options.attribute) }
    const id = await users.add({ name, password, ...user })
    io.print(options.json === true ? JSON.stringify({ id, name, ...user }) : id)
  })
}

export async function listUsers (options: UsersOptions, io: Io): Promise<number> {
  return await withUsers(options, io, async (users) => {
    const all = await users.list()
    if (options.json === true) io.print(JSON.stringify(all))
    else if (all.length === 0) io.complain('There are no users yet; `gatewarden users add NAME` makes one.')
    else for (const line of table(['NAME', 'ID', 'ROLES', 'SCOPES', 'STATE', 'CREATED'], all.map(cells))) io.print(line)
  })
}

export async function changePassword (name: string, options: PasswordOptions, io: Io): Promise<number> {
  return await withUsers(options, io, async (users) => {
    await users.setPassword(name, await readPassword(io, options.passwordStdin === true ? 'stdin' : 'terminal'))
    io.complain('The password is changed, and the sessions of before have ended.')
  })
}

export async function disableUser (name: string, options: UsersOptions, io: Io): Promise<number> {
  return await withUsers(options, io, async (users) => {
    await users.disable(name)
    io.complain('The user is disabled, and all sessions have ended.')
  })
}

export async function enableUser (name: string, options: UsersOptions, io: Io): Promise<number> {
  return await withUsers(options, io, async (users) => {
    await users.enable(name)
    io.complain('The user may log in.')
  })
}

export async function removeUser (name: string, options: UsersOptions, io: Io): Promise<number> {
  return await withUsers(options, io, async (users) => {
    await users.remove(name)
    io.complain('The user is removed, and all sessions have ended.')
  })
}

async function withUsers (options: UsersOptions, io: Io, work: (users: UserStore) => Promise<void>): Promise<number> {
  const loaded = openConfig(options.config, io)
  if (loaded === null) return 2
  const { config } = loaded
  const storage = await openStorage(config.storage)
  try {
    await work(createUserStore({
      db: storage.db,
      hasher: createPasswordHasher(config.passwords),
      minimumLength: config.passwords.minimumLength,
      now: Date.now,
    }))
    if (!config.credentials.some(({ type }) => type === 'store')) io.complain(`Mind that ${options.config} does not ask these users at a login: \`credentials\` has no \`type: store\`.`)
    return 0
  } finally {
    await storage.close()
  }
}

/** A key that is given twice is a list. */
function attributesOf (pairs: AddOptions['attribute']): Record<string, string | string[]> {
  const attributes = new Map<string, string[]>()
  for (const [key, value] of pairs) attributes.set(key, [...attributes.get(key) ?? [], value])
  return Object.fromEntries([...attributes].map(([key, values]) => [key, values.length === 1 ? values[0] ?? '' : values]))
}

function cells ({ name, id, roles, scopes, disabled, createdAt }: UserView): string[] {
  return [name, id, roles.join(','), scopes.join(','), disabled ? 'disabled' : 'enabled', createdAt]
}
