import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import t from 'tap'
import { buildIfStale, launch, run, until } from './built-cli.ts'

t.before(buildIfStale)

t.test('the story goes as told, from the first refusal to the logout, and ends with 0', async (t) => {
  const { code, stdout, stderr } = await run(['demo', '--once'])
  t.equal(code, 0, stderr)
  t.notMatch(stdout, '✗')
  const told = stdout.split('\n').map((line) => line.trim()).filter((line) => /^(\d+\.|✓|\$|HTTP)/.test(line))
  const chapters = told.filter((line) => /^\d+\./.test(line))
  t.same(chapters.map((line) => line.replace(/^\d+\. /, '').split(/[:;]| not /)[0]), [
    'Without a token the API is',
    'What is public is served',
    'Login',
    'A verified request, and what the API saw of it',
    'A rule that the user does',
    'A forged token',
    'The access token expires',
    'Somebody has stolen the refresh token that was used just now, and tries it',
    'Logout holds at once, for the access token too',
  ])
  t.equal(told.filter((line) => line.startsWith('✓')).length, chapters.length)
  t.same(statuses(stdout), [401, 200, 200, 200, 403, 401, 401, 200, 200, 401, 401, 200, 200, 204, 401])
  for (const code of ['GW_TOKEN_MISSING', 'GW_ACCESS_DENIED', 'GW_TOKEN_INVALID', 'GW_TOKEN_EXPIRED', 'GW_REFRESH_TOKEN_INVALID', 'GW_SESSION_ENDED']) t.match(stdout, code)
  t.match(stdout, /the API saw x-user-id: [0-9a-f-]{36}/)
  t.match(stdout, 'the API saw authorization: (none)')
  t.match(stdout, '"event":"reuse"')
})

t.test('what is written to a pipe has no colours, and never a whole token', async (t) => {
  const { stdout } = await run(['demo', '--once'])
  t.notMatch(stdout, '\u001b')
  t.notMatch(stdout, /eyJ[\w-]+\.[\w-]+\.[\w-]+/, 'no access token')
  t.notMatch(stdout, /gwr_[\w-]{20}/, 'no refresh token')
})

t.test('it stays up, every curl line of the story can be run again, and Ctrl-C leaves nothing behind', async (t) => {
  const demo = launch(['demo'])
  t.teardown(() => demo.child.kill('SIGKILL'))
  await until(() => demo.output.stdout.includes('Ctrl-C ends it'), demo)
  const [, tokens = ''] = /^ {2}\. (\S+)$/m.exec(demo.output.stdout) ?? []
  t.ok(existsSync(tokens), 'the variables are there')

  const lines = demo.output.stdout.split('\n').map((line) => line.trim()).filter((line) => line.startsWith('$ curl ')).map((line) => line.slice(2))
  const expected = statuses(demo.output.stdout)
  t.equal(lines.length, expected.length)
  const answered = await shell(`. ${tokens}\n${lines.map((line) => `${line} -s`).join('\necho\n')}`)
  if (answered === null) t.comment('there is no curl here: its lines were not run')
  else t.same(statuses(answered), expected)

  demo.child.kill('SIGINT')
  t.same(await once(demo.child, 'close'), [0, null])
  t.notOk(existsSync(dirname(tokens)), 'the folder is gone')
  t.equal(demo.output.stderr, '')
})

t.test('a signal in the middle of the story ends it', async (t) => {
  const demo = launch(['demo', '--once'])
  t.teardown(() => demo.child.kill('SIGKILL'))
  await until(() => demo.output.stdout.includes('(a few seconds later)'), demo)
  const started = Date.now()
  demo.child.kill('SIGTERM')
  await once(demo.child, 'close')
  t.ok(Date.now() - started < 3_000, 'and is not waited for')
})

function statuses (text: string): number[] {
  return [...text.matchAll(/^\s*HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status))
}

/** null where there is no curl. */
async function shell (script: string): Promise<string | null> {
  return await new Promise((resolve) => {
    execFile('sh', ['-c', `command -v curl >/dev/null || exit 127\n${script}`], { encoding: 'utf8' }, (error, stdout) => {
      resolve(error?.code === 127 ? null : stdout)
    })
  })
}
