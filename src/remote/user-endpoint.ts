/** An endpoint of another system that knows users: POST of JSON, no redirects, bounded in size and time; only a failed connection is tried again. */
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { StartupFault } from '../errors.ts'

export type EndpointAnswer =
  | { readonly outcome: 'user', readonly user: Readonly<Record<string, unknown>> }
  /** 401, 404 or 410: it does not say whether the name or the password is wrong. */
  | { readonly outcome: 'unknown' }
  /** 403. */
  | { readonly outcome: 'refused' }

export interface UserEndpoint {
  /** Throws an Error whose message holds nothing of what was sent; with `retryAfterSeconds` where the endpoint said so. */
  ask (url: string, question: Readonly<Record<string, string>>): Promise<EndpointAnswer>
  close (): Promise<void>
}

export interface UserEndpointOptions {
  /** Milliseconds: from the question to the last byte of the answer, a second try included. */
  readonly timeout: number
  readonly connections: number
  readonly secret?: string | undefined
  readonly secretHeader: string
  /** Paths of PEM files. */
  readonly tls: { readonly ca?: string, readonly cert?: string, readonly key?: string }
}

/** Bytes of an answer. */
const largest = 16_384

/** What fails before a byte was sent: asking again asks once. */
const unsent = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'])

/** Rejects with a StartupFault for a file that cannot be read. */
export async function openUserEndpoint ({ timeout, connections, secret, secretHeader, tls }: UserEndpointOptions): Promise<UserEndpoint> {
  // Loaded where such an endpoint is configured, and else not.
  const { Agent } = await import('./http-client.ts')
  const pem = Object.fromEntries((['ca', 'cert', 'key'] as const).flatMap((key) => tls[key] === undefined ? [] : [[key, readPem(tls[key], key)]]))
  const agent = new Agent({
    connections,
    pipelining: 1,
    connect: { ...pem, rejectUnauthorized: true, timeout: Math.ceil(timeout / 2) },
    maxHeaderSize: 16_384,
    maxResponseSize: largest,
  })
  const authorization: Record<string, string> = secret === undefined ? {} : { [secretHeader]: secretHeader.toLowerCase() === 'authorization' ? `Bearer ${secret}` : secret }

  async function askOnce (url: string, body: string, signal: AbortSignal): Promise<EndpointAnswer> {
    const { origin, pathname, search } = new URL(url)
    const { statusCode, headers, body: answer } = await agent.request({
      origin,
      path: pathname + search,
      method: 'POST',
      signal,
      headers: { 'content-type': 'application/json', 'accept': 'application/json', 'accept-encoding': 'identity', 'user-agent': 'gatewarden', ...authorization },
      body,
    })
    // Whoever drops a body must listen: an error of one that nobody reads would end the process.
    answer.on('error', () => {})
    if (statusCode === 200) return { outcome: 'user', user: objectOf(await read(answer as AsyncIterable<Buffer>), headers['content-type']) }
    await answer.dump({ limit: largest, signal })
    if (statusCode === 401 || statusCode === 404 || statusCode === 410) return { outcome: 'unknown' }
    if (statusCode === 403) return { outcome: 'refused' }
    throw Object.assign(new Error(`it answers ${statusCode}`), { retryAfterSeconds: secondsOf(headers['retry-after']) })
  }

  return {
    async ask (url, question) {
      const signal = AbortSignal.timeout(timeout)
      const body = JSON.stringify(question)
      try {
        try {
          return await askOnce(url, body, signal)
        } catch (error) {
          if (!unsent.has(codeOf(error)) || signal.aborted) throw error
          await pause(50, undefined, { signal })
          return await askOnce(url, body, signal)
        }
      } catch (error) {
        throw signal.aborted ? new Error(`no answer within ${timeout} ms`) : error
      }
    },
    async close () { await agent.destroy() },
  }
}

async function read (body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > largest) throw new Error(`its answer is longer than ${largest} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function objectOf (bytes: Buffer, contentType: string | string[] | undefined): Readonly<Record<string, unknown>> {
  if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(String(contentType))) throw new Error('its answer is no JSON by its content type')
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new Error('its answer is no JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('its answer is no JSON object')
  return value as Record<string, unknown>
}

function secondsOf (header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,5}$/.test(header) ? Math.min(60, Math.max(1, Number(header))) : undefined
}

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

function readPem (path: string, key: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    throw new StartupFault(`credentials: tls.${key}: ${path} cannot be read (${codeOf(error)})`, { cause: error })
  }
}
