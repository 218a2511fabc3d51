/** Where the story of the demo is shown: an exchange as a curl line, what was answered, and whether that was as told. */
import { STATUS_CODES } from 'node:http'
import { writeFileSync } from 'node:fs'
import { print } from './print.ts'

/** `$NAME` in headers and body stands for a variable, in the curl line too. */
export interface Exchange {
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: Readonly<Record<string, string>>
  /** What must come back. */
  readonly status: number
  /** Gatewarden's own code, where it must refuse. */
  readonly code?: string
  /** Headers of the answer that are worth showing. */
  readonly show?: readonly string[]
}

export interface Answer {
  /** Whether it was what must come back. */
  readonly asTold: boolean
  /** Members of the JSON answer; none where there was none. */
  readonly body: Readonly<Record<string, unknown>>
}

export interface Stage {
  say (text: string): void
  title (text: string): void
  /** What is true now, in green; or what should be and is not, in red, and remembered. */
  check (claim: string, ...reasons: readonly (boolean | Answer)[]): void
  exchange (exchange: Exchange): Promise<Answer>
  /** A line that curl knows nothing of: what the API saw, what the log says. */
  note (line: string): void
  set (name: string, value: string): void
  get (name: string): string
  /** A file to be sourced: the variables of the curl lines, with those of a new login. */
  leaveTokens (file: string, user: { readonly name: string, readonly password: string }): Promise<void>
  failures (): readonly string[]
}

export function createStage ({ url, colours }: { readonly url: string, readonly colours: boolean }): Stage {
  const variables = new Map<string, string>()
  const failures: string[] = []
  let chapter = 0
  const paint = (code: number, text: string) => colours ? `\u001b[${code}m${text}\u001b[0m` : text
  const fill = (text: string) => text.replace(/\$([A-Z_]+)/g, (_, name: string) => variables.get(name) ?? '')

  const stage: Stage = {
    say (text) { print(`\n${text}`) },
    title (text) { print(`\n${paint(1, `${++chapter}. ${text}`)}`) },
    check (claim, ...reasons) {
      const holds = reasons.every((reason) => typeof reason === 'boolean' ? reason : reason.asTold)
      if (!holds) failures.push(claim)
      print(holds ? paint(32, `   ✓ ${claim}`) : paint(31, `   ✗ ${claim}`))
    },
    note (line) { print(paint(2, `     ${line}`)) },
    set (name, value) { variables.set(name, value) },
    get: (name) => variables.get(name) ?? '',
    failures: () => failures,

    async exchange (exchange) {
      const { method = exchange.json === undefined ? 'GET' : 'POST', path, json, status, code, show = [] } = exchange
      const headers = { ...exchange.headers, ...json === undefined ? {} : { 'content-type': 'application/json' } }
      const body = json === undefined ? undefined : JSON.stringify(json)
      print(paint(36, `   $ ${curlLine({ url: `${url}${path}`, method, headers, body })}`))
      const response = await fetch(`${url}${path}`, {
        method,
        headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, fill(value)])),
        ...body === undefined ? {} : { body: fill(body) },
      })
      const text = await response.text()
      const answered = parse(text)
      const asTold = response.status === status && (code === undefined || answered['code'] === code)
      stage.note(`HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ''}`)
      for (const name of show) stage.note(`${name}: ${response.headers.get(name) ?? '(none)'}`)
      if (text !== '') stage.note(shortened(answered))
      if (!asTold) stage.note(paint(31, `(should be ${status}${code === undefined ? '' : ` ${code}`})`))
      return { asTold, body: answered }
    },

    async leaveTokens (file, { name, password }) {
      const response = await fetch(`${url}/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ username: name, password }),
      })
      const { access_token: accessToken, refresh_token: refreshToken } = await response.json() as { access_token: string, refresh_token: string }
      variables.set('ACCESS_TOKEN', accessToken).set('REFRESH_TOKEN', refreshToken)
      writeFileSync(file, [...variables].map(([variable, value]) => `${variable}='${value}'\n`).join(''), { mode: 0o600 })
    },
  }
  return stage
}

interface Request { readonly url: string, readonly method: string, readonly headers: Readonly<Record<string, string>>, readonly body: string | undefined }

function curlLine ({ url, method, headers, body }: Request): string {
  const parts = ['curl', '-i', url]
  if (method !== (body === undefined ? 'GET' : 'POST')) parts.splice(2, 0, '-X', method)
  for (const [name, value] of Object.entries(headers)) parts.push('-H', quoted(`${name}: ${value}`))
  if (body !== undefined) parts.push('-d', quoted(body))
  return parts.join(' ')
}

/** In double quotes where a variable is to be filled in. */
function quoted (text: string): string {
  return text.includes('$') ? `"${text.replace(/["\\`]/g, '\\$&')}"` : `'${text.replaceAll("'", "'\\''")}'`
}

/** What the API saw is shown by itself; of a token, its beginning. */
function shortened (body: Answer['body']): string {
  const { saw, ...rest } = body
  return JSON.stringify({ ...rest, ...saw === undefined ? {} : { saw: '…' } }, (_, value: unknown) =>
    typeof value === 'string' && /^[\w-]{20,}(\.|$)[\w.-]*$/.test(value) && value.length > 40 ? `${value.slice(0, 12)}…` : value)
}

function parse (text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return {}
  }
}
