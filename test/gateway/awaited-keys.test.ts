/** A request whose issuer's keys are not known yet: it waits, whole, for one fetch; others pass it by; it is 503 when the fetch fails. */
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { pino } from 'pino'
import { parse, stringify } from 'yaml'
import { WebSocket, WebSocketServer } from 'ws'
import { startGateway } from '../../src/server.ts'
import { cli } from '../cli/running-cli.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { oidcAudience, startOidcServer } from '../helpers/oidc-server.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const sockets = new WebSocketServer({ server: upstream.server })
sockets.on('connection', (socket, request) => { socket.send(String(request.headers['x-user-id'])) })
t.teardown(() => { for (const client of sockets.clients) client.terminate() })
const routes = [
  { path: '/api', upstream: upstream.url, access: 'authenticated' },
  { path: '/public', upstream: upstream.url, access: 'public' },
]
const trusting = (issuer: string, keys: Record<string, unknown> = {}) => ({ name: 'corp', issuer, audience: oidcAudience, keys: { timeout: '20s', ...keys } })
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** A gateway whose first fetch has failed, so that the next token is the one that has the keys fetched; held until it is let go. */
async function held (t: Parameters<typeof startOidcServer>[0] & Parameters<typeof startTestGateway>[0]) {
  const corp = await startOidcServer(t)
  corp.misbehave((_request, response) => { response.writeHead(500).end() })
  const gateway = await startTestGateway(t, { trustedIssuers: [trusting(corp.url)], routes })
  while (!gateway.log.some((line) => line['outcome'] === 'status')) await new Promise((resolve) => { setTimeout(resolve, 5) })
  const waiting: ServerResponse[] = []
  let asked = (): void => {}
  const isAsked = new Promise<void>((resolve) => { asked = resolve })
  corp.misbehave((_request, response) => {
    waiting.push(response)
    asked()
  })
  return {
    corp,
    gateway,
    isAsked,
    fail () {
      for (const response of waiting) response.destroy()
    },
    answer () {
      corp.misbehave(null)
      for (const response of waiting) response.end(JSON.stringify({ issuer: corp.url, jwks_uri: `${corp.url}/jwks` }))
    },
  }
}

await t.test('waits, and nobody else does; 503 with Retry-After when there are no keys to be had', async (t) => {
  const { corp, gateway: { url, token }, isAsked, fail } = await held(t)
  const own = await token('alice')
  const foreign = await corp.token('alice')
  const refused = fetch(`${url}/api`, { headers: bearer(foreign) })
  const verified = fetch(`${url}/auth/verify`, { headers: bearer(foreign) })
  await isAsked
  for (let round = 0; round < 3; round++) {
    t.equal((await fetch(`${url}/api`, { headers: bearer(own) })).status, 200)
    t.equal((await fetch(`${url}/public`)).status, 200)
  }
  fail()
  for (const response of [await refused, await verified]) {
    t.equal(response.status, 503)
    t.ok(Number(response.headers.get('retry-after')) > 0)
    t.notOk(response.headers.has('www-authenticate'))
    t.match(await response.json(), { error: 'unavailable', code: 'GW_KEYS_UNAVAILABLE' })
  }
})

await t.test('once there are keys, all who waited go on, save those who went away', async (t) => {
  const { corp, gateway: { port, url, log }, isAsked, answer } = await held(t)
  const before = upstream.seen.length
  const foreign = await corp.token('alice')
  const body = 'x'.repeat(300_000)
  const posted = fetch(`${url}/api/whole`, { method: 'POST', body, headers: bearer(foreign) })
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/api`, { headers: bearer(foreign) })
  t.teardown(() => { webSocket.terminate() })
  const greeted = once(webSocket, 'message')
  const socket = connect(port, '127.0.0.1')
  socket.write(`POST /api/gone HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer ${foreign}\r\nContent-Length: 5\r\n\r\nhello`)
  await within(15_000, isAsked)
  // The head has gone out before the connection does; a later request shows that the gateway has had time to see both.
  t.equal((await fetch(`${url}/public`)).status, 200)
  socket.destroy()
  await once(socket, 'close')
  t.equal((await fetch(`${url}/public`)).status, 200)
  answer()

  const seen = await (await posted).json() as { body: string, headers: Record<string, string> }
  t.equal(seen.headers['x-user-id'], 'corp|alice')
  t.ok(seen.body === body, 'a body is whole')
  const [message] = await within(15_000, greeted) as [Buffer]
  t.equal(message.toString(), 'corp|alice', 'a WebSocket is open')
  t.equal((await fetch(`${url}/api`, { headers: bearer(foreign) })).status, 200)
  t.strictSame(upstream.seen.slice(before).filter(({ method }) => method === 'POST').map((request) => request.url), ['/api/whole'])
  t.ok(log.some((line) => line['reason'] === 'the client went away'))
})

await t.test('an outage', async (t) => {
  const corp = await startOidcServer(t)
  const { url, config, gateway, configFile } = await startTestGateway(t, { trustedIssuers: [trusting(corp.url)], routes })
  const foreign = await corp.token('alice')
  const status = async (at = url) => (await fetch(`${at}/api`, { headers: bearer(foreign) })).status
  t.equal(await status(), 200)
  await corp.goAway()

  await t.test('does not take the keys away with a reload', async (t) => {
    await gateway.reload({ ...config, timeouts: { ...config.timeouts, idle: 1_000 } })
    t.equal(await status(), 200)
  })

  await t.test('nor with a restart', async (t) => {
    await gateway.drain()
    const again = await startGateway(config, { log: pino({ level: 'silent' }) })
    t.equal(await status(again.publicAddress.url), 200)
    await again.drain()
  })

  await t.test('explain knows them too', async (t) => {
    const folder = join(configFile, '..')
    const written = parse(readFileSync(configFile, 'utf8')) as Record<string, unknown>
    writeFileSync(configFile, stringify({ ...written, storage: config.storage }))
    const { stdout } = await cli(folder, ['explain', 'GET', '/api/x', '--token', '-', '--json'], foreign)
    t.match(JSON.parse(stdout), { decision: 'forwarded', caller: /^corp\|alice; no roles/ })
  })
})
