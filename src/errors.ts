/** Every refusal there is: its stable code, its status, the sentence that the caller may read. */

interface Definition {
  readonly status: number
  /** The `error` member: OAuth's code where there is one (RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1). */
  readonly error: string
  readonly description: string
}

/** The codes are API: clients switch on them. One is added at will, changed never. */
export const catalogue = {
  // 400: the request cannot be read, or can be read in two ways
  GW_REQUEST_INVALID: { status: 400, error: 'invalid_request', description: 'The request is malformed.' },
  GW_PATH_AMBIGUOUS: { status: 400, error: 'invalid_request', description: 'The path can be read in more than one way. Send it in its plain form: no dot segments, no empty segments, no encoded or backward slashes, no needless percent-encoding.' },
  GW_HOST_INVALID: { status: 400, error: 'invalid_request', description: 'The request needs exactly one valid Host header.' },
  GW_HEADER_INVALID: { status: 400, error: 'invalid_request', description: 'A header of the request is not valid.' },
  GW_BODY_INVALID: { status: 400, error: 'invalid_request', description: 'The body is not what this endpoint takes.' },
  GW_UPGRADE_REFUSED: { status: 400, error: 'invalid_request', description: 'This route takes no WebSocket, or the handshake is malformed.' },
  GW_GRANT_INVALID: { status: 400, error: 'invalid_grant', description: 'The user name, the password or the refresh token is not valid.' },
  GW_GRANT_UNSUPPORTED: { status: 400, error: 'unsupported_grant_type', description: 'The grant type is not supported: use password or refresh_token.' },
  GW_TOKEN_TYPE_UNSUPPORTED: { status: 400, error: 'unsupported_token_type', description: 'Tokens of this type cannot be revoked here.' },

  // 401, 403: who is calling, and may they
  GW_TOKEN_MISSING: { status: 401, error: 'unauthorized', description: 'This resource needs an access token.' },
  GW_TOKEN_INVALID: { status: 401, error: 'invalid_token', description: 'The access token is not valid.' },
  GW_TOKEN_EXPIRED: { status: 401, error: 'invalid_token', description: 'The access token has expired. Refresh it.' },
  GW_SESSION_ENDED: { status: 401, error: 'invalid_token', description: 'The session of this access token has ended. Log in again.' },
  GW_CREDENTIALS_INVALID: { status: 401, error: 'invalid_credentials', description: 'The user name or the password is wrong.' },
  GW_REFRESH_TOKEN_INVALID: { status: 401, error: 'invalid_grant', description: 'The refresh token is not valid any more. Log in again.' },
  GW_CLIENT_INVALID: { status: 401, error: 'invalid_client', description: 'The client is unknown, or its secret is wrong.' },
  GW_ACCESS_DENIED: { status: 403, error: 'insufficient_scope', description: 'The token is valid, but does not grant this.' },

  // 404 … 429
  GW_ROUTE_NOT_FOUND: { status: 404, error: 'not_found', description: 'Nothing is served at this path.' },
  GW_SESSION_NOT_FOUND: { status: 404, error: 'not_found', description: 'There is no such live session of yours.' },
  GW_METHOD_NOT_ALLOWED: { status: 405, error: 'method_not_allowed', description: 'The method is not allowed at this path.' },
  GW_REQUEST_TIMEOUT: { status: 408, error: 'request_timeout', description: 'The request did not arrive in time.' },
  GW_BODY_TOO_LARGE: { status: 413, error: 'request_too_large', description: 'The body is larger than this route takes.' },
  GW_URI_TOO_LONG: { status: 414, error: 'invalid_request', description: 'The request target is too long.' },
  GW_MEDIA_TYPE_UNSUPPORTED: { status: 415, error: 'unsupported_media_type', description: 'The content type is not one that this endpoint takes.' },
  GW_EXPECTATION_FAILED: { status: 417, error: 'invalid_request', description: 'The only expectation that is met here is 100-continue.' },
  GW_TOO_MANY_ATTEMPTS: { status: 429, error: 'too_many_attempts', description: 'Too many attempts. Wait as long as Retry-After says.' },
  GW_HEADERS_TOO_LARGE: { status: 431, error: 'headers_too_large', description: 'The headers are larger than the gateway takes.' },

  // 5xx: ours, or the upstream's
  GW_INTERNAL: { status: 500, error: 'server_error', description: 'The gateway failed. The request id names the line in its log.' },
  GW_UPSTREAM_UNREACHABLE: { status: 502, error: 'bad_gateway', description: 'The upstream cannot be reached.' },
  GW_UPSTREAM_BROKEN: { status: 502, error: 'bad_gateway', description: 'The upstream gave no valid answer.' },
  GW_KEYS_UNAVAILABLE: { status: 503, error: 'unavailable', description: 'The keys of the issuer of this token are not known at the moment. Try again as Retry-After says.' },
  GW_UNAVAILABLE: { status: 503, error: 'unavailable', description: 'The gateway cannot answer this now. Try again later.' },
  GW_DRAINING: { status: 503, error: 'unavailable', description: 'The gateway is shutting down. Try again.' },
  GW_UPSTREAM_TIMEOUT: { status: 504, error: 'gateway_timeout', description: 'The upstream did not answer in time.' },
} as const satisfies Record<string, Definition>

export type RefusalCode = keyof typeof catalogue

export interface RefusalDetails {
  /** For the log alone; never sent, and never with a secret in it. */
  readonly reason?: string
  readonly cause?: unknown
  /** Becomes `Retry-After`. Whole seconds. */
  readonly retryAfterSeconds?: number
  /** What the refusal hangs on: once this has settled, the same question may be answered otherwise. Never rejects. */
  readonly settled?: Promise<void>
  /** Becomes `Allow` of a 405. */
  readonly allow?: string
  /** Becomes `scope` in the challenge of a 403 (RFC 6750 §3.1). */
  readonly scope?: string
}

/** A request that is not let through. Carries no stack: a flood of bad tokens buys no stack traces. */
export class Refusal extends Error {
  readonly code: RefusalCode
  readonly statusCode: number
  readonly error: string
  readonly details: RefusalDetails

  constructor (code: RefusalCode, details: RefusalDetails = {}) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(catalogue[code].description)
    Error.stackTraceLimit = limit
    this.code = code
    this.statusCode = catalogue[code].status
    this.error = catalogue[code].error
    this.details = details
  }
}

/** Asks at once; where the refusal hangs on something that is under way, a second and last time when that has settled. */
export function askPatiently<Question, Answer> (ask: (question: Question) => Answer, question: Question): Answer | Promise<Answer> {
  try {
    return ask(question)
  } catch (thrown) {
    if (!(thrown instanceof Refusal) || thrown.details.settled === undefined) throw thrown
    return thrown.details.settled.then(() => ask(question))
  }
}

/** A start that cannot go on: a port in use, an unreadable file. One clear line, exit 1. */
export class StartupFault extends Error {
  constructor (message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StartupFault'
  }
}
