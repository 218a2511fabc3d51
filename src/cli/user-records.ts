/** A file of users, CSV (RFC 4180) or JSON (a list, or one object after another) → its records, one by one, each with its line. */
import { createReadStream } from 'node:fs'
import { StartupFault } from '../errors.ts'

export interface UserRecord {
  readonly line: number
  /** null for what is no record; `fault` says why. */
  readonly values: Readonly<Record<string, unknown>> | null
  readonly fault?: string
}

/** UTF-16 units of one record. */
const longest = 1024 * 1024

/** Throws a StartupFault where the file cannot be read any further. */
export async function * readUserRecords (file: string): AsyncGenerator<UserRecord> {
  let kind: 'json' | 'csv' | null = null
  let feed: (text: string, last: boolean) => Iterable<UserRecord> = () => []
  for await (const { text, last } of textOf(file)) {
    if (kind === null) {
      const first = /\S/.exec(text)?.[0]
      if (first === undefined && !last) continue
      kind = first === '[' || first === '{' ? 'json' : 'csv'
      feed = kind === 'json' ? jsonRecords(file) : csvRecords(file)
    }
    yield * feed(text, last)
  }
}

async function * textOf (file: string): AsyncGenerator<{ text: string, last: boolean }> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    for await (const chunk of createReadStream(file)) yield { text: decoder.decode(chunk as Buffer, { stream: true }), last: false }
    yield { text: decoder.decode(), last: true }
  } catch (error) {
    if (error instanceof StartupFault) throw error
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    throw new StartupFault(code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? `${file} is not in UTF-8` : `${file} cannot be read (${code})`, { cause: error })
  }
}

function csvRecords (file: string): (text: string, last: boolean) => Iterable<UserRecord> {
  let head: readonly string[] | null = null
  let delimiter = ','
  let fields: string[] = []
  let field = ''
  let line = 1
  let began = 1
  let size = 0
  let state: 'start' | 'plain' | 'quoted' | 'after quote' = 'start'

  function * finish (): Iterable<UserRecord> {
    const values = [...fields, field]
    fields = []
    field = ''
    size = 0
    state = 'start'
    const at = began
    began = line
    if (values.length === 1 && values[0]?.trim() === '') return
    if (head === null) {
      head = values.map((name) => name.trim())
      const twice = head.find((name, index) => name === '' || head?.indexOf(name) !== index)
      if (twice !== undefined) throw new StartupFault(`${file}:${at}: the first line must name the columns, each by a name of its own`)
    } else if (values.length !== head.length) yield { line: at, values: null, fault: `has ${values.length} fields where the first line has ${head.length}` }
    // An empty field is one that is not there.
    else yield { line: at, values: Object.fromEntries(head.flatMap((name, index) => values[index] === '' ? [] : [[name, values[index]]])) }
  }

  return function * (text, last) {
    // Of the first line alone: what stands between the names of the columns.
    if (head === null && fields.length === 0 && field === '' && state === 'start') delimiter = delimiterOf(text)
    for (const character of text) {
      if (++size > longest) throw new StartupFault(`${file}:${began}: a record of more than ${longest} characters; is a quotation mark not closed?`)
      if (character === '\n') line++
      if (state === 'quoted') {
        if (character === '"') state = 'after quote'
        else field += character
      } else if (character === '"' && (state === 'start' || state === 'after quote')) {
        if (state === 'after quote') field += '"'
        state = 'quoted'
      } else if (character === delimiter) {
        fields.push(field)
        field = ''
        state = 'start'
      } else if (character === '\n') yield * finish()
      else if (character === '"' || (state === 'after quote' && character !== '\r')) throw new StartupFault(`${file}:${line}: a quotation mark stands inside a field; write the field in quotation marks, and each one in it twice`)
      else if (character !== '\r') {
        field += character
        state = 'plain'
      }
    }
    if (!last) return
    if (state === 'quoted') throw new StartupFault(`${file}:${began}: a quotation mark is not closed`)
    yield * finish()
  }
}

function delimiterOf (text: string): string {
  const [first = ''] = text.split('\n', 1)
  return [',', ';', '\t'].find((one) => first.includes(one)) ?? ','
}

function jsonRecords (file: string): (text: string, last: boolean) => Iterable<UserRecord> {
  let record = ''
  let depth = 0
  let inText = false
  let escaped = false
  let line = 1
  let began = 1
  return function * (text, last) {
    let from = 0
    for (let at = 0; at < text.length; at++) {
      const character = text[at] ?? ''
      if (character === '\n') line++
      if (depth === 0) {
        if (character === '{') {
          depth = 1
          from = at
          began = line
        } else if (!/[\s,[\]]/.test(character)) throw new StartupFault(`${file}:${line}: an object is wanted here, { … } for each user`)
        continue
      }
      if (inText) {
        if (escaped) escaped = false
        else if (character === '\\') escaped = true
        else if (character === '"') inText = false
      } else if (character === '"') inText = true
      else if (character === '{') depth++
      else if (character === '}' && --depth === 0) {
        yield parsed(record + text.slice(from, at + 1), began)
        record = ''
      }
    }
    if (depth > 0) record += text.slice(from)
    if (record.length > longest) throw new StartupFault(`${file}:${began}: a record of more than ${longest} characters`)
    if (last && depth > 0) throw new StartupFault(`${file}:${began}: the record is not closed`)
  }
}

function parsed (text: string, line: number): UserRecord {
  try {
    return { line, values: JSON.parse(text) as Record<string, unknown> }
  } catch {
    return { line, values: null, fault: 'is no JSON' }
  }
}
