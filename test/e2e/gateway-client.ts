/** What an app does at a running gateway, and one that keeps asking with its access token while something else goes wrong. */
import { setTimeout as pause } from 'node:timers/promises'
import { password, type Running } from '../cli/running-cli.ts'

export interface Answer {
  readonly status: number
  readonly retryAfter: string | null
  readonly text: string
  readonly body: Record<string, unknown>
  readonly milliseconds: number
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

export async function ask (url: string, { method = 'GET', token, json }: { readonly method?: string, readonly token?: string, readonly json?: unknown } = {}): Promise<Answer> {
  const began = performance.now()
  const response = await fetch(url, {
    method: json === undefined ? method : 'POST',
    headers: { ...token === undefined ? {} : { authorization: `Bearer ${token}` }, ...json === undefined ? {} : { 'content-type': 'application/json' } },
    ...json === undefined ? {} : { body: JSON.stringify(json) },
  })
  const text = await response.text()
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    text,
    body: text.startsWith('{') ? JSON.parse(text) as Record<string, unknown> : {},
    milliseconds: performance.now() - began,
  }
}

export const logIn = async ({ url }: Running, username = 'alice'): Promise<Answer> => await ask(`${url}/auth/login`, { json: { username, password } })
export const refresh = async ({ url }: Running, token: string): Promise<Answer> => await ask(`${url}/auth/refresh`, { json: { refresh_token: token } })
export const use = async ({ url }: Running, token: string): Promise<number> => (await ask(`${url}/api`, { token })).status
export const ready = async ({ adminUrl }: Running): Promise<Answer> => await ask(`${adminUrl}/readyz`)

export async function tokensOf (running: Running): Promise<Tokens> {
  const { status, body, text } = await logIn(running)
  if (status !== 200) throw new Error(`the login was answered ${status}: ${text}`)
  return { access_token: String(body['access_token']), refresh_token: String(body['refresh_token']) }
}

/** Asks until it is so; what it was at the end. */
export async function soon<Result> (milliseconds: number, look: () => Promise<Result>, holds: (result: Result) => boolean): Promise<Result> {
  for (const until = performance.now() + milliseconds; ;) {
    const result = await look()
    if (holds(result) || performance.now() > until) return result
    await pause(50)
  }
}

interface UseAllAlong {
  /** Resolves when so many more have been answered. */
  another (many: number): Promise<void>
  stop (): Promise<{ readonly count: number, readonly others: readonly (number | string)[], readonly slowest: number }>
}

/** Verified requests, one after the other, until `stop`: how many there were, what else than 200 was answered, and how long the slowest took. */
export function useAllAlong (running: Running, token: string): UseAllAlong {
  let stopped = false
  const others: (number | string)[] = []
  let count = 0
  let slowest = 0
  const going = (async () => {
    while (!stopped) {
      const began = performance.now()
      const status = await use(running, token).catch(String)
      count++
      slowest = Math.max(slowest, performance.now() - began)
      if (status !== 200) others.push(status)
      await pause(10)
    }
  })()
  return {
    async another (many) {
      for (const until = count + many; count < until;) await pause(10)
    },
    async stop () {
      stopped = true
      await going
      return { count, others, slowest }
    },
  }
}
