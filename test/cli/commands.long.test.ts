import t from 'tap'
import { version } from '../../src/cli/version.ts'
import { run } from './built-cli.ts'
import { cli, configFolder } from './running-cli.ts'

const commands = ['start', 'check', 'attack', 'demo', 'explain', 'users add', 'users import', 'users list', 'users passwd', 'users disable', 'users enable', 'users remove', 'keys list', 'keys rotate']

t.test('every command has --help with one example, and takes --config', async (t) => {
  await Promise.all(commands.map(async (command) => {
    const { code, stdout, stderr } = await run([...command.split(' '), '--help'])
    t.equal(code, 0, command)
    t.equal(stderr, '')
    t.match(stdout, `Usage: gatewarden ${command}`)
    t.match(stdout, /\nExample:\n {2}\$ .*gatewarden /)
    // The demo brings its own.
    if (command !== 'demo') t.match(stdout, /-c, --config <file> .*\(default: "\.\/config\.yaml"\)/)
  }))
})

t.test('the help names every command, the exit codes, and costs no exit code of its own', async (t) => {
  const { code, stdout } = await run(['--help'])
  t.equal(code, 0)
  for (const command of ['start', 'check', 'attack', 'demo', 'explain', 'users', 'keys']) t.match(stdout, new RegExp(`^ {2}${command}\\b`, 'm'))
  t.match(stdout, 'Exit codes: 0 well, 1 failed, 2 wrong usage or wrong configuration.')
})

t.test('--version is that of package.json', async (t) => {
  t.match(await run(['--version']), { code: 0, stdout: `${version()}\n`, stderr: '' })
})

t.test('wrong usage exits 2, says what is wrong, and suggests what was meant', async (t) => {
  const wrong: readonly (readonly [args: string, says: RegExp])[] = [
    ['strat', /^error: unknown command 'strat'\n\(Did you mean start\?\)\n$/],
    ['users lst', /^error: unknown command 'lst'\n\(Did you mean list\?\)\n$/],
    ['start --confg x', /^error: unknown option '--confg'\n\(Did you mean --config\?\)\n$/],
    ['users disable', /^error: missing required argument 'name'\n$/],
    ['users add alice --attribute email', /^error: .*key=value\.\n$/],
    ['explain GET', /^error: missing required argument 'path'\n$/],
    ['start now', /^error: too many arguments/],
    ['', /^Usage: gatewarden /],
    ['users', /^Usage: gatewarden users /],
  ]
  await Promise.all(wrong.map(async ([args, says]) => {
    const { code, stdout, stderr } = await run(args.split(' ').filter((arg) => arg !== ''))
    t.equal(code, 2, args)
    t.equal(stdout, '', args)
    t.match(stderr, says, args)
  }))
})

t.test('a missing configuration exits 2 and says how to name one, whatever the command', async (t) => {
  const folder = t.testdir({})
  await Promise.all([['start'], ['users', 'list'], ['keys', 'list'], ['explain', 'GET', '/']].map(async (args) => {
    const { code, stderr } = await cli(folder, args)
    t.equal(code, 2)
    t.equal(stderr, './config.yaml:1:1 there is no such file; name one with --config FILE\n')
  }))
})

t.test('check prints each fault as file:line:column path: message and exits 2', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': 'isuer: http://localhost\nlisten: { port: 99999 }\nroutes:\n  - path: /api\n    upstream: http://127.0.0.1:3000\n',
  })
  const { code, stdout, stderr } = await cli(folder, ['check', '--config', 'gateway.yaml'])
  t.equal(code, 2)
  t.equal(stderr, '')
  const lines = stdout.trimEnd().split('\n')
  t.equal(lines.length, 3, stdout)
  t.match(lines, [/^gateway\.yaml:1:1 .*issuer/, /^gateway\.yaml:2:\d+ listen\.port: /, /^gateway\.yaml:4:\d+ routes\[0\].*access/])
  const asJson = await cli(folder, ['check', '--config', 'gateway.yaml', '--json'])
  t.equal(asJson.code, 2)
  t.match(JSON.parse(asJson.stdout), { ok: false, faults: [{ file: 'gateway.yaml', line: 1, column: 1 }, { path: 'listen.port' }, { line: 4 }], warnings: [] })
})

t.test('check prints each danger with its place, and exits 0', async (t) => {
  const folder = configFolder(t, { issuer: 'http://login.example.com', audience: 'orders', passwords: {} })
  const { code, stdout } = await cli(folder, ['check'])
  t.equal(code, 0)
  t.match(stdout, /^\.\/config\.yaml:\d+:\d+ issuer: .* \(warning\)\n\.\/config\.yaml: no faults, 1 warning\n$/)
  t.match(JSON.parse((await cli(folder, ['check', '--json'])).stdout), { ok: true, faults: [], warnings: [{ path: 'issuer' }] })
  t.match(await cli(folder, ['check', '--strict']), { code: 1, stdout: /1 warning\n$/, stderr: /^error: there are warnings/ })
  t.match(await cli(configFolder(t, { passwords: {} }), ['check', '--strict']), { code: 0, stdout: /no faults\n$/ })
})

t.test('a secret of the environment is used and not shown', async (t) => {
  const folder = configFolder(t, { accessToken: { algorithm: 'HS256', secret: '${JWT_SECRET}' } })
  const short = await run(['check'], { cwd: folder, env: { JWT_SECRET: 'hunter2hunter2' } })
  t.equal(short.code, 2)
  t.match(short.stdout, /accessToken\.secret: .*32/)
  t.notMatch(short.stdout + short.stderr, 'hunter2')
  t.equal((await run(['check'], { cwd: folder, env: { JWT_SECRET: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' } })).code, 0)
})
