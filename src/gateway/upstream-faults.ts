/** What can go wrong with an upstream → the refusal that the client gets, without the library's words or an address. */
import { Refusal } from '../errors.ts'

export type FaultKind = 'refused' | 'timeout' | 'reset' | 'broken'

export interface UpstreamFault {
  readonly kind: FaultKind
  readonly refusal: Refusal
}

export function upstreamFault (error: unknown): UpstreamFault {
  const code = errorCode(error)
  const details = { reason: `upstream: ${code}`, cause: error }
  if (timeouts.has(code)) return { kind: 'timeout', refusal: new Refusal('GW_UPSTREAM_TIMEOUT', details) }
  if (unreachable.has(code) || code.includes('CERT') || code.startsWith('ERR_TLS') || code.startsWith('ERR_SSL')) {
    return { kind: 'refused', refusal: new Refusal('GW_UPSTREAM_UNREACHABLE', details) }
  }
  if (resets.has(code)) return { kind: 'reset', refusal: new Refusal('GW_UPSTREAM_BROKEN', details) }
  return { kind: 'broken', refusal: new Refusal('GW_UPSTREAM_BROKEN', details) }
}

const timeouts: ReadonlySet<string> = new Set(['CONNECT_TIMEOUT', 'HEAD_TIMEOUT', 'BODY_TIMEOUT', 'ETIMEDOUT'])

const unreachable: ReadonlySet<string> = new Set([
  'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT', 'EACCES',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

const resets: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'CLOSED', 'ANSWER_CUT_OFF'])

function errorCode (error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return error instanceof Error ? error.name : 'unknown'
}
