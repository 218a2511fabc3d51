/** The command line as a whole: every command, its arguments and its help. What a command does is its file's matter. */
import { Command, Option } from 'commander'
import { collect, collectAttribute, collectHeader, collectMapping } from './arguments.ts'
import type { AttackCommandOptions } from './attack.ts'
import type { CheckOptions } from './check.ts'
import type { ConfigOption } from './config-option.ts'
import type { DemoOptions } from './demo.ts'
import type { ExplainOptions } from './explain.ts'
import type { ImportUsersOptions } from './import-users.ts'
import type { JsonOption, RotateOptions } from './keys.ts'
import type { AddOptions, PasswordOption } from './users.ts'
import { version } from './version.ts'

export function createProgram (): Command {
  const program = new Command('gatewarden')
    .description('A gateway that gives login to APIs that know nothing of it.')
    .version(version(), '-V, --version', 'print the version')
    // Commands inherit it: faults of usage come back as errors, and get this program's exit codes.
    .exitOverride()
    .addHelpText('after', '\nExit codes: 0 well, 1 failed, 2 wrong usage or wrong configuration.\n')

  // Whatever a command needs is loaded when it runs: help and a slip of the pen are answered without.
  program.command('start')
    .description('run the gateway; SIGHUP or a changed file reloads it, SIGTERM drains it')
    .addOption(config())
    .addHelpText('after', example('gatewarden start --config /etc/gatewarden/config.yaml'))
    .action(async (options: ConfigOption) => { await (await import('./start.ts')).start(options) })

  program.command('check')
    .description('show every fault and every danger of a configuration, each with its place')
    .addOption(config())
    .option('--json', 'print JSON: {ok, faults, warnings}')
    .option('--strict', 'exit 1 where there are warnings')
    .addHelpText('after', example('gatewarden check --config config.yaml'))
    .action(async (options: CheckOptions) => { (await import('./check.ts')).check(options) })

  program.command('attack')
    .description('run every known attack against this configuration: started on loopback, before a recorder, with storage and keys of its own')
    .addOption(config())
    .option('--json', 'print JSON: {held, classes, bound, dialled, strangers, leftOut, milliseconds}')
    .addHelpText('after', example('gatewarden attack --config config.yaml'))
    .action(async (options: AttackCommandOptions) => { await (await import('./attack.ts')).attack(options) })

  program.command('demo')
    .description('show the whole story as real HTTP exchanges, then stay up for trying')
    .option('--once', 'end after the story; exit 1 if it did not go as told')
    .addHelpText('after', example('gatewarden demo --once'))
    .action(async (options: DemoOptions) => { await (await import('./demo.ts')).demo(options) })

  program.command('explain').argument('<method>', 'of the request, such as GET').argument('<path>', 'of the request, such as /admin/x')
    .description('show what would become of a request: route, rule, decision, and what the upstream would get')
    .addOption(config())
    .option('-t, --token <token>', 'the access token that it would carry; - reads it from standard input')
    .addOption(new Option('-H, --header <name: value>', 'a header that it would carry; may be repeated').argParser(collectHeader).default([], 'none'))
    .option('--json', 'print JSON: {request, route, rule, caller, decision, upstream}')
    .addHelpText('after', example('gatewarden explain GET /admin/x --token "$TOKEN"'))
    .action(async (method: string, path: string, options: ExplainOptions) => { await (await import('./explain.ts')).explain(method, path, options) })

  addUsers(program.command('users').description('who is kept in storage').addHelpText('after', example('gatewarden users list')))
  addStorage(program.command('storage').description('where users, sessions and keys are kept').addHelpText('after', example('gatewarden storage migrate')))
  addKeys(program.command('keys').description('the keys that sign access tokens').addHelpText('after', example('gatewarden keys list')))
  return program
}

