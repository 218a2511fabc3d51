/** Bytes that would end a header, a line or a request where they must not: in requests, and in what users say about themselves. */
import { both, nothingOf, refused, type AttackClass, type Judge } from './attack.ts'
import { bearer, requestText } from './request-text.ts'

const separators = ['\r\n', '\n', '\r', '\u0000', '\r\n ', '\r\n\t', '\n ', '\r\r\n', '\r\n\r\n', '\u000b', '\u000c', '\u0001', '\u007f', '\u001b']

export const splitting: AttackClass = {
  name: 'splitting',
  claim: 'no value can end its header, its line or its request',
  async run (range, score) {
    const { marker } = range
    const injected = both(nothingOf('\r\nx-injected:'), oneOrNone)
    for (const route of range.routes) {
      const caller = route.isPublic ? [] : [bearer(range.tokenFor(route))]
      const { method, path, host } = route
      await score.control(`${route.name}: a value with all that may be in one`, requestText({ method, target: path, host, lines: [...caller, 'X-Value: !"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ \t \u00ff'] }), reached)
      for (const separator of separators) {
        // A whole line end makes a header of the client's own, which is nobody's identity: that is no attack.
        if (separator === '\r\n') continue
        const line = `X-Value: a${separator}X-Injected: ${marker}`
        // Behind an empty line there is a body or another request; that is for framing.
        if (separator !== '\r\n\r\n') await score.attack(`${route.name}: ${JSON.stringify(separator)} in a value`, requestText({ method, target: path, host, lines: [...caller, line] }), both(injected, nothingOf(`${separator}x-injected`)))
        await score.attack(`${route.name}: ${JSON.stringify(separator)} in the target`, requestText({ method, target: `${path}${separator}X-Injected:${marker}`, host, lines: caller }), injected)
        await score.attack(`${route.name}: ${JSON.stringify(separator)} in the query`, requestText({ method, target: `${path}?a=${separator}X-Injected:${marker}`, host, lines: caller }), injected)
        await score.attack(`${route.name}: ${JSON.stringify(separator)} in the host`, requestText({ method, target: path, host: `${host}${separator}X-Injected: ${marker}`, lines: caller }), injected)
      }
      for (const encoded of ['%0d%0a', '%0a', '%0D', '%00', '%e5%98%8a%e5%98%8d', '%c4%8d%c4%8a', '\u010d\u010a', '%250d%250a', '%u000d%u000a']) {
        const bytes = Buffer.from(encoded, 'utf8').toString('latin1')
        await score.attack(`${route.name}: ${encoded} in the path`, requestText({ method, target: `${path}/${bytes}X-Injected:%20${marker}`, host, lines: caller }), injected)
        await score.attack(`${route.name}: ${encoded} in the query`, requestText({ method, target: `${path}?a=${bytes}X-Injected:%20${marker}`, host, lines: caller }), injected)
      }
      // The session's user has such lines in every attribute that an identity header shows.
      if (!route.isPublic) await score.attack(`${route.name}: in the user's own attributes`, requestText({ method, target: path, host, lines: caller }), both(injected, reached, visibleAscii))
      if (!route.isPublic) {
        for (const value of [`x\r\nX-Injected: ${marker}`, `x\nX-Injected: ${marker}`, `x\u0000${marker}`, `\u560a\u560dX-Injected: ${marker}`]) {
          await score.attack(`${route.name}: ${JSON.stringify(value)} in a role`, requestText({ method, target: path, host, lines: [bearer(range.token({ ...route.rule, roles: [...rolesOf(route.rule), value] }))] }), both(injected, visibleAscii))
          await score.attack(`${route.name}: ${JSON.stringify(value)} in the subject`, requestText({ method, target: path, host, lines: [bearer(range.token({ ...route.rule, sub: value }))] }), both(injected, visibleAscii))
        }
      }
    }
    for (const target of ['/auth/verify', '/auth/sessions', '/.well-known/jwks.json']) {
      await score.attack(`${target}: a line end in the target`, requestText({ target: `${target}\r\nX-Injected: ${marker}`, host: range.host }), both(refused, notAnswered(marker)))
    }
  },
}

function rolesOf (rule: Readonly<Record<string, unknown>> | null): unknown[] {
  const roles = rule?.['roles']
  return Array.isArray(roles) ? roles : []
}

const oneOrNone: Judge = ({ seen }) => seen.length > 1 ? `the upstream saw ${seen.length} requests` : null

const reached: Judge = ({ answer, seen }) => seen.length === 1 ? null : `the upstream saw ${seen.length} requests; it was answered ${answer.status}`

const visibleAscii: Judge = ({ seen }) => seen.flatMap(({ headers }) => headers).some(([, value]) => /[^\t -~]/.test(value)) ? 'the upstream saw a value that is not printable ASCII' : null

function notAnswered (marker: string): Judge {
  return ({ answer }) => answer.text.toLowerCase().includes(`\r\nx-injected: ${marker}`) ? 'the answer was split' : null
}
