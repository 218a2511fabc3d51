import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
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
  t.strictSame(texts(final, 'COPY').map((text) => text.split(' ').at(-2)), [
    '/app/package.json', '/app/node_modules', '/app/dist', '/app/compile-cache', '/app/schema', '/app/config.yaml', '/app/examples', '/app/data',
  ], 'nothing but this is shipped')
  for (const text of texts(final, 'COPY')) t.match(text, /^--from=build /, text)
})

t.test('it runs as nobody, by number, so that Kubernetes can tell', async (t) => {
  t.strictSame(texts(final, 'USER'), ['10001:10001'])
  t.strictSame(texts(final, 'VOLUME'), ['/data'])
  t.ok(texts(final, 'COPY').some((text) => text === '--from=build --chown=10001:10001 /app/data /data'), 'the volume is its own')
})

t.test('it is the process that gets the signals', async (t) => {
  t.strictSame(execForm(texts(final, 'ENTRYPOINT')[0] ?? ''), ['node', '--v8-pool-size=1', '/app/dist/cli.js'])
  t.strictSame(execForm(texts(final, 'CMD')[0] ?? ''), ['start', '--config', '/etc/gatewarden/config.yaml'])
  t.equal(texts(final, 'WORKDIR').at(-1), '/etc/gatewarden', 'other commands find the same file')
  t.strictSame(texts(final, 'STOPSIGNAL'), ['SIGTERM'])
  t.ok(texts(final, 'ENV').includes('NODE_ENV=production'))
})

t.test('it names both ports, and the admin port is bound to loopback unless the configuration says otherwise', async (t) => {
  t.strictSame(texts(final, 'EXPOSE'), ['8080 9090'])
  const folder = t.testdir({ 'config.yaml': 'routes: [{ path: /, upstream: "http://127.0.0.1:3000", access: public }]' })
  const loaded = loadConfig(resolve(folder, 'config.yaml'), {})
  t.match(loaded, { config: { listen: { port: 8080 }, admin: { host: '127.0.0.1', port: 9090 } } })
})

t.test('it says what it is, and of which version', async (t) => {
  const labels = Object.fromEntries(texts(final, 'LABEL').map((text) => /^(.+?)="(.*)"$/.exec(text)?.slice(1) ?? [text, ''])) as Record<string, string>
  const manifest = JSON.parse(readFileSync(resolve(projectRoot, 'package.json'), 'utf8')) as Record<string, string>
  t.equal(labels['org.opencontainers.image.version'], manifest['version'])
  t.equal(labels['org.opencontainers.image.licenses'], manifest['license'])
  t.equal(labels['org.opencontainers.image.description'], manifest['description'])
  t.equal(labels['org.opencontainers.image.base.name'], `docker.io/library/${final.image}`)
})

t.test('an ADD, a word that is no instruction, and a step before the first FROM are not read over', async (t) => {
  const from = 'FROM node:24-bookworm-slim AS build\n'
  t.equal(readStages(`${from}# ADD . .\nRUN one \\\n  two\n`)[0]?.instructions[0]?.text, 'one two')
  t.throws(() => readStages(`${from}ADD https://example.com/x.tar.gz /\n`), /no instruction: ADD/)
  t.throws(() => readStages(`${from}COPPY src ./src\n`), /no instruction: COPPY/)
  t.throws(() => readStages('RUN true\n'), /before the first FROM/)
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
