import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import t from 'tap'
import { execForm, projectRoot, readStages, texts } from './dockerfile.ts'

const stages = readStages()
const [build, final] = stages
if (build === undefined || final === undefined) throw new Error('two stages')

t.test('it is built in one stage, and shipped in another that begins anew', async (t) => {
  t.equal(stages.length, 2)
  t.equal(build.name, 'build')
  t.match(final.image, /^node:24[\w.-]*-slim$/, 'a small image of the Node that is told')
  t.equal(build.image, final.image, 'native modules are for the same system')
  for (const { image } of stages) t.notMatch(image, /:latest$|^[^:]+$/, 'a version is named')
})

t.test('the build takes what the lock file says and runs no install script', async (t) => {
  t.match(texts(build, 'RUN').join('\n'), /^npm ci --ignore-scripts\nnpm run build\n/)
  t.ok(texts(build, 'RUN').includes('npm prune --omit=dev --ignore-scripts'))
  const copied = texts(build, 'COPY')
  t.ok(copied.findIndex((text) => text.includes('package-lock.json')) < copied.findIndex((text) => text.includes('src')), 'the source comes after the dependencies')
})

t.test('the last stage installs nothing, and takes the package manager away', async (t) => {
  const runs = texts(final, 'RUN')
  t.notMatch(runs.join('\n'), /\b(npm (ci|install|run)|apt|apk|curl|wget)\b/)
  t.match(runs.join('\n'), /rm -rf .*\/usr\/local\/lib\/node_modules .*\/usr\/local\/bin\/npm/)
  for (const text of texts(final, 'COPY')) t.match(text, /^(--from=build |examples\/api )/, 'only what was built, and the API of the demo')
})

t.test('it runs as nobody, by number, so that Kubernetes can tell', async (t) => {
  t.strictSame(texts(final, 'USER'), ['10001:10001'])
  t.strictSame(texts(final, 'VOLUME'), ['/data'])
  t.ok(texts(final, 'COPY').some((text) => text === '--from=build --chown=10001:10001 /app/data /data'), 'the volume is its own')
})

t.test('it is the process that gets the signals', async (t) => {
  t.strictSame(execForm(texts(final, 'ENTRYPOINT')[0] ?? ''), ['node', '/app/dist/cli.js'])
  t.strictSame(execForm(texts(final, 'CMD')[0] ?? ''), ['start'])
  t.strictSame(texts(final, 'STOPSIGNAL'), ['SIGTERM'])
  t.ok(texts(final, 'ENV').includes('NODE_ENV=production'))
})

t.test('it offers the public port, and the admin port to nobody', async (t) => {
  t.strictSame(texts(final, 'EXPOSE'), ['8080'])
})

t.test('its health check is one of Node, and says what /livez says', async (t) => {
  const [, command = ''] = /CMD (\[.*\])$/.exec(texts(final, 'HEALTHCHECK')[0] ?? '') ?? []
  const [program, ...args] = execForm(command) ?? []
  t.equal(program, 'node')
  const said = Object.fromEntries(texts(final, 'ENV').map((text) => text.split(/=(.*)/s).slice(0, 2))) as Record<string, string>
  t.equal(said['GATEWARDEN_HEALTH_URL'], 'http://127.0.0.1:9090/livez')

  let status = 200
  const server = createServer((request, response) => { response.writeHead(request.url === '/livez' ? status : 404).end() })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close() })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/livez`
  const check = async () => {
    const child = spawn(process.execPath, args, { env: { ...process.env, GATEWARDEN_HEALTH_URL: url } })
    return (await once(child, 'exit') as [number])[0]
  }
  t.equal(await check(), 0, 'alive')
  status = 500
  t.equal(await check(), 1, 'failing')
  server.close()
  t.equal(await check(), 1, 'gone')
})

t.test('the context holds what is copied, and nothing else', async (t) => {
  const ignore = readFileSync(resolve(projectRoot, '.dockerignore'), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  t.equal(ignore[0], '*', 'nothing by default')
  const allowed = ignore.slice(1).map((line) => line.replace(/^!/, ''))
  const copied = stages.flatMap((stage) => texts(stage, 'COPY')).filter((text) => !text.startsWith('--from=')).flatMap((text) => text.split(' ').slice(0, -1))
  t.strictSame([...allowed].sort(), [...copied].sort())
  for (const path of copied) t.ok(existsSync(resolve(projectRoot, path)), path)
})
