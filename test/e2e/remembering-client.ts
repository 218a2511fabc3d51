/** A client that keeps what it was given, and a history of what it asked: session-history.ts judges that. */
import type { Event } from './session-history.ts'

export interface Held {
  /** For the tests. */
  readonly name: string
  readonly session: string
  readonly username: string
  accessToken: string
  /** The last one that came in an answer. */
  refreshToken: string
}

export interface Client {
  readonly events: Event[]
  readonly held: Held[]
  /** The first part of each answer's X-Request-Id: which process gave it. */
  readonly answeredBy: string[]
}

export function newClient (): Client {
  return { events: [], held: [], answeredBy: [] }
}

export function held (client: Client, name: string): Held {
  const found = client.held.find((one) => one.name === name)
  if (found === undefined) throw new Error(`the client holds no session ${name}`)
  return found
}

export type Outcome = 'given' | 'refused' | 'unanswered'

interface Tokens { readonly access_token: string, readonly refresh_token: string }

export async function logIn (client: Client, url: string, { name, username, password }: { readonly name: string, readonly username: string, readonly password: string }): Promise<Outcome> {
  const answer = await ask(client, `${url}/auth/login`, { json: { username, password } })
  if (answer === null) return 'unanswered'
  if (answer.status === 401) return 'refused'
  const { access_token: accessToken, refresh_token: refreshToken } = tokensOf(answer)
  const { sid: session } = JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()) as { sid: string }
  client.held.push({ name, session, username, accessToken, refreshToken })
  return 'given'
}

/** `mode`: whether the answer reaches the client, or is lost on its way. */
export async function refresh (client: Client, url: string, held: Held, mode: 'kept' | 'lost' = 'kept'): Promise<Outcome> {
  const { session, refreshToken: sent } = held
  const began = performance.now()
  const answer = await ask(client, `${url}/auth/refresh`, { json: { refresh_token: sent } })
  const span = { session, began, ended: performance.now(), kind: 'refresh' as const, sent }
  const outcome = answer === null ? 'unanswered' : answer.status === 401 ? 'refused' : 'given'
  if (answer === null || outcome !== 'given') {
    client.events.push({ ...span, outcome: outcome === 'refused' ? outcome : 'unanswered' })
    return outcome
  }
  const tokens = tokensOf(answer)
  client.events.push({ ...span, outcome, got: tokens.refresh_token })
  if (mode === 'kept') Object.assign(held, { accessToken: tokens.access_token, refreshToken: tokens.refresh_token })
  return outcome
}

export async function logOut (client: Client, url: string, held: Held): Promise<'done' | 'unanswered'> {
  const began = performance.now()
  const answer = await ask(client, `${url}/auth/logout`, { json: { refresh_token: held.refreshToken } })
  if (answer !== null && answer.status !== 204) throw new Error(`logout: ${JSON.stringify(answer)}`)
  const outcome = answer === null ? 'unanswered' : 'done'
  client.events.push({ session: held.session, began, ended: performance.now(), kind: 'logout', outcome })
  return outcome
}

/** One request to /api with the access token; whether it passed. */
export async function use (client: Client, url: string, held: Held): Promise<boolean> {
  const began = performance.now()
  const answer = await ask(client, `${url}/api`, { token: held.accessToken })
  if (answer !== null && answer.status !== 200 && answer.status !== 401) throw new Error(`request: ${JSON.stringify(answer)}`)
  const outcome = answer === null ? 'unanswered' : answer.status === 200 ? 'passed' : 'refused'
  client.events.push({ session: held.session, began, ended: performance.now(), kind: 'request', outcome })
  return outcome === 'passed'
}

/** Somebody else, such as the command line, has asked for the end of these from `began` on. */
export function endedElsewhere (client: Client, sessions: readonly Held[], began: number, outcome: 'done' | 'unanswered'): void {
  for (const { session } of sessions) client.events.push({ session, began, ended: performance.now(), kind: 'logout', outcome })
}

interface Answer { readonly status: number, readonly text: string }

/** On a connection of its own. null where that broke, as by a gateway that is killed; one that lives and says nothing is a fault. */
async function ask (client: Client, url: string, { token, json }: { readonly token?: string, readonly json?: unknown }): Promise<Answer | null> {
  try {
    const response = await fetch(url, {
      method: json === undefined ? 'GET' : 'POST',
      headers: { connection: 'close', ...token === undefined ? {} : { authorization: `Bearer ${token}` }, ...json === undefined ? {} : { 'content-type': 'application/json' } },
      ...json === undefined ? {} : { body: JSON.stringify(json) },
      signal: AbortSignal.timeout(30_000),
    })
    const answer = { status: response.status, text: await response.text() }
    client.answeredBy.push(processOf(response.headers.get('x-request-id')))
    return answer
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError') throw error
    return null
  }
}

/** See gateway/request-ids.ts. */
export function processOf (requestId: unknown): string {
  const [, process] = /^([\w-]{8})\.\w+$/.exec(String(requestId)) ?? []
  if (process === undefined) throw new Error(`no request id of ours: ${String(requestId)}`)
  return process
}

function tokensOf ({ status, text }: Answer): Tokens {
  if (status !== 200) throw new Error(`neither given nor refused: ${status} ${text}`)
  return JSON.parse(text) as Tokens
}
