#!/usr/bin/env node
/** The command line: arguments, exit codes, and the process's own streams. What a command does is in cli/, a file each. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { StartupFault } from './errors.ts'
import { UsageFault, type Io } from './cli/io.ts'
import type { AddOptions, PasswordOptions, UsersOptions } from './cli/users.ts'
import type { KeysOptions } from './cli/keys.ts'

/** 0 well, 1 failed, 2 wrong usage or wrong configuration. */
async function main (): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', leaveClosedPipe)
  try {
    await program().parseAsync()
  } catch (error) {
    process.exitCode = exitCodeOf(error)
  }
}

function exitCodeOf (error: unknown): number {
  // Commander has said what was wrong, or shown the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  io.complain(`gatewarden: ${error instanceof Error ? oneLine(error.message) : 'failed'}`)
  if (error instanceof UsageFault) return 2
  if (!(error instanceof StartupFault)) io.complain('gatewarden: this is a fault of Gatewarden; please report it')
  return 1
}

function program (): Command {
  const gatewarden = new Command('gatewarden')
    .description('A gateway that gives login to APIs that know nothing of it.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .configureHelp({ showGlobalOptions: false })
    .showHelpAfterError('(--help tells more)')
    .exitOverride()

  configured(gatewarden.command('start'), 'Run the gateway. SIGTERM drains, SIGHUP or a changed file reloads.', 'gatewarden start --config /etc/gatewarden/config.yaml')
    .action(run(async (options: { config: string }) => (await import('./cli/start.ts')).start(options, io, version)))

  configured(gatewarden.command('check'), 'Show every fault and every danger of the configuration.', 'gatewarden check --json')
    .option('--json', 'print JSON')
    .action(run(async (options: { config: string, json?: boolean }) => (await import('./cli/check.ts')).check({ config: options.config, json: options.json === true }, io)))

  gatewarden.command('demo')
    .description('Show the whole story as real HTTP exchanges, and stay up for trying.')
    .option('--once', 'end after the story')
    .addHelpText('after', example('gatewarden demo --once'))
    .action(run(async (options: { once?: boolean }) => (await import('./cli/demo.ts')).demo(options, io)))

  configured(gatewarden.command('explain'), 'Show route, rule, decision, and the request that the upstream would get. Nothing is sent.', 'gatewarden explain GET /admin/x --token "$TOKEN"')
    .argument('<method>')
    .argument('<path>', 'with its query, as a client sends it')
    .option('--token <token>', 'access token of the caller')
    .option('--header <line>', 'header of the request, as in "Accept: text/plain"; may be repeated', collect(headerLine), [])
    .option('--json', 'print JSON')
    .action(async (method: string, path: string, options: ExplainArguments) => {
      finish(await (await import('./cli/explain.ts')).explain({ method, path, ...options }, io))
    })

  addUsers(gatewarden.command('users').description('Manage the users kept in storage.'))
  addKeys(gatewarden.command('keys').description('Manage the signing keys kept in storage.'))
  return gatewarden
}

interface ExplainArguments {
  readonly config: string
  readonly token?: string
  readonly header: readonly (readonly [string, string])[]
  readonly json?: boolean
}

function addUsers (users: Command): void {
  configured(users.command('add'), 'Add a user; prints the new id. The password is asked for.', 'gatewarden users add alice --role admin --attribute email=alice@example.com')
    .argument('<name>')
    .option('--password-stdin', 'read the password from standard input')
    .option('--role <role>', 'may be repeated', collect(String), [])
    .option('--scope <scope>', 'may be repeated', collect(String), [])
    .option('--attribute <key=value>', 'may be repeated; of one key, it makes a list', collect(keyAndValue), [])
    .option('--json', 'print JSON')
    .action(async (name: string, options: AddOptions) => { finish(await (await import('./cli/users.ts')).addUser(name, options, io)) })

  configured(users.command('list'), 'List the users.', 'gatewarden users list --json')
    .option('--json', 'print JSON')
    .action(run(async (options: UsersOptions) => (await import('./cli/users.ts')).listUsers(options, io)))

  configured(users.command('passwd'), 'Change a password, and end the sessions of the user.', 'gatewarden users passwd alice')
    .argument('<name>')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (name: string, options: PasswordOptions) => { finish(await (await import('./cli/users.ts')).changePassword(name, options, io)) })

  configured(users.command('disable'), 'Refuse a user, and end the sessions at once.', 'gatewarden users disable alice')
    .argument('<name>')
    .action(async (name: string, options: UsersOptions) => { finish(await (await import('./cli/users.ts')).disableUser(name, options, io)) })

  configured(users.command('enable'), 'Let a disabled user log in again.', 'gatewarden users enable alice')
    .argument('<name>')
    .action(async (name: string, options: UsersOptions) => { finish(await (await import('./cli/users.ts')).enableUser(name, options, io)) })

  configured(users.command('remove'), 'Delete a user, and end the sessions at once.', 'gatewarden users remove alice')
    .argument('<name>')
    .action(async (name: string, options: UsersOptions) => { finish(await (await import('./cli/users.ts')).removeUser(name, options, io)) })
}

function addKeys (keys: Command): void {
  configured(keys.command('list'), 'List the keys: which signs, which verify, until when.', 'gatewarden keys list')
    .option('--json', 'print JSON')
    .action(run(async (options: KeysOptions) => (await import('./cli/keys.ts')).listKeys(options, io)))

  configured(keys.command('rotate'), 'Make the next key. It is published first, and signs after keys.publishAhead.', 'gatewarden keys rotate --immediately')
    .option('--immediately', 'sign with it at once: for a key that others may know')
    .option('--json', 'print JSON')
    .action(run(async (options: KeysOptions & { immediately?: boolean }) => (await import('./cli/keys.ts')).rotateKeys(options, io)))
}

function configured (command: Command, description: string, how: string): Command {
  return command
    .description(description)
    .option('-c, --config <file>', 'the configuration', './config.yaml')
    .addHelpText('after', example(how))
}

function example (how: string): string {
  return `\nExample:\n  $ ${how}`
}

/** An action of a command without arguments. */
function run<Options> (action: (options: Options) => Promise<number | null>): (options: Options) => Promise<void> {
  return async (options) => { finish(await action(options)) }
}

/** null: it goes on. The process ends by itself, when everything is written. */
function finish (code: number | null): void {
  if (code !== null) process.exitCode = code
}

function collect<Value> (parse: (text: string) => Value): (text: string, before: readonly Value[]) => Value[] {
  return (text, before) => [...before, parse(text)]
}

function keyAndValue (text: string): readonly [string, string] {
  const [, key, value] = /^([^=]+)=([\s\S]*)$/.exec(text) ?? []
  if (key === undefined || value === undefined) throw new InvalidArgumentError('Write key=value.')
  return [key, value]
}

function headerLine (text: string): readonly [string, string] {
  const [, name, value] = /^([^\s:]+):[ \t]*([^\r\n]*)$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new InvalidArgumentError('Write "Name: value".')
  return [name, value]
}

/** `… | head` has what it wanted. */
function leaveClosedPipe (error: NodeJS.ErrnoException): void {
  process.exit(error.code === 'EPIPE' ? 0 : 1)
}

function oneLine (text: string): string {
  return text.replace(/\s*\n\s*/g, ' ')
}

const io: Io = {
  print: (line) => { process.stdout.write(`${line}\n`) },
  complain: (line) => { process.stderr.write(`${line}\n`) },
  stdin: process.stdin,
  stderr: process.stderr,
  colours: process.stdout.hasColors?.() === true && process.env['NO_COLOR'] === undefined,
}

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

await main()
