/** `gatewarden users`: who is kept in storage. A running gateway notices by itself. */
import type { Command } from 'commander'
import { InvalidArgumentError, Option } from 'commander'
import { createPasswordHasher } from '../credentials/password-hash.ts'
import { createUserStore, type UserStore } from '../credentials/user-store.ts'
import { openStorage } from '../storage/open-storage.ts'
import { configOption, example, loadOrThrow, type ConfigOption } from './config-option.ts'
import { readPassword } from './password.ts'
import { print, printJson, printTable } from './print.ts'

interface PasswordOption extends ConfigOption {
  readonly passwordStdin?: true
}

interface AddOptions extends PasswordOption {
  readonly role: readonly string[]
  readonly scope: readonly string[]
  readonly attribute: Readonly<Record<string, unknown>>
  readonly json?: true
}

export function addUsers (program: Command): void {
  const users = program.command('users').description('who is kept in storage')
    .addHelpText('after', example('gatewarden users list'))

  users.command('add').argument('<name>', 'what they log in with')
    .description('add a user; prints the new id')
    .addOption(configOption())
    .addOption(passwordStdin())
    .option('-r, --role <role>', 'a role; may be repeated', collect, [])
    .option('-s, --scope <scope>', 'a scope; may be repeated', collect, [])
    .addOption(new Option('-a, --attribute <key=value>', 'an attribute, for identity headers; a value that is JSON is taken as such').argParser(collectAttribute).default({}, 'none'))
    .option('--json', 'print JSON: {id, name}')
    .addHelpText('after', example('echo "$PASSWORD" | gatewarden users add alice --password-stdin --role admin --attribute email=alice@example.com'))
    .action(add)

  users.command('list')
    .description('show all users')
    .addOption(configOption())
    .option('--json', 'print JSON: a list of {id, name, roles, scopes, attributes, disabled, createdAt}')
    .addHelpText('after', example('gatewarden users list --json'))
    .action(list)

  users.command('passwd').argument('<name>')
    .description('set the password of a user; their sessions end')
    .addOption(configOption())
    .addOption(passwordStdin())
    .addHelpText('after', example('gatewarden users passwd alice'))
    .action(async (name: string, options: PasswordOption) => {
      await withUsers(options, async (store) => { await store.setPassword(name, await readPassword(options)) })
    })

  users.command('disable').argument('<name>')
    .description('refuse a user; their sessions end at once')
    .addOption(configOption())
    .addHelpText('after', example('gatewarden users disable alice'))
    .action(async (name: string, options: ConfigOption) => { await withUsers(options, async (store) => { await store.disable(name) }) })

  users.command('enable').argument('<name>')
    .description('let a disabled user log in again')
    .addOption(configOption())
    .addHelpText('after', example('gatewarden users enable alice'))
    .action(async (name: string, options: ConfigOption) => { await withUsers(options, async (store) => { await store.enable(name) }) })

  users.command('remove').argument('<name>')
    .description('delete a user; their sessions end at once')
    .addOption(configOption())
    .addHelpText('after', example('gatewarden users remove alice'))
    .action(async (name: string, options: ConfigOption) => { await withUsers(options, async (store) => { await store.remove(name) }) })
}

async function add (name: string, options: AddOptions): Promise<void> {
  await withUsers(options, async (store) => {
    const { role: roles, scope: scopes, attribute: attributes } = options
    const id = await store.add({ name, password: await readPassword(options), roles, scopes, attributes })
    if (options.json === true) printJson({ id, name })
    else print(id)
  })
}

async function list (options: ConfigOption & { readonly json?: true }): Promise<void> {
  await withUsers(options, async (store) => {
    const users = await store.list()
    if (options.json === true) {
      printJson(users)
      return
    }
    printTable(['name', 'id', 'roles', 'scopes', 'state', 'added'], users.map(({ name, id, roles, scopes, disabled, createdAt }) =>
      [name, id, roles.join(','), scopes.join(' '), disabled ? 'disabled' : 'active', createdAt]))
  })
}

async function withUsers (options: ConfigOption, work: (store: UserStore) => Promise<void>): Promise<void> {
  const { config } = loadOrThrow(options.config)
  const storage = await openStorage(config.storage)
  try {
    await work(createUserStore({
      db: storage.db,
      hasher: createPasswordHasher(config.passwords),
      minimumLength: config.passwords.minimumLength,
      now: Date.now,
    }))
  } finally {
    await storage.close()
  }
}

function passwordStdin (): Option {
  return new Option('--password-stdin', 'read the password from standard input instead of asking for it')
}

function collect (value: string, before: readonly string[]): string[] {
  return [...before, value]
}

function collectAttribute (pair: string, before: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const [, key, value] = /^([^=\s]+)=(.*)$/s.exec(pair) ?? []
  if (key === undefined || value === undefined) throw new InvalidArgumentError('It is written key=value.')
  return { ...before, [key]: attributeValue(value) }
}

/** `true`, `42`, `["a","b"]`; whatever is no JSON is text. */
function attributeValue (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
