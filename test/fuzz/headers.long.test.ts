/** Whatever a client writes into its head: an upstream that folds names as CGI does finds identity and forwarding from us alone. */
import t from 'tap'
import fc from 'fast-check'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { originForm } from '../../src/gateway/admission.ts'
import { compileHeaderNames, foldName, framing, hopByHop, nominated, without } from '../../src/gateway/header-names.ts'
import { compileIdentityHeaders, headerValue } from '../../src/gateway/identity-headers.ts'
import { compileRequestHeaders } from '../../src/gateway/request-headers.ts'
import { compileTrustedProxies } from '../../src/gateway/trusted-proxies.ts'
import type { Identity } from '../../src/tokens/identity.ts'
import { holds, isWellFormed, mixtureOf } from './property.ts'

const options = { identity: ['X-User-Id', 'X-Tenant', 'X.Odd~Name'], reservedPrefixes: ['X-User-', 'X-Gatewarden-'] }
const mapping = { 'X-User-Id': 'sub', 'X-Tenant': 'tenant', 'X.Odd~Name': 'odd' }

/** RFC 3875 §4.1.18, and PHP: what is no letter or digit is `_`; one name, one variable. */
const cgi = (name: string) => `HTTP_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`
const ours = ['X-User-Id', 'X-Tenant', 'X.Odd~Name', 'X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Request-Id'].map(cgi)

