/**
 * Verified GETs behind a proxy that ends TLS, for the gateway itself speaks none to clients: HAProxy, on the gateway's core, with kept
 * connections and with a whole handshake for each request. What each of the two spends on a request, and the gateway alone beside it.
 */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { generateCertificate } from '../test/helpers/certificate.ts'
import { freePort } from '../test/helpers/free-port.ts'
import { spread, type Spread } from './comparison.ts'
import { gatewarden, startHaproxy } from './contenders.ts'
import { load, type Load, type Measured } from './load.ts'
import { which } from './machine.ts'
import { cpuMicroseconds } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

export interface TlsInFront {
  readonly rows: readonly {
    readonly name: string
    /** Microseconds of CPU of the gateway for a request. */
    readonly gateway: Spread
    /** To the first row, within a round. */
    readonly ratio: Spread
    /** Microseconds of CPU of the proxy in front. */
    readonly front: Spread
    readonly perSecond: Spread
    /** Milliseconds. */
    readonly p50: Spread
    readonly p99: Spread
  }[]
}

interface Round extends Measured { readonly front: number }

export async function tlsInFront ({ folder, upstream, script, rounds, seconds, connections, measure, note }: Bench): Promise<TlsInFront> {
  if (which('haproxy') === null) throw new Error('needs haproxy: apt-get install haproxy')
  const issuing = await createIssuing(folder, 'ES256')
  const token = await issuing.token(1)
  const tokens = join(folder, 'token')
  writeFileSync(tokens, `${token}\n`)
  const gateway = await gatewarden.start({ folder: join(folder, 'gateway'), upstream, issuing, config: { trustedProxies: ['127.0.0.1'] } })
  try {
    const front = await startTlsEnd(join(folder, 'front'), gateway.url)
    try {
      await checkFront(front.tlsUrl, front.certificate, token)
      const ways: readonly { readonly name: string, readonly load: Pick<Load, 'url' | 'requestsPerConnection'>, readonly rounds: Round[] }[] = [
        { name: 'straight to the gateway', load: { url: gateway.url }, rounds: [] },
        { name: 'through HAProxy, without TLS', load: { url: front.url }, rounds: [] },
        { name: 'TLS, connections kept', load: { url: front.tlsUrl }, rounds: [] },
        { name: 'TLS, a handshake for each request', load: { url: front.tlsUrl, requestsPerConnection: 1 }, rounds: [] },
      ]
      // Round 0 warms everybody up, and does not count.
      for (let round = 0; round <= rounds; round++) {
        for (const { name, load: { url, requestsPerConnection = 0 }, rounds } of ways) {
          const measured = await measure(async () => {
            const before = cpuMicroseconds(front.pids)
            const measured = await load({ url: `${url}/api/things/1`, seconds, connections, tokens, requestsPerConnection }, gateway.pids, script)
            return { ...measured, front: (cpuMicroseconds(front.pids) - before) / measured.requests }
          })
          if (measured.errors > 0) throw new Error(`${name}: ${measured.errors} errors`)
          if (round > 0) rounds.push(measured)
        }
        if (round > 0) note(`round ${round}: ${ways.map(({ name, rounds }) => `${name} ${rounds.at(-1)?.cpu.toFixed(1)} and ${rounds.at(-1)?.front.toFixed(1)} µs`).join(', ')}`)
      }
      const base = ways[0]?.rounds ?? []
      return {
        rows: ways.map(({ name, rounds }) => ({
          name,
          gateway: spread(rounds.map(({ cpu }) => cpu)),
          ratio: spread(rounds.map(({ cpu }, round) => cpu / (base[round]?.cpu ?? NaN))),
          front: spread(rounds.map(({ front }) => front)),
          perSecond: spread(rounds.map(({ perSecond }) => perSecond)),
          p50: spread(rounds.map(({ p50 }) => p50)),
          p99: spread(rounds.map(({ p99 }) => p99)),
        })),
      }
    } finally {
      await front.stop()
    }
  } finally {
    await gateway.stop()
  }
}

/** It resumes no session: wrk would where it can, now and then, and half a handshake is another measurement. */
async function startTlsEnd (folder: string, gateway: string) {
  const { key, cert } = generateCertificate()
  const tlsPort = await freePort()
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'certificate.pem')
  writeFileSync(file, key + cert, { mode: 0o600 })
  const running = await startHaproxy({
    folder,
    upstream: gateway,
    global: ['tune.ssl.cachesize 0'],
    frontend: [`bind 127.0.0.1:${tlsPort} ssl crt ${file} no-tls-tickets`, 'option forwardfor', 'http-request set-header X-Forwarded-Proto https if { ssl_fc }'],
  })
  return { ...running, tlsUrl: `https://127.0.0.1:${tlsPort}`, certificate: cert }
}

/** A good token passes, a forged one does not, and who comes again is not known by the session of before. */
async function checkFront (url: string, ca: string, token: string): Promise<void> {
  // It keeps no connection, but the session of the last.
  const agent = new Agent({ ca, checkServerIdentity: () => undefined })
  const ask = async (sent: string) => {
    const asked = request(`${url}/api/things/1`, { agent, headers: { authorization: `Bearer ${sent}` } }).end()
    const [answer] = await once(asked, 'response') as [IncomingMessage]
    const resumed = (answer.socket as TLSSocket).isSessionReused()
    await once(answer.resume(), 'end')
    return { status: answer.statusCode, resumed }
  }
  const passed = await ask(token)
  const refused = await ask(`${token.slice(0, -8)}AAAAAAAA`)
  if (passed.status !== 200 || refused.status !== 401) throw new Error(`TLS in front: ${String(passed.status)} to a good token, ${String(refused.status)} to a forged one`)
  if (refused.resumed) throw new Error('TLS in front: a session is resumed')
}
