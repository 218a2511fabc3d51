/** JSON that can be read in one way only: valid UTF-8, no member twice at any depth, bounded nesting. */

/** Deeper than any claim needs to be; shallow enough for whatever walks it. */
const deepest = 16

/** A BOM is kept, so that JSON.parse refuses it (RFC 8259 §8.1); Node would drop it silently. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export type StrictJson = { readonly value: unknown } | { readonly fault: string }

/** The value, or in words the rule that was broken; never a part of the text. */
export function readStrictJson (bytes: Uint8Array): StrictJson {
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return { fault: 'not UTF-8' }
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { fault: 'not JSON' }
  }
  const fault = structureFault(text)
  return fault === null ? { value } : { fault }
}

/**
 * JSON.parse takes the last of two members of one name, other readers the first: RFC 7519 §4 lets us refuse both. A walk
 * over text that is known to be JSON, so only strings and brackets need to be told apart.
 */
function structureFault (text: string): string | null {
  /** The names seen in each object that is open; null for an array. */
  const open: (Set<string> | null)[] = []
  let nameFollows = false
  for (let at = 0; at < text.length; at++) {
    switch (text.charAt(at)) {
      case '{':
      case '[':
        if (open.length === deepest) return 'nested too deeply'
        nameFollows = text.charAt(at) === '{'
        open.push(nameFollows ? new Set() : null)
        break
      case '}':
      case ']':
        open.pop()
        nameFollows = false
        break
      case ',':
        nameFollows = open.at(-1) instanceof Set
        break
      case '"': {
        const end = endOfString(text, at)
        const names = open.at(-1)
        if (nameFollows && names instanceof Set) {
          const name = nameIn(text.slice(at, end))
          if (names.has(name)) return 'a member twice'
          // An own member of this name turns into a prototype as soon as somebody copies it by assignment.
          if (name === '__proto__') return 'a member named __proto__'
          names.add(name)
        }
        nameFollows = false
        at = end - 1
      }
    }
  }
  return null
}

/** The place behind the closing quotation mark. */
function endOfString (text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

/** `"s\u0075b"` is `sub` as well. */
function nameIn (literal: string): string {
  return literal.includes('\\') ? String(JSON.parse(literal)) : literal.slice(1, -1)
}