const separators = ['-', '_', '.', '~', "'", '!', '#', '$', '%', '&', '*', '+', '^', '`', '|']
const word = fc.constantFrom('x', 'user', 'id', 'tenant', 'odd', 'name', 'http', 'gatewarden', 'forwarded', 'for', 'host', 'proto', 'request', 'content', 'length', 'type', 'transfer', 'encoding', 'connection', 'remote', 'real', 'ip', 'a', 'expect', 'te', 'upgrade')
const cased = fc.tuple(word, fc.constantFrom('lower', 'upper', 'first')).map(([text, how]) => how === 'lower' ? text : how === 'upper' ? text.toUpperCase() : text.charAt(0).toUpperCase() + text.slice(1))
const name = fc.array(fc.tuple(cased, fc.constantFrom(...separators, '-', '-', '_')), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.map(([text, separator], index) => index === parts.length - 1 ? text : text + separator).join(''))
const token = fc.oneof({ weight: 5, arbitrary: name }, { weight: 1, arbitrary: mixtureOf(['X', '-', '_', 'User', 'Id', ...separators], { maxLength: 6 }).map((text) => text.replace(/[^!#$%&'*+.^_`|~0-9A-Za-z-]/g, '') || 'x') })
const value = fc.oneof(fc.constant('mallory'), fc.constant('keep-alive'), token, fc.array(token, { maxLength: 3 }).map((names) => names.join(', ')))
const head = fc.array(fc.tuple(fc.oneof(token, fc.constant('Connection'), fc.constant('Authorization')), value), { maxLength: 8 })

const identity: Identity = { subject: 'alice', issuer: 'i', sessionId: 's', expiresAt: 1, roles: [], scopes: [], claims: { tenant: 'acme' } }

function requestOf (headers: readonly (readonly [string, string])[]): IncomingMessage {
  const socket = new Socket()
  Object.defineProperty(socket, 'remoteAddress', { value: '192.0.2.1' })
  const request = new IncomingMessage(socket)
  request.rawHeaders = headers.flat()
  for (const [one, text] of headers) request.headers[one.toLowerCase()] = text
  request.headers.host = 'a.test'
  return request
}

const names = compileHeaderNames(options)
const compiled = { names, addIdentityHeaders: compileIdentityHeaders(mapping), forwardAuthorization: false }

await t.test('no spelling speaks for us', async (t) => {
  const requestHeaders = compileRequestHeaders({ ...compiled, trustedProxies: compileTrustedProxies([]) })
  for (const who of [identity, null]) {
    await holds(t, `of ${who === null ? 'nobody' : 'somebody'} the folded head says what we say`, 1_500, head, (headers) => {
      const flat = requestHeaders(requestOf(headers), 'request-id', who)
      const variables = new Map<string, string[]>()
      for (let index = 0; index < flat.length; index += 2) {
        const variable = cgi(flat[index] ?? '')
        variables.set(variable, [...variables.get(variable) ?? [], flat[index + 1] ?? ''])
        const lower = (flat[index] ?? '').toLowerCase()
        if (hopByHop.has(lower) || framing.has(lower) || lower === 'authorization') return `${lower} arrives`
        if (hopByHop.has(foldName(lower)) || framing.has(foldName(lower))) return `${lower} arrives, and folds to a name of the framing`
      }
      const expected: Record<string, string[] | undefined> = {
        HTTP_X_USER_ID: who === null ? undefined : ['alice'], HTTP_X_TENANT: who === null ? undefined : ['acme'], HTTP_X_ODD_NAME: undefined,
        HTTP_X_FORWARDED_FOR: ['192.0.2.1'], HTTP_X_FORWARDED_PROTO: ['http'], HTTP_X_FORWARDED_HOST: ['a.test'], HTTP_X_REQUEST_ID: ['request-id'],
      }
      for (const variable of ours) {
        if (JSON.stringify(variables.get(variable)) !== JSON.stringify(expected[variable])) return `${variable} is ${JSON.stringify(variables.get(variable))}`
      }
      for (const variable of variables.keys()) {
        // As some CGI servers hand on what came as HTTP_… already.
        const bare = variable.replace(/^(HTTP_)+/, 'HTTP_')
        if (/^HTTP_X_(USER|GATEWARDEN)_/.test(bare) && !ours.includes(bare)) return `${variable} is under a reserved prefix`
      }
      return undefined
    })
  }
})

await t.test('whom the client nominates is gone, and nobody else', async (t) => {
  await holds(t, 'Connection takes out what it names', 1_000, fc.tuple(head, value), ([headers, connection]) => {
    const flat = headers.flat()
    const gone = nominated(connection) ?? []
    const kept = without(flat, gone)
    if (kept.length % 2 !== 0) return 'an odd list'
    for (let index = 0; index < kept.length; index += 2) if (gone.includes((kept[index] ?? '').toLowerCase())) return `${String(kept[index])} stays`
    return undefined
  })
})

await t.test('names in a response', async (t) => {
  await holds(t, 'an upstream cannot say who the caller is, nor frame our connection', 1_000, token, (one) => {
    const fate = names.responseFate(one)
    const folded = foldName(one)
    if (options.identity.map(foldName).includes(folded) && fate !== 'drop') return 'an identity name passes'
    return hopByHop.has(one.toLowerCase()) && fate === 'keep' ? 'a hop-by-hop name passes' : undefined
  })
})

await t.test('claims as header values', async (t) => {
  const claim = fc.oneof(fc.string({ unit: 'binary' }), fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 1 }))), fc.jsonValue())
  await holds(t, 'no claim can end a line or a list item, and decoding gives it back', 1_500, claim, (given) => {
    const text = headerValue(given)
    if (text === null) return typeof given === 'string' ? 'a text is not told' : undefined
    if (!/^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/.test(text)) return `not printable: ${JSON.stringify(text)}`
    const wellFormed = (one: unknown) => isWellFormed(String(one))
    if (typeof given === 'string') return !wellFormed(given) || decodeURIComponent(text) === given ? undefined : 'decodes to something else'
    if (!Array.isArray(given)) return undefined
    const items = given.filter((item) => ['string', 'number', 'boolean'].includes(typeof item))
    if (!items.every(wellFormed)) return undefined
    return JSON.stringify(text.split(',').map(decodeURIComponent)) === JSON.stringify(items.map(String)) ? undefined : 'the list decodes to another'
  })
})

await t.test('trusted proxies', async (t) => {
  const v4 = fc.ipV4()
  const v6 = fc.ipV6()
  await holds(t, 'an IPv4 address is in a network if its bits say so, mapped into IPv6 too', 500, fc.tuple(v4, v4, fc.nat({ max: 32 })), ([network, address, bits]) => {
    const proxies = compileTrustedProxies([`${network}/${bits}`])
    const number = (text: string) => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
    const inside = Math.floor(number(network) / 2 ** (32 - bits)) === Math.floor(number(address) / 2 ** (32 - bits))
    if (proxies.trusts(address) !== inside) return `${String(!inside)} instead of ${String(inside)}`
    return proxies.trusts(`::ffff:${address}`) === inside ? undefined : 'the mapped address is another'
  })
  await holds(t, 'no address throws, and without networks none is trusted', 300, fc.oneof(v6, v4, fc.string(), mixtureOf([':', '::', 'ffff', '1', '.', '%eth0', '127.0.0.1'])), (address) => {
    compileTrustedProxies(['10.0.0.0/8', 'fd00::/8']).trusts(address)
    return compileTrustedProxies([]).trusts(address) ? 'trusted' : undefined
  })
})

await t.test('targets in absolute form', async (t) => {
  const target = mixtureOf(['http', 'https', '://', ':', '/', 'a.test', 'A.TEST', 'b', '@', ':80', '?', '#', '\\', '%2f', '..', 'x'])
  await holds(t, 'are cut to a path only where they name our Host', 1_000, target, (text) => {
    const request = requestOf([])
    request.url = text
    const path = originForm(request)
    if (path === text) return undefined
    return /^https?:\/\/a\.test(?:\/[^#]*)?$/i.test(text) && path.startsWith('/') ? undefined : `cut to ${path}`
  })
})
