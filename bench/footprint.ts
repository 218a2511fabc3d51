/** What it keeps in memory: with tokens remembered, and for each idle WebSocket. How it starts is start.ts's. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket, WebSocketServer } from 'ws'
import { gatewarden } from './contenders.ts'
import { load } from './load.ts'
import { residentMegabytes } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

const sockets = 10_000

export async function footprint ({ folder, upstream, script, note }: Bench): Promise<unknown> {
  const issuing = await createIssuing(folder, 'ES256')
  const sleeper = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(sleeper, 'listening')
  const running = await gatewarden.start({
    folder,
    upstream,
    issuing,
    config: {
      limits: { connections: 20_000 },
      routes: [{ path: '/api', upstream, access: 'authenticated' }, { path: '/ws', upstream: `http://127.0.0.1:${(sleeper.address() as { port: number }).port}`, access: 'authenticated' }],
    },
  })
  const result: Record<string, unknown> = {}
  try {
    await pause(2_000)
    const idle = residentMegabytes(running.pids)
    const lines: string[] = []
    for (let count = 0; count < 100_000; count++) lines.push(await issuing.token(count))
    const tokens = join(folder, 'tokens')
    writeFileSync(tokens, `${lines.join('\n')}\n`)
    // Load first, so that what requests need is not taken for what tokens need.
    const one = join(folder, 'token')
    writeFileSync(one, `${lines[0]}\n`)
    await load({ url: `${running.url}/api/x`, seconds: 5, connections: 16, tokens: one }, running.pids, script)
    const busy = residentMegabytes(running.pids)
    await load({ url: `${running.url}/api/x`, seconds: 30, connections: 16, tokens }, running.pids, script)
    const cached = residentMegabytes(running.pids)
    Object.assign(result, { idle, afterLoad: busy, with100000Tokens: cached })
    note(`idle ${idle.toFixed(0)} MB, after load ${busy.toFixed(0)} MB, with 100,000 tokens ${cached.toFixed(0)} MB`)

    const clients = await openSockets(running.url.replace('http', 'ws'), lines[0] ?? '')
    const open = residentMegabytes(running.pids)
    result['perIdleWebSocketKilobytes'] = (open - cached) / sockets * 1024
    note(`${sockets} idle WebSockets: ${((open - cached) / sockets * 1024).toFixed(1)} kB each`)
    for (const client of clients) client.terminate()
  } finally {
    await running.stop()
    sleeper.close()
  }
  return result
}

async function openSockets (url: string, token: string): Promise<WebSocket[]> {
  const clients: WebSocket[] = []
  for (let count = 0; count < sockets; count += 100) {
    const batch = Array.from({ length: 100 }, () => new WebSocket(`${url}/ws`, { headers: { authorization: `Bearer ${token}` } }))
    await Promise.all(batch.map(async (client) => { await once(client, 'open') }))
    clients.push(...batch)
  }
  return clients
}
