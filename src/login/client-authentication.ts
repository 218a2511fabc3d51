/** Which configured client an OAuth request comes from, and whether it has proved it (RFC 6749 §2.3). */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Refusal, StartupFault } from '../errors.ts'
import { decodeFormText, type Form } from './body.ts'
import { headerValues } from './header-values.ts'
import { ownClientId } from './login-services.ts'

export interface OAuthClient {
  readonly id: string
  /** It has a secret, and has shown it. */
  readonly confidential: boolean
}

/** null: no client was named. Refusals: GW_CLIENT_INVALID, or GW_REQUEST_INVALID for one named in two ways. */
export type AuthenticateClient = (request: Pick<FastifyRequest, 'raw'>, form: Form) => OAuthClient | null

export function createClientAuthentication (clients: Config['clients']): AuthenticateClient {
  const secrets = new Map(clients.map(({ id, secret }) => [id, secret === undefined ? null : sha256(secret)]))
  if (secrets.has(ownClientId)) throw new StartupFault(`clients: the id ${ownClientId} is that of sessions without a client; choose another`)

  return function authenticateClient (request, form) {
    const claims = claimsOf(request, form)
    if (claims.length === 0) return null
    for (const { id, secret } of claims) {
      const expected = secrets.get(id)
      if (expected === null && secret === '') return { id, confidential: false }
      // Hashes are of one length, and an unknown client costs the same.
      if (timingSafeEqual(sha256(secret), expected ?? unknownSecret) && expected !== undefined && expected !== null) return { id, confidential: true }
    }
    throw new Refusal('GW_CLIENT_INVALID', { reason: 'unknown client, or wrong secret' })
  }
}

interface Claim { readonly id: string, readonly secret: string }

/** The readings of what the client says of itself. */
function claimsOf ({ raw }: Pick<FastifyRequest, 'raw'>, form: Form): readonly Claim[] {
  const authorizations = headerValues(raw, 'authorization')
  if (authorizations.length > 1) throw new Refusal('GW_REQUEST_INVALID', { reason: 'several Authorization headers' })
  const [authorization] = authorizations
  const id = form.get('client_id')
  const secret = form.get('client_secret')

  if (authorization === undefined) {
    if (id !== undefined) return [{ id, secret: secret ?? '' }]
    if (secret !== undefined) throw new Refusal('GW_REQUEST_INVALID', { reason: 'client_secret without client_id' })
    return []
  }
  // RFC 6749 §2.3: not more than one method in a request.
  if (secret !== undefined) throw new Refusal('GW_REQUEST_INVALID', { reason: 'client credentials in two places' })
  const claims = basicClaims(authorization)
  if (id === undefined) return claims
  const same = claims.filter((claim) => claim.id === id)
  if (same.length === 0) throw new Refusal('GW_REQUEST_INVALID', { reason: 'two different clients' })
  return same
}

/**
 * RFC 6749 §2.3.1 has id and secret form-encoded before they are joined. Half of the world's clients leave that out,
 * and then a `+` or `%` of a secret does not come through: as it stands is the second reading.
 */
function basicClaims (authorization: string): readonly Claim[] {
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization)?.[1]
  const pair = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  if (colon < 1) throw new Refusal('GW_CLIENT_INVALID', { reason: 'no Basic credentials' })
  const plain = { id: pair.slice(0, colon), secret: pair.slice(colon + 1) }
  const id = decodeFormText(plain.id)
  const secret = decodeFormText(plain.secret)
  if (id === null || secret === null || (id === plain.id && secret === plain.secret)) return [plain]
  return [{ id, secret }, plain]
}

function sha256 (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

const unknownSecret = sha256('')
