/** How the words of repeatable options are read. */
import { InvalidArgumentError } from 'commander'

/** Name and value, as written. */
export type Header = readonly [string, string]

export function collect (value: string, before: readonly string[]): string[] {
  return [...before, value]
}

/** `key=value`. `true`, `42`, `["a","b"]` are taken as JSON; whatever is none is text. */
export function collectAttribute (pair: string, before: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const [, key, value] = /^([^=\s]+)=(.*)$/s.exec(pair) ?? []
  if (key === undefined || value === undefined) throw new InvalidArgumentError('It is written key=value.')
  return { ...before, [key]: jsonOrText(value) }
}

export function collectMapping (pair: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const [, field, column] = /^([^=\s]+)=(.+)$/s.exec(pair) ?? []
  if (field === undefined || column === undefined) throw new InvalidArgumentError('It is written field=column.')
  return { ...before, [field]: column }
}

export function collectHeader (line: string, before: readonly Header[]): Header[] {
  const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)$/.exec(line) ?? []
  if (name === undefined || value === undefined) throw new InvalidArgumentError('It is written "Name: value".')
  return [...before, [name, value.trim()]]
}

function jsonOrText (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
