import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname } from 'node:path'
import t from 'tap'
import { createStage } from '../../src/cli/demo-stage.ts'
import { launch, run, until } from './built-cli.ts'

t.test('the story goes as told, stays up so that each of its curl lines can be run again, and leaves nothing behind', async (t) => {
  const demo = launch(['demo'])
  t.teardown(() => demo.child.kill('SIGKILL'))
  await until(() => demo.output.stdout.includes('knows nothing of login'), demo)
  // A second one beside it takes other ports.
  const other = run(['demo', '--once'])
  await until(() => demo.output.stdout.includes('Ctrl-C ends it'), demo)
  const { stdout } = demo.output

  t.notMatch(stdout, '✗')
  const told = stdout.split('\n').map((line) => line.trim())
  const chapters = told.flatMap((line) => /^\d+\. (.+)$/.exec(line)?.[1] ?? [])
  t.same(chapters, [
    'Without a token the API is not reached',
    'What is public is served; who calls cannot be claimed there either',
    'Login: a short-lived access token, and a refresh token',
    'A verified request, and what the API saw of it',
    'A rule that the user does not meet',
    'A forged token: taken apart, another user put in, and signed with a key of the forger',
    'The access token expires; the refresh token buys the next one',
    'Somebody has stolen the refresh token that was used just now, and tries it',
    'Logout holds at once, for the access token too',
  ])
  t.equal(told.filter((line) => line.startsWith('✓')).length, chapters.length, 'each went as told')
  t.same(statuses(stdout), [401, 200, 200, 200, 403, 401, 401, 200, 200, 401, 401, 200, 200, 204, 401])
  for (const code of ['GW_TOKEN_MISSING', 'GW_ACCESS_DENIED', 'GW_TOKEN_INVALID', 'GW_TOKEN_EXPIRED', 'GW_REFRESH_TOKEN_INVALID', 'GW_SESSION_ENDED']) t.match(stdout, code)
  t.match(stdout, /the API saw x-user-id: [0-9a-f-]{36}/)
  t.match(stdout, 'the API saw authorization: (none)')
  t.match(stdout, '"event":"reuse"')
  t.notMatch(stdout, '\u001b', 'a pipe gets no colours')
  t.notMatch(stdout, /eyJ[\w-]+\.[\w-]+\.[\w-]+/, 'no whole access token')
  t.notMatch(stdout, /gwr_[\w-]{20}/, 'no whole refresh token')

  const [, tokens = ''] = /^ {2}\. (\S+)$/m.exec(stdout) ?? []
  t.ok(existsSync(tokens), 'the variables are there')
  const lines = told.filter((line) => line.startsWith('$ curl ')).map((line) => line.slice(2))
  const answered = await shell(`. ${tokens}\n${lines.map((line) => `${line} -s`).join('\necho\n')}`)
  if (answered === null) t.comment('there is no curl here: its lines were not run')
  else t.same(statuses(answered), statuses(stdout), 'run again, they are answered likewise')

  t.match(await other, { code: 0, stderr: '', stdout: /Logout holds at once/ }, 'with --once it ends after the story')
  demo.child.kill('SIGINT')
  t.same(await once(demo.child, 'close'), [0, null])
  t.equal(demo.output.stderr, '')
  t.notOk(existsSync(dirname(tokens)), 'the folder is gone')
})

t.test('a signal in the middle of the story ends it', async (t) => {
  const demo = launch(['demo', '--once'])
  t.teardown(() => demo.child.kill('SIGKILL'))
  await until(() => demo.output.stdout.includes('(a few seconds later)'), demo)
  demo.child.kill('SIGTERM')
  await once(demo.child, 'close')
  t.notMatch(demo.output.stdout, 'GW_TOKEN_EXPIRED', 'what would have come next has not come')
})

t.test('an answer that is not as told is remembered, and fails what is concluded from it', async (t) => {
  const server = createServer((_request, response) => { response.writeHead(200).end('{}') })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close() })
  const stage = createStage({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, colours: false })
  stage.check('everything is public', await stage.exchange({ path: '/', status: 200 }))
  t.same(stage.failures(), [])
  stage.check('it is protected', await stage.exchange({ path: '/', status: 401 }))
  stage.check('it says why', await stage.exchange({ path: '/', status: 200, code: 'GW_TOKEN_MISSING' }))
  stage.check('it is so', false)
  t.same(stage.failures(), ['it is protected', 'it says why', 'it is so'])
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
