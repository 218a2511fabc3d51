import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { localhostCertificate, localhostKey } from '../helpers/localhost-certificate.ts'
import { cli, configFolder, configText, password, startCli, type Running } from './running-cli.ts'

t.test('start logs one line with the bound addresses when it is ready, and both answer', async (t) => {
  const running = await startCli(t, configFolder(t, { log: { level: 'error' } }))
  t.match(running.url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
  t.match(running.adminUrl, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
  t.equal(running.log.filter(({ msg }) => msg === 'ready').length, 1)
  t.equal((await fetch(`${running.url}/api`)).status, 401)
  t.equal((await fetch(`${running.adminUrl}/readyz`)).status, 200)
})

t.test('the first start says where it made the master key, and a second one does not', async (t) => {
  const folder = configFolder(t)
  const first = await startCli(t, folder)
  const line = await first.line(({ msg }) => String(msg).startsWith('made a master key'))
  t.equal(line['file'], 'data/master.key')
  t.equal(statSync(join(folder, 'data/master.key')).mode & 0o777, 0o600)
  first.child.kill('SIGTERM')
  t.equal(await first.exited, 0)
  const second = await startCli(t, folder)
  t.notOk(second.log.some(({ msg }) => String(msg).startsWith('made a master key')))
})

t.test('what a start does not need it does not load', async (t) => {
  const folder = configFolder(t)
  const told = join(folder, 'loaded')
  const tell = `process.on('exit', () => { process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(told)}, process.moduleLoadList.join('\\n')) })`
  const { child, exited } = await startCli(t, folder, [], { nodeOptions: ['--import', `data:text/javascript,${encodeURIComponent(tell)}`] })
  child.kill('SIGTERM')
  t.equal(await exited, 0)
  const loaded = readFileSync(told, 'utf8').split('\n')
  t.ok(loaded.includes('NativeModule net'), 'a list of what was')
  // An import of node:http would load undici, on Node 22 and later.
  for (const name of ['tls', 'https', 'http2', 'internal/deps/undici/undici']) t.notOk(loaded.includes(`NativeModule ${name}`), name)
})

t.test('an upstream behind TLS is reached by what is built, and only if its certificate is trusted', async (t) => {
  const server = createTlsServer({ key: localhostKey, cert: localhostCertificate }, (request, response) => { request.pipe(response) })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  const folder = configFolder(t, { routes: [{ path: '/', upstream: `https://localhost:${(server.address() as AddressInfo).port}`, access: 'public' }] })
  const authorities = join(folder, 'authorities.pem')
  writeFileSync(authorities, localhostCertificate)
  for (const [env, status, body] of [[{ NODE_EXTRA_CA_CERTS: authorities }, 200, 'sent over'], [{ NODE_EXTRA_CA_CERTS: '' }, 502, /bad_gateway/]] as const) {
    const running = await startCli(t, folder, [], { env })
    const answer = await fetch(`${running.url}/echo`, { method: 'POST', body: 'sent over' })
    t.equal(answer.status, status)
    t.match(await answer.text(), body)
    running.child.kill('SIGTERM')
    t.equal(await running.exited, 0)
  }
})

t.test('start warns of unsafe settings, each with its place', async (t) => {
  const { log } = await startCli(t, configFolder(t, { issuer: 'http://login.example.com' }))
  t.match(log.find(({ key }) => key === 'issuer'), { level: 'warn', at: /^\.\/config\.yaml:\d+:\d+$/, msg: /in the clear/ })
})

t.test('SIGTERM finishes what is under way, closes sockets with 1001, refuses newcomers, and exits 0', async (t) => {
  const { upstream, answer } = await slowUpstream(t)
  const folder = configFolder(t, { routes: [{ path: '/', upstream, access: 'public' }] })
  const running = await startCli(t, folder)
  const socket = new WebSocket(`${running.url.replace('http', 'ws')}/socket`)
  await new Promise((resolve) => { socket.once('open', resolve) })
  const closed = new Promise((resolve) => { socket.once('close', resolve) })
  const underWay = fetch(`${running.url}/slow`)
  await answer.asked
  running.child.kill('SIGTERM')
  await running.line(({ msg }) => msg === 'draining')
  t.equal(await closed, 1001)
  await t.rejects(fetch(`${running.url}/slow`), 'nobody is let in any more')
  answer.give()
  t.equal(await (await underWay).text(), 'at last')
  t.equal(await running.exited, 0)
})

t.test('SIGINT does the same, and a second signal exits 1 at once', async (t) => {
  const { upstream, answer } = await slowUpstream(t)
  const running = await startCli(t, configFolder(t, { routes: [{ path: '/', upstream, access: 'public' }] }))
  const underWay = fetch(`${running.url}/slow`).then(() => 'answered', () => 'cut off')
  await answer.asked
  running.child.kill('SIGINT')
  await running.line(({ msg }) => msg === 'draining')
  running.child.kill('SIGINT')
  t.equal(await running.exited, 1)
  t.equal(await underWay, 'cut off')
})

t.test('what is under way for longer than timeouts.drain is cut off, and the exit code is 0 still', async (t) => {
  const { upstream, answer } = await slowUpstream(t)
  const running = await startCli(t, configFolder(t, { timeouts: { drain: '200ms' }, routes: [{ path: '/', upstream, access: 'public' }] }))
  const underWay = fetch(`${running.url}/slow`).then(() => 'answered', () => 'cut off')
  await answer.asked
  running.child.kill('SIGTERM')
  t.equal(await running.exited, 0)
  t.equal(await underWay, 'cut off')
})

t.test('SIGHUP reloads the configuration as a whole, and connections stay', async (t) => {
  const folder = configFolder(t)
  const running = await startCli(t, folder)
  t.equal((await fetch(`${running.url}/new`)).status, 404)
  writeFileSync(join(folder, 'config.yaml'), configText({ routes: [{ path: '/new', upstream: 'http://127.0.0.1:9', access: 'authenticated' }] }))
  running.child.kill('SIGHUP')
  await running.line(({ msg }) => msg === 'reloaded after SIGHUP')
  t.equal((await fetch(`${running.url}/new`)).status, 401)
  t.equal((await fetch(`${running.url}/api`)).status, 404)
})

t.test('a changed file reloads by itself; so does a changed secret file, also one that came with a reload', async (t) => {
  const folder = configFolder(t)
  const running = await startCli(t, folder)
  writeFileSync(join(folder, 'secret'), 'one')
  writeFileSync(join(folder, 'config.yaml'), configText({ clients: [{ id: 'app', secretFile: './secret' }] }))
  await running.line(({ msg }) => msg === 'reloaded after a changed file')
  t.equal(await introspect(running, 'one'), 200)
  writeFileSync(join(folder, 'secret'), 'another')
  t.ok(await eventually(async () => await introspect(running, 'another') === 200))
  t.equal(await introspect(running, 'one'), 401)
})

t.test('a wrong configuration is not taken: every fault is logged, and the one before goes on', async (t) => {
  const folder = configFolder(t)
  const running = await startCli(t, folder)
  writeFileSync(join(folder, 'config.yaml'), 'isuer: http://a\nroutes: []\n')
  running.child.kill('SIGHUP')
  await running.line(({ msg }) => msg === 'reload after SIGHUP failed; the configuration before goes on')
  t.match(running.log.filter(({ level }) => level === 'error').map(({ at }) => at), ['./config.yaml:1:1', './config.yaml:2:9'])
  t.equal((await fetch(`${running.url}/api`)).status, 401)
})

t.test('what cannot change in a running process is not taken, and the log says so', async (t) => {
  const folder = configFolder(t)
  const running = await startCli(t, folder)
  writeFileSync(join(folder, 'config.yaml'), configText({ listen: { port: 1 } }))
  running.child.kill('SIGHUP')
  t.match(await running.line(({ msg }) => String(msg).startsWith('reload failed')), { level: 'error', msg: /listen.*restart/ })
  t.equal((await fetch(`${running.url}/api`)).status, 401)
})

t.test('a disabled user is refused by a running gateway within a second, and every other command is noticed too', async (t) => {
  const { upstream } = await slowUpstream(t)
  const folder = configFolder(t, { routes: [{ path: '/api', upstream, access: 'authenticated' }] })
  const running = await startCli(t, folder)
  const added = await cli(folder, ['users', 'add', 'alice', '--password-stdin'], password)
  t.equal(added.code, 0, added.stderr)
  const tokens = await login(running)
  t.equal(await callApi(running, tokens), 200)

  t.equal((await cli(folder, ['users', 'disable', 'alice'])).code, 0)
  const disabled = Date.now()
  while (await callApi(running, tokens) === 200) if (Date.now() - disabled > 5_000) break
  const took = Date.now() - disabled
  t.ok(took < 1_000, `refused after ${took} ms`)
  t.equal(await callApi(running, tokens), 401)
  await t.rejects(login(running), /401/)

  await cli(folder, ['users', 'enable', 'alice'])
  const again = await login(running)
  t.equal(await callApi(running, again), 200)

  const { stdout: kid } = await cli(folder, ['keys', 'rotate', '--now', '--json'])
  const rotated = (JSON.parse(kid) as { kid: string }).kid
  t.ok(await eventually(async () => {
    const { keys } = await (await fetch(`${running.url}/.well-known/jwks.json`)).json() as { keys: { kid: string }[] }
    return keys[0]?.kid === rotated
  }), 'the new key is the first of the JWKS')
  t.equal(await callApi(running, again), 200, 'the key before verifies still')
  t.equal(await callApi(running, await login(running)), 200)
})

interface SlowUpstream {
  readonly upstream: string
  readonly answer: { readonly asked: Promise<void>, give (): void }
}

/** Answers at once, but for /slow, which waits until it is told to; and takes WebSockets. */
async function slowUpstream (t: { teardown (handler: () => void): void }): Promise<SlowUpstream> {
  let asked: () => void = () => {}
  const waiting: (() => void)[] = []
  const answer = { asked: new Promise<void>((resolve) => { asked = resolve }), give: () => { for (const end of waiting) end() } }
  const server: Server = createServer((request, response) => {
    if (request.url !== '/slow') {
      response.end('at once')
      return
    }
    waiting.push(() => { response.end('at last') })
    asked()
  })
  const sockets = new WebSocketServer({ server })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => { server.once('listening', resolve) })
  t.teardown(() => {
    sockets.close()
    server.close()
    server.closeAllConnections()
  })
  return { upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, answer }
}

async function login ({ url }: Running): Promise<string> {
  const response = await fetch(`${url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'alice', password }) })
  if (response.status !== 200) throw new Error(`login: ${response.status}`)
  return (await response.json() as { access_token: string }).access_token
}

async function callApi ({ url }: Running, token: string): Promise<number> {
  const response = await fetch(`${url}/api`, { headers: { authorization: `Bearer ${token}` } })
  await response.text()
  return response.status
}

async function introspect ({ url }: Running, secret: string): Promise<number> {
  const response = await fetch(`${url}/oauth/introspect`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'authorization': `Basic ${Buffer.from(`app:${secret}`).toString('base64')}` },
    body: 'token=x',
  })
  return response.status
}

/** Whether it comes to hold within ten seconds: other processes tell nobody when they have noticed something. */
async function eventually (holds: () => Promise<boolean>): Promise<boolean> {
  const end = Date.now() + 10_000
  while (Date.now() < end) {
    if (await holds()) return true
    await sleep(50)
  }
  return false
}