function addUsers (users: Command): void {
  users.command('add').argument('<name>', 'what they log in with')
    .description('add a user; prints the new id')
    .addOption(config())
    .addOption(passwordStdin())
    .option('-r, --role <role>', 'a role; may be repeated', collect, [])
    .option('-s, --scope <scope>', 'a scope; may be repeated', collect, [])
    .addOption(new Option('-a, --attribute <key=value>', 'an attribute, for identity headers; a value that is JSON is taken as such').argParser(collectAttribute).default({}, 'none'))
    .option('--json', 'print JSON: {id, name}')
    .addHelpText('after', example('echo "$PASSWORD" | gatewarden users add alice --password-stdin --role admin --attribute email=alice@example.com'))
    .action(async (name: string, options: AddOptions) => { await (await import('./users.ts')).addUser(name, options) })

  users.command('list')
    .description('show all users')
    .addOption(config())
    .option('--json', 'print JSON: a list of {id, name, roles, scopes, attributes, disabled, createdAt}')
    .addHelpText('after', example('gatewarden users list --json'))
    .action(async (options: JsonOption) => { await (await import('./users.ts')).listUsers(options) })

  users.command('import').argument('<file>', 'CSV with a first line of names, or JSON: a list of users, or one after another')
    .description('add the users of another system, with their password hashes as they are: all of them, or none')
    .addOption(config())
    .option('--dry-run', 'check everything, and change nothing; exit 1 if somebody is refused')
    .option('--skip-refused', 'leave out those who are refused, and import the others')
    .addOption(new Option('-m, --map <field=column>', 'what the file calls a field: id, name, password_hash, roles, scopes, attributes, disabled; may be repeated. What is none of these becomes an attribute').argParser(collectMapping).default({}, 'as they are'))
    .option('--json', 'print JSON: {imported, accepted, refused: [{line, record, name, reason}], dryRun}')
    .addHelpText('after', example('gatewarden users import users.csv --map name=email --map password_hash=pw --dry-run'))
    .action(async (file: string, options: ImportUsersOptions) => { await (await import('./import-users.ts')).importUsersFrom(file, options) })

  users.command('passwd').argument('<name>')
    .description('set the password of a user; their sessions end')
    .addOption(config())
    .addOption(passwordStdin())
    .addHelpText('after', example('gatewarden users passwd alice'))
    .action(async (name: string, options: PasswordOption) => { await (await import('./users.ts')).setPassword(name, options) })

  const change = (verb: 'disable' | 'enable' | 'remove', description: string) => users.command(verb).argument('<name>')
    .description(description)
    .addOption(config())
    .addHelpText('after', example(`gatewarden users ${verb} alice`))
    .action(async (name: string, options: ConfigOption) => {
      await (await import('./users.ts')).withUsers(options, async (store) => { await store[verb](name) })
    })
  change('disable', 'refuse a user; their sessions end at once')
  change('enable', 'let a disabled user log in again')
  change('remove', 'delete a user; their sessions end at once')
}

function addStorage (storage: Command): void {
  storage.command('migrate')
    .description('bring the tables up to date, as a start does')
    .addOption(config())
    .addHelpText('after', example('gatewarden storage migrate'))
    .action(async (options: ConfigOption) => { await (await import('./storage.ts')).migrateStorage(options) })

  storage.command('copy').argument('<from>', 'the storage before, such as sqlite:./data/gatewarden.db; its gateway is stopped')
    .description('fill the configured storage, which is empty, from another one: under the same master key nobody is logged out')
    .addOption(config())
    .option('--json', 'print JSON: table → rows')
    .addHelpText('after', example('GATEWARDEN_MASTER_KEY_FILE=./data/master.key gatewarden storage copy sqlite:./data/gatewarden.db'))
    .action(async (from: string, options: JsonOption) => { await (await import('./storage.ts')).copyToStorage(from, options) })
}

function addKeys (keys: Command): void {
  keys.command('list')
    .description('show the keys: the next one, the one that signs, those that still verify')
    .addOption(config())
    .option('--json', 'print JSON: a list of {kid, algorithm, state, createdAt, activatesAt, expiresAt}')
    .addHelpText('after', example('gatewarden keys list --json'))
    .action(async (options: JsonOption) => { await (await import('./keys.ts')).listKeys(options) })

  keys.command('rotate')
    .description('make the next key; it signs once every verifier can have fetched it (keys.publishAhead)')
    .addOption(config())
    .option('--now', 'let it sign at once; verifiers with an old copy of the JWKS refuse its tokens until they fetch it anew')
    .option('--json', 'print JSON: the key, as in list')
    .addHelpText('after', example('gatewarden keys rotate'))
    .action(async (options: RotateOptions) => { await (await import('./keys.ts')).rotateKeys(options) })
}

function config (): Option {
  return new Option('-c, --config <file>', 'the configuration').default('./config.yaml')
}

function passwordStdin (): Option {
  return new Option('--password-stdin', 'read the password from standard input instead of asking for it')
}

/** The last part of a command's help. */
function example (line: string): string {
  return `\nExample:\n  $ ${line}\n`
}
