/**
 * 0  can the request be read in just one way?   before any rule is looked at → 400
 * Node's parser has taken it; here is refused what it is lenient about and an upstream might read otherwise.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { onRequestHookHandler } from 'fastify'
import { Refusal } from '../errors.ts'
import { pathFault } from '../routes/canonical-path.ts'
import { isHeader } from './header-names.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Here comes what leads to a route of the configuration, if to anything: its target is read with that route. */
    forwards?: true
  }
}

export const admission: onRequestHookHandler = function admission (request, reply, done) {
  try {
    admitFraming(request.raw)
  } catch (refusal) {
    // Where this request ends is in doubt, so nothing behind it on its connection is believed to be another.
    leaveInDoubt(request.raw)
    reply.header('connection', 'close')
    throw refusal
  }
  // What a target may hold beyond that, its route says (find-route.ts).
  const fault = request.routeOptions.config.forwards === true ? null : pathFault(request.raw.url ?? '')
  if (fault !== null) throw new Refusal('GW_PATH_AMBIGUOUS', { reason: fault })
  done()
}

const doubtful = new WeakSet<Socket>()

/** What follows this request on its connection will be nobody's. */
export function leaveInDoubt (request: IncomingMessage): void {
  doubtful.add(request.socket)
}

/** Whether a request before this one left its connection in doubt: then this one is nobody's, and is not answered. */
export function isDoubtful (request: IncomingMessage): boolean {
  return doubtful.has(request.socket)
}

function admitFraming (request: IncomingMessage): void {
  if (request.httpVersionMajor !== 1 || request.httpVersionMinor > 1) throw new Refusal('GW_REQUEST_INVALID', { reason: 'HTTP version' })
  const raw = request.rawHeaders
  let hosts = 0
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? ''
    if (isHeader(name, 'host', 'Host')) {
      if (++hosts > 1) throw new Refusal('GW_HOST_INVALID', { reason: 'several Host headers' })
    } else if (isHeader(name, 'transfer-encoding', 'Transfer-Encoding')) {
      admitTransferEncoding(request, raw[index + 1] ?? '')
    }
  }
  const host = request.headers.host
  // RFC 9112 §3.2: a request of HTTP/1.1 has a Host, and whoever gets a wrong one answers 400.
  if (host === undefined ? request.httpVersionMinor === 1 : !isHost(host)) throw new Refusal('GW_HOST_INVALID', { reason: 'no valid Host header' })
}

/** RFC 9112 §6.1: chunked is the one coding there is, HTTP/1.0 knows none, and beside a length it is an attack. */
function admitTransferEncoding (request: IncomingMessage, value: string): void {
  if (value.toLowerCase() !== 'chunked' || request.httpVersionMinor === 0 || request.headers['content-length'] !== undefined) {
    throw new Refusal('GW_REQUEST_INVALID', { reason: 'Transfer-Encoding' })
  }
}

let lastHost = ''

/** RFC 3986 §3.2.2 without userinfo: a registered name or IPv4 address, or an IPv6 address in brackets, and a port. */
export function isHost (host: string): boolean {
  // One client, one host, request after request: the last one that was good is remembered.
  if (host === lastHost) return true
  if (host.length > 261 || !HOST.test(host)) return false
  lastHost = host
  return true
}

const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/

/**
 * The target in origin-form: an absolute-form target (RFC 9112 §3.2.2) whose authority is that of Host is cut to its
 * path; any other one is returned as it is, and is then refused by `admission`.
 */
export function originForm (request: IncomingMessage): string {
  const target = request.url ?? ''
  if (target.charCodeAt(0) === 0x2f) return target
  const match = /^https?:\/\/([^/?#]*)(\/[^#]*)?$/i.exec(target)
  if (match === null || match[1]?.toLowerCase() !== request.headers.host?.toLowerCase()) return target
  return match[2] ?? '/'
}
