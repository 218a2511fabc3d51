/** 4  what an upstream is told about the caller: one route's mapping, compiled; values that no header can split. */
import { claimOf } from '../routes/access.ts'
import type { Identity } from '../tokens/identity.ts'

/** Header → claim. */
export type Mapping = Readonly<Record<string, string>>

/** Adds name after value to a flat list. Nothing for a claim that the token does not have. */
export type AddIdentityHeaders = (headers: string[], identity: Identity) => void

export function compileIdentityHeaders (mapping: Mapping): AddIdentityHeaders {
  const names = Object.keys(mapping)
  const claims = Object.values(mapping)
  // Whoever claims the same shares the object (tokens/verifier.ts), and then what was made of it.
  const made = new WeakMap<Identity['claims'], readonly (string | null)[]>()
  return function addIdentityHeaders (headers, identity) {
    let values = made.get(identity.claims)
    if (values === undefined) {
      values = claims.map((claim) => claim === 'sub' ? null : headerValue(claimOf(identity, claim)))
      made.set(identity.claims, values)
    }
    for (let index = 0; index < names.length; index++) {
      const value = claims[index] === 'sub' ? headerValue(identity.subject) : values[index]
      if (value !== null) headers.push(names[index] ?? '', value ?? '')
    }
  }
}

/**
 * A claim as a header value: text, numbers and booleans as they are, lists joined by commas, anything else not at all.
 * `%`, what is not printable ASCII, and a comma inside of a list are percent-encoded as UTF-8, so that decoding gives
 * back exactly the claim and no value can end a line or a list item.
 */
export function headerValue (claim: unknown): string | null {
  // What nearly every subject is, which is asked in each request.
  if (typeof claim === 'string' && PLAIN.test(claim)) return claim
  if (Array.isArray(claim)) {
    const items = claim.filter(isScalar)
    return items.length === 0 ? null : items.map((item) => encode(String(item), LIST_UNSAFE)).join(',')
  }
  return isScalar(claim) ? encode(String(claim), UNSAFE) : null
}

const PLAIN = /^[!-$&-~]*$/
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
