/**
 * 4  the request's head as the upstream will see it: what the client may say, then what the gateway knows. Identity is
 * written here, last, after every name that could speak for it is gone; nowhere else (CVE-2026-33805, CVE-2025-64484).
 */
import type { IncomingMessage } from 'node:http'
import type { Identity } from '../tokens/identity.ts'
import { isHeader, nominated, without, type HeaderNames } from './header-names.ts'
import type { AddIdentityHeaders } from './identity-headers.ts'
import { peerAddress, type TrustedProxies } from './trusted-proxies.ts'

export interface RequestHeaderOptions {
  readonly names: HeaderNames
  readonly addIdentityHeaders: AddIdentityHeaders
  readonly trustedProxies: TrustedProxies
  readonly forwardAuthorization: boolean
}

/** → flat name, value list, complete but for Host and the framing headers, which whoever sends it writes. */
export type RequestHeaders = (request: IncomingMessage, requestId: string, identity: Identity | null) => string[]

export function compileRequestHeaders (options: RequestHeaderOptions): RequestHeaders {
  const { names, addIdentityHeaders, trustedProxies, forwardAuthorization } = options
  return function requestHeaders (request, requestId, identity) {
    const raw = request.rawHeaders
    let headers: string[] = []
    let dropped: readonly string[] | null = null
    for (let index = 0; index < raw.length; index += 2) {
      const name = raw[index] ?? ''
      const fate = names.requestFate(name)
      if (fate === 'keep') {
        if (forwardAuthorization || !isHeader(name, 'authorization', 'Authorization')) headers.push(name, raw[index + 1] ?? '')
      } else if (fate === 'connection') {
        const also = nominated(raw[index + 1] ?? '')
        if (also !== null) dropped = dropped === null ? also : [...dropped, ...also]
      }
    }
    if (dropped !== null) headers = without(headers, dropped)

    addForwarded(headers, request, trustedProxies)
    headers.push('X-Request-Id', requestId)
    if (identity !== null) addIdentityHeaders(headers, identity)
    return headers
  }
}

/** X-Forwarded-*: what this gateway saw; behind a trusted proxy what that one says, with itself added to the path. */
function addForwarded (headers: string[], request: IncomingMessage, trustedProxies: TrustedProxies): void {
  const { socket } = request
  const peer = peerAddress(socket)
  let forwardedFor = peer
  let proto = 'encrypted' in socket ? 'https' : 'http'
  let host = request.headers.host
  if (trustedProxies.trusts(peer)) {
    const said = request.headers
    const earlier = text(said['x-forwarded-for'])
    if (earlier !== undefined) forwardedFor = `${earlier}, ${peer}`
    proto = text(said['x-forwarded-proto']) ?? proto
    host = text(said['x-forwarded-host']) ?? host
    const port = text(said['x-forwarded-port'])
    if (port !== undefined) headers.push('X-Forwarded-Port', port)
    const prefix = text(said['x-forwarded-prefix'])
    if (prefix !== undefined) headers.push('X-Forwarded-Prefix', prefix)
  }
  headers.push('X-Forwarded-For', forwardedFor, 'X-Forwarded-Proto', proto)
  if (host !== undefined) headers.push('X-Forwarded-Host', host)
}

function text (value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}
