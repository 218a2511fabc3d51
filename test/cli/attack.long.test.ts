import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { attackClasses } from '../../src/attack/run.ts'
import { projectRoot, run } from './built-cli.ts'
import { cli, configFolder } from './running-cli.ts'

// Whole runs: seconds on a machine of its own, and others run beside them.
t.setTimeout(180_000)
t.test('the shipped config.yaml holds against everything, without a look at its storage', async (t) => {
  const folder = t.testdir({})
  const { code, stdout, stderr } = await run(['attack', '--config', join(projectRoot, 'config.yaml'), '--json'], { cwd: folder })
  t.equal(stderr, '')
  t.equal(code, 0, stdout.slice(0, 2_000))
  const report = JSON.parse(stdout) as { held: boolean, classes: { name: string, cases: number, controls: number, held: number }[], bound: string[], dialled: string[], milliseconds: number }
  t.equal(report.held, true)
  t.strictSame(report.classes.map(({ name }) => name), attackClasses.map(({ name }) => name))
  for (const { name, cases, controls, held } of report.classes) {
    // It has none.
    if (['hosts', 'other issuers', 'endpoint users'].includes(name)) t.equal(cases, 0, name)
    else t.ok(cases > 0 && controls > 0, name)
    t.equal(held, cases, name)
  }
  t.ok(report.classes.reduce((sum, { cases }) => sum + cases, 0) > 4_000)
  for (const address of [...report.bound, ...report.dialled]) t.match(address, /^127\.0\.0\.1:\d+$/)
  t.notOk(existsSync(join(folder, 'data')), 'the storage that it names is not made')
})

t.test('what gets through is shown by its bytes, and exits 1', async (t) => {
  const folder = configFolder(t, {
    routes: [
      { path: '/app', upstream: 'http://127.0.0.1:9', access: 'public', stripPrefix: true },
      { path: '/admin', upstream: 'http://127.0.0.1:9', access: { roles: ['admin'] } },
    ],
    accessToken: { algorithm: 'HS256', secret: '7c1f4be8d0a94f6f8a3b5e2d1c0f9e8d7c6b5a49382716f5e4d3c2b1a0f9e8d7' },
  })
  const { code, stdout, stderr } = await cli(folder, ['attack'])
  t.equal(code, 1)
  t.match(stderr, /^error: something got through: paths \(\d+\)\n$/)
  t.match(stdout, 'GOT THROUGH  paths: /app/admin/attack-probe')
  t.match(stdout, /^ {2}sent {11}GET \/app\/admin\/attack-probe HTTP\/1\.1\\r\\nHost: 127\.0\.0\.1:8080\\r\\n\\r\\n$/m)
  t.match(stdout, /^ {2}upstream saw {3}GET \/admin\/attack-probe HTTP\/1\.1\\r\\n/m)
  t.match(stdout, /^paths +\d+ +\d+ +\d+ +\d+ +GOT THROUGH$/m)
  t.match(stdout, /^forged tokens +\d+ +\d+ +\d+ +0 +held$/m)
  // A terminal obeys none of the bytes.
  t.notMatch(stdout, /[^\n -~]/)
})

t.test('a wrong configuration exits 2, and there is no way to name a target', async (t) => {
  const folder = t.testdir({ 'config.yaml': 'routes: []\n' })
  t.match(await cli(folder, ['attack']), { code: 2, stdout: '', stderr: /^\.\/config\.yaml:1:\d+ routes: / })
  for (const args of [['--target', 'http://example.com'], ['--url', 'http://example.com'], ['--host', 'example.com'], ['http://example.com']]) {
    t.match(await cli(folder, ['attack', ...args]), { code: 2, stdout: '', stderr: /^error: (?:unknown option|too many arguments)/ })
  }
})
