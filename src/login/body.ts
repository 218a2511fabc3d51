/** Bytes → the members of a JSON object, or the parameters of a form; strict, so that a body has just one reading. */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import { readStrictJson } from '../tokens/strict-json.ts'
import { headerValues } from './header-values.ts'

/** Bytes. A token response's refresh token and a long password fit many times over. */
export const bodyLimit = 16_384

export type Form = ReadonlyMap<string, string>

/** The scope takes JSON and nothing else. An empty body is none. */
export function takeJson (app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit }, (request, body: Buffer, done) => {
    if (body.length === 0) { done(null, undefined); return undefined }
    assertMediaType(request.raw, JSON_TYPE)
    // Of two members of one name a filter before the gateway may have read the other; and no body of ours is nested.
    const read = readStrictJson(body)
    if ('fault' in read) throw new Refusal('GW_BODY_INVALID', { reason: read.fault })
    // Fastify's own parser besides: it refuses `constructor.prototype` too (secure-json-parse).
    return parse(request, decode(body), done)
  })
}

/** The scope takes forms and nothing else. An empty body is an empty form. */
export function takeForms (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit }, (request, body: Buffer, done) => {
    if (body.length > 0) assertMediaType(request.raw, FORM_TYPE)
    done(null, parseForm(decode(body)))
  })
}

export function jsonObject (body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new Refusal('GW_BODY_INVALID', { reason: 'not a JSON object' })
  return body as Readonly<Record<string, unknown>>
}

/** A member that must be there. Other members of the object are nobody's business. */
export function textMember (object: Readonly<Record<string, unknown>>, name: string, longest: number): string {
  const value = Object.hasOwn(object, name) ? object[name] : undefined
  if (typeof value !== 'string') throw new Refusal('GW_BODY_INVALID', { reason: `${name} is not a string` })
  return boundedText(value, name, longest)
}

export function formOf (body: unknown): Form {
  if (body === undefined) return new Map()
  if (!(body instanceof Map)) throw new Refusal('GW_BODY_INVALID', { reason: 'not a form' })
  return body
}

export function formParameter (form: Form, name: string, longest: number): string {
  const value = form.get(name)
  if (value === undefined) throw new Refusal('GW_BODY_INVALID', { reason: `${name} is missing` })
  return boundedText(value, name, longest)
}

/** Half a surrogate pair has no UTF-8: hashing and storing would each make something else of it. */
function boundedText (value: string, name: string, longest: number): string {
  if (value.length > longest) throw new Refusal('GW_BODY_INVALID', { reason: `${name} is too long` })
  if (/\p{Surrogate}/u.test(value)) throw new Refusal('GW_BODY_INVALID', { reason: `${name} is not well-formed Unicode` })
  return value
}

// The whole value, not its beginning: what a lenient reading takes for JSON, a stricter one may not (CVE-2025-32442).
const JSON_TYPE = /^application\/json(?:[\t ]*;[\t ]*charset=(?:utf-8|"utf-8"))?$/i
const FORM_TYPE = /^application\/x-www-form-urlencoded(?:[\t ]*;[\t ]*charset=(?:utf-8|"utf-8"))?$/i

function assertMediaType (request: IncomingMessage, type: RegExp): void {
  // Node reads the first of two, and what stands before the gateway perhaps the second.
  const [given = '', ...others] = headerValues(request, 'content-type')
  if (!type.test(given) || others.length > 0) throw new Refusal('GW_MEDIA_TYPE_UNSUPPORTED')
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') throw new Refusal('GW_MEDIA_TYPE_UNSUPPORTED', { reason: 'content encoding' })
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function decode (body: Buffer): string {
  try {
    return utf8.decode(body)
  } catch {
    throw new Refusal('GW_BODY_INVALID', { reason: 'not UTF-8' })
  }
}

/** application/x-www-form-urlencoded as RFC 6749 §3.2 reads it: nothing twice, and what has no value was not sent. */
function parseForm (text: string): Form {
  const form = new Map<string, string>()
  const seen = new Set<string>()
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decodeFormText(equals === -1 ? pair : pair.slice(0, equals))
    const value = equals === -1 ? '' : decodeFormText(pair.slice(equals + 1))
    if (name === null || value === null) throw new Refusal('GW_BODY_INVALID', { reason: 'malformed percent-encoding' })
    if (seen.has(name)) throw new Refusal('GW_BODY_INVALID', { reason: 'a repeated parameter' })
    seen.add(name)
    if (value !== '') form.set(name, value)
  }
  return form
}

/** RFC 6749 appendix B. null where the percent-encoding is malformed or not UTF-8. */
export function decodeFormText (text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return null
  }
}
