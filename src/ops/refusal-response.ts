/** The one place that shapes a refusal: status, headers and body, for Fastify and for raw sockets alike. */
import { catalogue, type Refusal } from '../errors.ts'

export interface RefusalResponse {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

/** `realm` names the protection space of the challenges (RFC 9110 §11.5): the issuer. */
export function refusalResponse (refusal: Refusal, requestId: string, realm: string): RefusalResponse {
  const { status, error, description } = catalogue[refusal.code]
  const body = JSON.stringify({ error, error_description: description, code: refusal.code, request_id: requestId })
  const headers: [string, string][] = [
    ['Content-Type', 'application/json; charset=utf-8'],
    ['Content-Length', String(Buffer.byteLength(body))],
    ['Cache-Control', 'no-store'],
    ['X-Content-Type-Options', 'nosniff'],
    ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
    ['X-Request-Id', requestId],
  ]
  const challenge = challengeOf(refusal, realm)
  if (challenge !== null) headers.push(['WWW-Authenticate', challenge])
  const { retryAfterSeconds, allow } = refusal.details
  if (retryAfterSeconds !== undefined) headers.push(['Retry-After', String(Math.max(0, Math.ceil(retryAfterSeconds)))])
  if (allow !== undefined) headers.push(['Allow', allow])
  return { status, headers, body }
}

/** Every 401 needs a challenge (RFC 9110 §15.5.2); what it says follows RFC 6750 §3 and RFC 6749 §5.2. */
function challengeOf (refusal: Refusal, realm: string): string | null {
  const { status, error, description } = catalogue[refusal.code]
  if (status !== 401 && status !== 403) return null
  // A client authenticates by Basic. RFC 7617 §2.1: the charset says how names and secrets are encoded.
  if (error === 'invalid_client') return `Basic realm=${quoted(realm)}, charset="UTF-8"`
  const challenge = `Bearer realm=${quoted(realm)}`
  // RFC 6750 §3.1: no error for a caller who showed no token, so neither for one who came with a password.
  if (error !== 'invalid_token' && error !== 'insufficient_scope') return challenge
  const { scope } = refusal.details
  return `${challenge}, error=${quoted(error)}, error_description=${quoted(description)}` +
    (scope === undefined ? '' : `, scope=${quoted(scope)}`)
}

/** RFC 9110 §5.6.4. What a header cannot carry is left out: a configured scope or issuer may hold anything. */
function quoted (text: string): string {
  return `"${text.replace(/[^\t\x20-\x7e]/g, '').replace(/["\\]/g, '\\$&')}"`
}
