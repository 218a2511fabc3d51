/** In the place of the endpoints that know the operator's users: on loopback, by the source's own mapping and secret, with users made for the attack. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { Config } from '../config/schema.ts'
import { loopback } from './loopback.ts'

type HttpSource = Extract<Config['credentials'][number], { type: 'http' }>

export interface OwnEndpoint {
  readonly configured: HttpSource
  /** As an attack runs it. */
  readonly source: HttpSource
  /** As the source writes its ids. */
  readonly id: string
  /** Who can log in, and who is told 403 with the right password. */
  readonly users: { readonly good: string, readonly refused: string }
  /** What it says of the good one from now on, in place of what is true; null: that it knows nobody. */
  say (changes: Said | null): void
}

/** By what the gateway takes it for, whatever the source calls it. */
type Said = Readonly<Partial<Record<keyof HttpSource['fields'], unknown>>>

export interface OwnEndpointsOptions {
  readonly password: string
  readonly attributes: Readonly<Record<string, unknown>>
}

export async function openOwnEndpoints (configured: readonly HttpSource[], { password, attributes }: OwnEndpointsOptions): Promise<{ readonly endpoints: readonly OwnEndpoint[], close (): Promise<void> }> {
  const made: StandIn[] = []
  const server = createServer((request, response) => {
    const [, index = '', question = ''] = request.url?.split('/') ?? []
    void json(request).then((asked) => {
      const { status, user = {} } = made[Number(index)]?.answer(question, request, asked as Question) ?? { status: 404 }
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(user))
    })
  })
  await once(server.listen(0, loopback), 'listening')
  const { port } = server.address() as AddressInfo
  configured.forEach((source, index) => { made.push(standIn(source, { password, attributes, index, base: `http://${loopback}:${port}/${index}` })) })
  return {
    endpoints: made,
    async close () {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

interface Question { readonly username?: string, readonly password?: string, readonly id?: string }

interface StandIn extends OwnEndpoint {
  answer (question: string, request: IncomingMessage, asked: Question): { readonly status: number, readonly user?: Readonly<Record<string, unknown>> }
}

function standIn (configured: HttpSource, { password, attributes, index, base }: OwnEndpointsOptions & { readonly index: number, readonly base: string }): StandIn {
  const { findUrl, secret, fields, tls: _, ...others } = configured
  const own = secret === undefined ? undefined : randomBytes(24).toString('base64url')
  const source: HttpSource = { ...others, fields, tls: {}, url: `${base}/check`, ...(findUrl === undefined ? {} : { findUrl: `${base}/find` }), ...(own === undefined ? {} : { secret: own }) }
  const id = `attack-${index}`
  const users = { good: `attack-endpoint-${index}`, refused: `attack-refused-${index}` }
  const truth: Said = { name: users.good, roles: [], scopes: [], attributes, disabled: false, version: 'first', id }
  let said: Said | null = {}

  /** One member may have several meanings to an operator: what is said counts. */
  function user (): Readonly<Record<string, unknown>> {
    return Object.fromEntries([truth, said ?? {}].flatMap((meanings) => Object.entries(meanings)).flatMap(([meaning, value]) => {
      const name = fields[meaning as keyof Said]
      return name === undefined ? [] : [[name, value]]
    }))
  }

  return {
    configured,
    source,
    id,
    users,
    say (changes) {
      said = changes
    },
    answer (question, { headers }, asked) {
      const name = source.secretHeader.toLowerCase()
      // To nobody but the gateway, where there is a secret between them.
      if (own !== undefined && headers[name] !== (name === 'authorization' ? `Bearer ${own}` : own)) return { status: 401 }
      // Asked for the one of a session, it may speak of another.
      if (question === 'find') return said !== null && [id, String(said.id ?? id)].includes(String(asked.id)) ? { status: 200, user: user() } : { status: 404 }
      if (asked.password !== password || said === null) return { status: 401 }
      if (asked.username === users.refused) return { status: 403 }
      return asked.username === users.good ? { status: 200, user: user() } : { status: 401 }
    },
  }
}
