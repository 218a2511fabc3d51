/**
 * What it keeps in memory: idle, with tokens remembered, for each idle WebSocket, and while long bodies go through.
 * How it starts is start.ts's, what it keeps over millions of requests soak.ts's.
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket, WebSocketServer } from 'ws'
import { gatewarden } from './contenders.ts'
import { load, sendEach } from './load.ts'
import { limitMemory } from './machine.ts'
import { residentMegabytes } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

/** All in megabytes resident, but for what says otherwise. */
export interface Footprint {
  /** Of memory, that the gateway had at all; null: what the machine has. */
  readonly limit: number | null
  readonly idle: number
  readonly afterLoad: number
  readonly beforeTokens: number
  readonly with100000Tokens: number
  readonly perIdleWebSocketKilobytes: number
  /** The most while 4 GB went one way. */
  readonly download: number
  readonly upload: number
}

/** Each takes two descriptors here and two there, and 20,000 is what a process often may have. */
const sockets = 9_000
const bodyBytes = 4 * 2 ** 30
/** As k8s/base gives it: V8 makes less room for what is new where there is less. */
const megabytes = 512

export async function footprint ({ folder, upstream, script, note }: Bench): Promise<Footprint> {
  const issuing = await createIssuing(folder, 'ES256')
  const far = await openFarSide()
  const limited = limitMemory(megabytes * 2 ** 20)
  if (limited === null) note('without a limit of memory: this machine lets nobody make a cgroup')
  const running = await gatewarden.start({
    folder,
    upstream,
    issuing,
    under: limited?.under ?? [],
    config: {
      limits: { connections: 2 * sockets, body: '5gb' },
      routes: [{ path: '/api', upstream, access: 'authenticated' }, { path: '/far', upstream: far.url, access: 'authenticated' }],
    },
  })
  const resident = () => residentMegabytes(running.pids)
  try {
    // V8 gives back what the start took while little is going on, some ten seconds later.
    await pause(20_000)
    const idle = resident()
    note(`idle ${idle.toFixed(0)} MB`)
    const lines: string[] = []
    for (let count = 0; count < 100_000; count++) lines.push(await issuing.token(count))
    const tokens = join(folder, 'tokens')
    writeFileSync(tokens, `${lines.join('\n')}\n`)
    // Load first, so that what requests need is not taken for what tokens need.
    const [token = ''] = lines
    const one = join(folder, 'token')
    writeFileSync(one, `${token}\n`)
    await load({ url: `${running.url}/api/x`, seconds: 5, connections: 16, tokens: one }, running.pids, script)
    const afterLoad = resident()
    // Before there is anything else in memory that could come and go meanwhile.
    const download = await peak(resident, async () => { await pass(`${running.url}/far`, token, 'GET') })
    const upload = await peak(resident, async () => { await pass(`${running.url}/far`, token, 'POST') })
    note(`after load ${afterLoad.toFixed(0)} MB; 4 GB down ${download.toFixed(0)} MB, up ${upload.toFixed(0)} MB`)
    const beforeTokens = resident()
    await sendEach(lines.length, { url: `${running.url}/api/x`, seconds: 10, connections: 16, tokens }, running.pids, script)
    const with100000Tokens = resident()
    note(`before tokens ${beforeTokens.toFixed(0)} MB, with 100,000 of them ${with100000Tokens.toFixed(0)} MB`)

    const clients = await openSockets(running.url.replace('http', 'ws'), token)
    const perIdleWebSocketKilobytes = (resident() - with100000Tokens) / sockets * 1024
    note(`${sockets} idle WebSockets: ${perIdleWebSocketKilobytes.toFixed(1)} kB each`)
    for (const client of clients) client.terminate()
    return { limit: limited === null ? null : megabytes, idle, afterLoad, beforeTokens, with100000Tokens, perIdleWebSocketKilobytes, download, upload }
  } finally {
    await running.stop()
    limited?.remove()
    far.close()
  }
}

/** An upstream that keeps WebSockets, sends a long body, and reads one. */
async function openFarSide (): Promise<{ readonly url: string, close (): void }> {
  const server = createServer((incoming, response) => {
    if (incoming.method === 'GET') body().pipe(response)
    else incoming.resume().on('end', () => { response.end() })
  })
  const sleeper = new WebSocketServer({ server })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close () {
      sleeper.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

function body (): Readable {
  const chunk = Buffer.alloc(65_536, 'x')
  return Readable.from((function * () { for (let sent = 0; sent < bodyBytes; sent += chunk.length) yield chunk })(), { objectMode: false })
}

/** Until the answer has ended; throws where a byte is missing. */
async function pass (url: string, token: string, method: 'GET' | 'POST'): Promise<void> {
  const asked = request(url, { method, headers: { authorization: `Bearer ${token}` }, agent: false })
  if (method === 'POST') body().pipe(asked)
  else asked.end()
  const [answer] = await once(asked, 'response') as [IncomingMessage]
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) bytes += chunk.length
  if (answer.statusCode !== 200 || (method === 'GET' && bytes !== bodyBytes)) throw new Error(`${method}: ${String(answer.statusCode)}, ${bytes} bytes`)
}

async function peak (read: () => number, work: () => Promise<void>): Promise<number> {
  let most = read()
  const timer = setInterval(() => { most = Math.max(most, read()) }, 250)
  try {
    await work()
    return most
  } finally {
    clearInterval(timer)
  }
}

async function openSockets (url: string, token: string): Promise<WebSocket[]> {
  const clients: WebSocket[] = []
  for (let count = 0; count < sockets; count += 100) {
    const batch = Array.from({ length: 100 }, () => new WebSocket(`${url}/far`, { headers: { authorization: `Bearer ${token}` }, handshakeTimeout: 30_000 }))
    await Promise.all(batch.map(async (client) => { await once(client, 'open') }))
    clients.push(...batch)
  }
  return clients
}
