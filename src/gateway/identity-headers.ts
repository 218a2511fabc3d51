/** 4  what an upstream is told about the caller: one route's mapping, compiled; values that no header can split. */
import type { Identity } from '../tokens/identity.ts'

/** Identity → flat name, value list. Nothing for a claim that the token does not have. */
export type IdentityHeaders = (identity: Identity) => readonly string[]

export function compileIdentityHeaders (mapping: Readonly<Record<string, string>>): IdentityHeaders {
  const headers = Object.entries(mapping)
  // An identity lives in the token cache and serves many requests: its headers are made once.
  const made = new WeakMap<Identity, readonly string[]>()
  return function identityHeaders (identity) {
    let list = made.get(identity)
    if (list === undefined) {
      list = headers.flatMap(([name, claim]) => {
        const value = headerValue(claimOf(identity, claim))
        return value === null ? [] : [name, value]
      })
      made.set(identity, list)
    }
    return list
  }
}

function claimOf (identity: Identity, claim: string): unknown {
  if (claim === 'sub') return identity.subject
  return Object.hasOwn(identity.claims, claim) ? identity.claims[claim] : undefined
}

/**
 * A claim as a header value: text, numbers and booleans as they are, lists joined by commas, anything else not at all.
 * `%`, what is not printable ASCII, and a comma inside of a list are percent-encoded as UTF-8, so that decoding gives
 * back exactly the claim and no value can end a line or a list item.
 */
export function headerValue (claim: unknown): string | null {
  if (Array.isArray(claim)) {
    const items = claim.filter(isScalar)
    return items.length === 0 ? null : items.map((item) => encode(String(item), LIST_UNSAFE)).join(',')
  }
  return isScalar(claim) ? encode(String(claim), UNSAFE) : null
}

// A space may not stand at the end; looked for from the first of a row alone, or a row in the middle would take its square.
const UNSAFE = /^ +|(?<! ) +$|[^\x20-\x7e]+|%/g
const LIST_UNSAFE = /^ +|(?<! ) +$|[^\x20-\x7e]+|[%,]/g

function isScalar (value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function encode (text: string, unsafe: RegExp): string {
  return text.replace(unsafe, (characters) => {
    let encoded = ''
    for (const byte of Buffer.from(characters, 'utf8')) encoded += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    return encoded
  })
}
