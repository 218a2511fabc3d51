/** What another system says of a user, in a row or as JSON → a Subject, or why it cannot be one. Nothing is taken that could be read in two ways. */
import { createHash } from 'node:crypto'
import type { Subject } from './credential-source.ts'

/** The names under which another system gives what a user is made of. */
export interface UserFields {
  readonly id: string
  readonly name?: string | undefined
  readonly roles: string
  readonly scopes: string
  readonly attributes: string
  readonly disabled: string
  /** Another value once sessions that began before are to end. */
  readonly version?: string | undefined
}

export interface ForeignUser {
  /** As the other system writes it. */
  readonly id: string
  readonly subject: Subject
  readonly disabled: boolean
}

export interface ForeignUserOptions {
  readonly fields: UserFields
  /** Before the id: what keeps the users of two sources apart. Empty: ids are taken as they are. */
  readonly prefix: string
  /** Of every user of this source, beside their own. */
  readonly roles: readonly string[]
  /** Fields that never become attributes. */
  readonly secret: readonly string[]
}

/** `name`: what was typed, where the source gives no other. Throws an UnreadableUser. */
export function readForeignUser (given: Readonly<Record<string, unknown>>, name: string, { fields, prefix, roles, secret }: ForeignUserOptions): ForeignUser {
  const id = readId(given[fields.id])
  if (prefix === '' && /[:|]/.test(id)) throw new UnreadableUser(`${fields.id} holds a ":" or "|", which tells the ids of other sources apart; \`subject: prefixed\` takes it`)
  const own = fields.name === undefined ? undefined : given[fields.name]
  const version = fields.version === undefined ? undefined : given[fields.version]
  const known = new Set([...Object.values(fields), ...secret])
  const others = Object.entries(given).filter(([key]) => !known.has(key))
  return {
    id,
    disabled: isDisabled(given[fields.disabled]),
    subject: {
      id: `${prefix}${id}`,
      name: typeof own === 'string' ? own : name,
      roles: [...new Set([...roles, ...readList(given[fields.roles], fields.roles, ',')])],
      scopes: readList(given[fields.scopes], fields.scopes, ' '),
      attributes: readAttributes([...others, ...readObject(given[fields.attributes], fields.attributes)]),
      ...version === undefined || version === null ? {} : { credentialTag: tagOf(version instanceof Date ? version.toISOString() : String(version as string)) },
    },
  }
}

export class UnreadableUser extends Error {}

export function tagOf (text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function readId (value: unknown): string {
  const text = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value)) ? String(value) : value
  if (typeof text === 'string' && text === text.trim() && /^\P{C}{1,255}$/u.test(text)) return text
  throw new UnreadableUser('the id is missing, or is neither a whole number nor a text of 1 to 255 characters without control characters and white space around it')
}

/** A list, JSON, PostgreSQL's `{a,b}`, or a text of items between commas (roles) or spaces (scopes). Only items that travel as one. */
function readList (value: unknown, what: string, separator: string): string[] {
  if (value === undefined || value === null || value === '') return []
  const items = Array.isArray(value) ? value as unknown[] : typeof value === 'string' ? itemsOf(value, separator) : null
  if (items?.every((item): item is string => typeof item === 'string' && /^[^\s,"\\\p{C}]{1,128}$/u.test(item)) === true) return items
  throw new UnreadableUser(`${what} cannot be read: it must be a list, or a text of items with ${separator === ',' ? 'commas' : 'spaces'} between them, and no item may hold white space, commas, quotes or backslashes`)
}

function itemsOf (text: string, separator: string): unknown[] | null {
  const trimmed = text.trim()
  if (trimmed.startsWith('[')) return parsed(trimmed) as unknown[] | null
  const inner = /^\{(.*)\}$/s.exec(trimmed)?.[1]
  if (inner !== undefined) return inner === '' ? [] : inner.split(',')
  return separator === ',' ? trimmed.split(',').map((item) => item.trim()) : trimmed.split(/\s+/)
}

function readObject (value: unknown, what: string): [string, unknown][] {
  if (value === undefined || value === null || value === '') return []
  const object = typeof value === 'string' ? parsed(value) : value
  if (typeof object !== 'object' || object === null || Array.isArray(object)) throw new UnreadableUser(`${what} cannot be read: it must be a JSON object`)
  return Object.entries(object)
}

function parsed (json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch {
    return null
  }
}

/** What claims and headers can say; of the rest nothing. */
function readAttributes (entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const attributes: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [key, value] of entries) {
    if (typeof value === 'bigint') attributes[key] = Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
    else if (value instanceof Date) attributes[key] = Number.isNaN(value.getTime()) ? String(value) : value.toISOString()
    else if (['string', 'number', 'boolean'].includes(typeof value)) attributes[key] = value
    else if (Array.isArray(value) && value.every((item) => typeof item === 'string')) attributes[key] = value
  }
  return { ...attributes }
}

/** What is neither a clear yes nor a clear no (the time at which it was done, a word) is a yes. */
function isDisabled (value: unknown): boolean {
  if (typeof value === 'string') return !['', '0', 'f', 'false', 'n', 'no', 'off'].includes(value.trim().toLowerCase())
  return value !== undefined && value !== null && value !== false && value !== 0 && value !== 0n
}
