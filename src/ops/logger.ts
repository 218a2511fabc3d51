/** What a log line looks like, and what never gets into one; who writes lines, and about what, is decided elsewhere. */
import { fastifyPlugin } from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyPluginCallback, FastifyRequest } from 'fastify'
import type { LoggerOptions } from 'pino'
import { wasRefused } from './error-handler.ts'

/** A line of what happened to somebody's login. `event` says what; the rest whom, from where, and why. */
export interface AuthEventLine {
  readonly event: string
  readonly [field: string]: string | number | null | undefined
}

export interface AccessLogOptions {
  readonly routeOf: (request: FastifyRequest) => string | null
  readonly subjectOf: (request: FastifyRequest) => string | null
}

/** Options for pino, or for Fastify's `logger`. Secrets stay out of lines by never being put there; this is the second net. */
export function loggerOptions ({ level }: { readonly level: string }): LoggerOptions {
  return {
    level,
    // No pid and host name: whoever collects the lines knows the container, and pid 1 tells nobody anything.
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }), log: withoutSecrets, bindings: withoutSecrets },
    hooks: {
      // A message may be an error's: pino takes it from there when it gets none, and Fastify hands it over.
      logMethod (args, method) {
        const message = args.length === 1 ? messageOf(args[0]) : null
        const scrubbed = [...args, ...message === null ? [] : [message]].map((one: unknown) => typeof one === 'string' ? scrub(one) : one)
        method.apply(this, scrubbed as typeof args)
      },
    },
    serializers: {
      err: (thrown: unknown) => describeFault(thrown, { withStack: true }),
      cause: (thrown: unknown) => describeFault(thrown, { withStack: false }),
      reason: (reason: unknown) => typeof reason === 'string' ? scrub(reason) : reason,
      // Fastify prints a request's URL and an answer's headers: a query can hold a token, a header does.
      req: ({ method }: { method?: unknown }) => ({ method }),
      res: ({ statusCode }: { statusCode?: unknown }) => ({ statusCode }),
    },
  }
}

export function logAuthEvent (log: Pick<FastifyBaseLogger, 'info' | 'warn'>, event: AuthEventLine): void {
  // Somebody else may hold this session's token: what an operator looks for first.
  if (event.event === 'reuse') log.warn(event, 'auth')
  else log.info(event, 'auth')
}

/** A line for every answered request, save those whose refusal has one already. Registered only where the configuration asks for it. */
export const accessLog: FastifyPluginCallback<AccessLogOptions> = fastifyPlugin<AccessLogOptions>(
  (app, { routeOf, subjectOf }, done) => {
    app.addHook('onResponse', function accessLog (request, reply, next) {
      if (!wasRefused(request)) {
        app.log.info({
          request_id: request.id,
          method: request.method,
          route: routeOf(request),
          subject: subjectOf(request),
          address: request.ip ?? null,
          duration_ms: Math.round(reply.elapsedTime * 1000) / 1000,
          status: reply.statusCode,
        }, 'request')
      }
      next()
    })
    done()
  },
  { name: 'access-log', fastify: '5.x' }
)

/**
 * The fields, and those of the objects among them, less what goes by the name of a secret. Not pino's `redact`, which looks for
 * each path in each line: that was most of what a refused request cost (`npm run bench:count`).
 */
function withoutSecrets (fields: Record<string, unknown>): Record<string, unknown> {
  let clean = fields
  for (const [name, value] of Object.entries(fields)) {
    const shown = secretNames.has(name) ? '[redacted]' : isPlain(value) ? withoutNamed(value) : value
    if (shown === value) continue
    if (clean === fields) clean = { ...fields }
    clean[name] = shown
  }
  return clean
}

function withoutNamed (fields: Record<string, unknown>): Record<string, unknown> {
  const named = Object.keys(fields).filter((name) => secretNames.has(name))
  return named.length === 0 ? fields : { ...fields, ...Object.fromEntries(named.map((name) => [name, '[redacted]'])) }
}

/** Errors, and what else has a class, have serializers of their own. */
function isPlain (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

const secretNames: ReadonlySet<string> = new Set([
  'password', 'refresh_token', 'access_token', 'token', 'client_secret', 'secret', 'private_key', 'password_hash',
  'authorization', 'Authorization', 'proxy-authorization', 'cookie', 'Cookie', 'set-cookie', 'headers', 'body', 'url', 'query',
])

/** Takes out what looks like a secret: tokens, hashes, keys, and the password inside a URL. */
export function scrub (text: string): string {
  return secretShapes.reduce((scrubbed, [shape, replacement]) => scrubbed.replace(shape, replacement), text)
}

const secretShapes: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[private key]'],
  [/\beyJ[\w-]+\.[\w-]*\.?[\w-]*/g, '[jwt]'],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 [redacted]'],
  [/\$(?:argon2\w*|2[abxy]|apr1)\$[\w$=,.+/-]+/g, '[password hash]'],
  [/:\/\/[^\s/@]*@/g, '://[redacted]@'],
  // 256 bits in base64url have 43 characters; a kid has as many, but no line needs one of those.
  [/[\w-]{40,}/g, '[redacted]'],
]

/** Of the error that a line is about. */
function messageOf (subject: unknown): string | null {
  if (subject instanceof Error) return subject.message
  if (typeof subject === 'object' && subject !== null && 'err' in subject && subject.err instanceof Error) return subject.err.message
  return null
}

const deepestCause = 4

function describeFault (thrown: unknown, how: { readonly withStack: boolean }, depth = 0): unknown {
  if (!(thrown instanceof Error)) return { type: typeof thrown }
  const code = 'code' in thrown && typeof thrown.code === 'string' ? { code: thrown.code } : {}
  const stack = how.withStack && thrown.stack !== undefined ? { stack: scrub(thrown.stack) } : {}
  const cause = thrown.cause !== undefined && depth < deepestCause ? { cause: describeFault(thrown.cause, how, depth + 1) } : {}
  return { type: thrown.name, message: scrub(thrown.message), ...code, ...stack, ...cause }
}
