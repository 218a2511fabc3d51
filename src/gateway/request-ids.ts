/** What a request is called in its answer, in the log and at the upstream: ours, or that of a trusted proxy. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TrustedProxies } from './trusted-proxies.ts'

/** Unique over restarts and replicas by its first part, within the process by its second. Not a secret, so no crypto a request. */
const processId = randomBytes(6).toString('base64url')
let count = 0

export function nextRequestId (): string {
  return `${processId}.${(count++).toString(36)}`
}

export function createRequestIds (trustedProxies: TrustedProxies): (request: IncomingMessage) => string {
  return function requestId (request) {
    const given = request.headers['x-request-id']
    if (typeof given === 'string' && WELL_FORMED.test(given) && trustedProxies.trusts(request.socket.remoteAddress)) return given
    return nextRequestId()
  }
}

const WELL_FORMED = /^[A-Za-z0-9._-]{1,128}$/
