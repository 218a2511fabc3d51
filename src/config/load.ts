/**
 * File → variables and secret files → checked, frozen Config; or all its faults at once, each with its place. The one file
 * that reads the environment.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { crossCheck } from './cross-checks.ts'
import type { ConfigFault, KeyPath } from './fault.ts'
import { pathText } from './fault.ts'
import { parseDuration, parseSize } from './formats.ts'
import type { Config } from './schema.ts'
import { branchFor, rootSchema, validate, type SchemaNode } from './validate.ts'
import { readYaml, type YamlSource } from './yaml-source.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export type Loaded =
  | {
    readonly config: Config
    /** Where a key stands: for what is found out about the configuration later. */
    readonly faultAt: (path: KeyPath, message: string) => ConfigFault
    /** The file, and every file that it was filled from. */
    readonly files: readonly string[]
  }
  | { readonly faults: readonly ConfigFault[] }

export function loadConfig (file: string, environment: Environment = process.env): Loaded {
  const text = readText(file)
  if (typeof text !== 'string') return { faults: [{ file, line: 1, column: 1, path: '', message: text.fault }] }
  const source = readYaml(file, text, environment)
  if (source.faults.length > 0) return { faults: source.faults }

  const faults: ConfigFault[] = []
  const files = [file]
  const value = source.value ?? {}
  prepare(rootSchema, value, [], { file, source, faults, files })
  takeMasterKey(value, environment, { file, source, faults, files })
  for (const { path, message, at } of validate(value)) faults.push(source.fault(path, message, at))
  if (faults.length > 0) return { faults: inOrder(faults) }

  const config = finish(rootSchema, value, dirname(resolve(file))) as Config
  for (const { path, message } of crossCheck(config)) faults.push(source.fault(path, message))
  if (faults.length > 0) return { faults: inOrder(faults) }
  return { config: deepFreeze(config), faultAt: (path, message) => source.fault(path, message), files }
}

interface Loading {
  readonly file: string
  readonly source: YamlSource
  readonly faults: ConfigFault[]
  readonly files: string[]
}

function readText (file: string): string | { readonly fault: string } {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : 'unknown'
    if (code === 'ENOENT') return { fault: 'there is no such file; name one with --config FILE' }
    if (code === 'EISDIR') return { fault: 'this is a folder; name the file in it with --config FILE' }
    return { fault: `the file cannot be read (${String(code)})` }
  }
}

/** Before the check: secrets from files, and numbers that came as text out of a variable. */
function prepare (schema: SchemaNode, value: unknown, path: KeyPath, loading: Loading): void {
  const branch = branchFor(schema, value)
  if (Array.isArray(value)) {
    value.forEach((item: unknown, index) => { if (branch.items !== undefined) prepare(branch.items, item, [...path, index], loading) })
    return
  }
  if (typeof value !== 'object' || value === null) return
  const map = value as Record<string, unknown>
  for (const [key, child] of Object.entries(branch.properties ?? {})) {
    if (child.secret === true) readSecret(map, key, [...path, key], loading)
    if (!Object.hasOwn(map, key)) continue
    if (loading.source.substituted.has(pathText([...path, key]))) map[key] = retyped(child, map[key])
    prepare(child, map[key], [...path, key], loading)
  }
}

/** `fooFile` beside a secret `foo` becomes `foo`. */
function readSecret (map: Record<string, unknown>, key: string, path: KeyPath, { file, source, faults, files }: Loading): void {
  const fileKey = `${key}File`
  if (!Object.hasOwn(map, fileKey)) return
  const filePath = [...path.slice(0, -1), fileKey]
  const named = map[fileKey]
  delete map[fileKey]
  if (Object.hasOwn(map, key)) {
    faults.push(source.fault(filePath, `stands beside ${key}; give one of the two`, 'key'))
    return
  }
  const read = typeof named === 'string' && named !== '' ? readSecretFile(resolve(dirname(file), named), files) : { fault: 'must be the path of a file' }
  if ('fault' in read) faults.push(source.fault(filePath, read.fault))
  // A fault of its own has been given; what is still missing would only be said twice.
  map[key] = 'secret' in read ? read.secret : '\0'.repeat(64)
}

function readSecretFile (path: string, files: string[]): { readonly secret: string } | { readonly fault: string } {
  files.push(path)
  const text = readText(path)
  if (typeof text !== 'string') return { fault: `${path}: ${text.fault.replace(/; name .*$/, '')}` }
  const secret = text.replace(/\r?\n$/, '')
  return secret === '' ? { fault: `${path}: the file is empty` } : { secret }
}

function retyped (schema: SchemaNode, value: unknown): unknown {
  if (typeof value !== 'string') return value
  if ((schema.type === 'integer' || schema.type === 'number') && /^-?\d{1,15}$/.test(value)) return Number(value)
  if (schema.type === 'boolean' && /^(true|false)$/.test(value)) return value === 'true'
  return value
}

/** The master key is best kept out of the file: the environment is asked where the file says nothing. */
function takeMasterKey (value: unknown, environment: Environment, { source, faults, files }: Loading): void {
  // A file that is no map at all is validate.ts's to tell of.
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  const root = value as { keys?: { masterKey?: unknown } | null }
  const inFile = typeof root.keys === 'object' ? root.keys?.masterKey : undefined
  const { GATEWARDEN_MASTER_KEY: text, GATEWARDEN_MASTER_KEY_FILE: file } = environment
  let key = inFile
  if (key === undefined && text !== undefined && text !== '') key = text
  else if (key === undefined && file !== undefined && file !== '') {
    const read = readSecretFile(file, files)
    if ('fault' in read) faults.push(source.fault(['keys', 'masterKey'], `GATEWARDEN_MASTER_KEY_FILE: ${read.fault}`))
    else key = read.secret
  }
  if (typeof key !== 'string') return
  if (!isMasterKey(key) && !key.startsWith('\0')) {
    faults.push(source.fault(['keys', 'masterKey'], 'the master key (or GATEWARDEN_MASTER_KEY) must be 32 bytes in base64url; make one with: openssl rand -base64 32 | tr +/ -_ | tr -d ='))
    return
  }
  if (inFile === undefined && (root.keys === undefined || (typeof root.keys === 'object' && root.keys !== null))) root.keys = { ...root.keys, masterKey: key }
}

function isMasterKey (text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text) && Buffer.from(text, 'base64url').toString('base64url') === text
}

/** After the check: durations in milliseconds, sizes in bytes, paths from the folder of the file. */
function finish (schema: SchemaNode, value: unknown, folder: string): unknown {
  const branch = branchFor(schema, value)
  if (typeof value === 'string') {
    if (branch.format === 'duration') return parseDuration(value)
    if (branch.format === 'size') return parseSize(value)
    if (branch.format === 'path') return resolve(folder, value)
    return value
  }
  if (Array.isArray(value)) return branch.items === undefined ? value : value.map((item) => finish(branch.items ?? {}, item, folder))
  if (typeof value !== 'object' || value === null || branch.properties === undefined) return value
  const { properties } = branch
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, finish(properties[key] ?? {}, child, folder)]))
}

function inOrder (faults: readonly ConfigFault[]): ConfigFault[] {
  return [...faults].sort((one, other) => one.line - other.line || one.column - other.column)
}

function deepFreeze<Value> (value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}
