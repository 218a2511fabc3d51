/** A value against the schema: every fault in a sentence, defaults filled in. Rules between keys are cross-checks.ts's. */
import type { ErrorObject } from 'ajv'
import { nearest, pathText, type KeyPath } from './fault.ts'
import { formats } from './formats.ts'
import { check } from './schema-check.ts'
import { configSchema } from './schema.ts'

export interface SchemaFault {
  readonly path: KeyPath
  readonly message: string
  readonly at: 'key' | 'value'
}

/** What is read of a JSON Schema here. */
export interface SchemaNode {
  readonly type?: string | readonly string[]
  readonly format?: string
  readonly secret?: boolean
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
  readonly anyOf?: readonly SchemaNode[]
}

export const rootSchema: SchemaNode = configSchema as unknown as SchemaNode

/** Fills defaults into `value`. */
export function validate (value: unknown): SchemaFault[] {
  fillUnions(rootSchema, value)
  if (check(value)) return []
  const faults = withoutUnionNoise(check.errors ?? [])
    // ajv tells of a key that is no header name twice.
    .filter(({ propertyName }) => propertyName === undefined)
    .map((error) => describe(error, value))
  // A number that is not whole may be too large as well: one thing at a time.
  return faults.filter(({ path }, index) => faults.findIndex((other) => pathText(other.path) === pathText(path)) === index)
}

/** ajv fills no defaults inside a union: which branch is meant it finds out too late. */
function fillUnions (schema: SchemaNode, value: unknown, inUnion = false): void {
  const branch = branchFor(schema, value)
  const within = inUnion || branch !== schema
  if (Array.isArray(value)) value.forEach((item) => { fillUnions(branch.items ?? {}, item, within) })
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  const map = value as Record<string, unknown>
  for (const [key, child] of Object.entries(branch.properties ?? {})) {
    if (within && child.default !== undefined && !Object.hasOwn(map, key)) map[key] = structuredClone(child.default)
    if (Object.hasOwn(map, key)) fillUnions(child, map[key], within)
  }
}

/** The branch of a union that a value was meant for; the schema itself where it is none. */
export function branchFor (schema: SchemaNode, value: unknown): SchemaNode {
  return schema.anyOf?.find((branch) => isMeantFor(branch, value)) ?? schema
}

function isMeantFor (branch: SchemaNode, value: unknown): boolean {
  const type = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
  if (![branch.type].flat().includes(type)) return false
  const discriminator = branch.properties?.['type']?.const
  return discriminator === undefined || (value as Record<string, unknown>)['type'] === discriminator
}

/** Of a union, ajv reports the faults of each branch. Only those of the branch that was meant tell somebody something. */
function withoutUnionNoise (errors: readonly ErrorObject[]): ErrorObject[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf')
  return errors.filter((error) => {
    for (const union of unions) {
      if (error === union || !error.schemaPath.startsWith(`${union.schemaPath}/`) || !error.instancePath.startsWith(union.instancePath)) continue
      const branches = union.schema as readonly SchemaNode[]
      const index = Number(error.schemaPath.slice(union.schemaPath.length + 1).split('/')[0])
      if (branches[index] !== branchFor({ anyOf: branches }, union.data)) return false
    }
    // The union itself has something to say only where no branch was meant.
    return error.keyword !== 'anyOf' || branchFor({ anyOf: error.schema as readonly SchemaNode[] }, error.data) === undefined ||
      !(error.schema as readonly SchemaNode[]).some((branch) => isMeantFor(branch, error.data))
  })
}

function describe (error: ErrorObject, root: unknown): SchemaFault {
  const path = keyPath(error.instancePath, root)
  const params = error.params as Record<string, unknown>
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params['additionalProperty'])
      const known = Object.keys((error.parentSchema as SchemaNode).properties ?? {})
      const near = nearest(key, known)
      const remedy = near === undefined ? `known here: ${known.join(', ')}` : `did you mean ${near}?`
      return { path: [...path, key], message: `unknown key; ${remedy}`, at: 'key' }
    }
    case 'required': {
      const key = String(params['missingProperty'])
      const description = (error.parentSchema as SchemaNode).properties?.[key]?.description
      return { path: [...path, key], message: `is missing; ${description ?? 'it has no default'}`, at: 'key' }
    }
    case 'type': return { path, message: `must be ${typeName(params['type'])}`, at: 'value' }
    case 'enum': return { path, message: oneOf((params['allowedValues'] as unknown[]).map(String), error.data), at: 'value' }
    case 'const': return { path, message: `must be ${String(params['allowedValue'])}`, at: 'value' }
    case 'format': return { path, message: `must be ${formats[String(params['format'])]?.expected ?? 'well-formed'}`, at: 'value' }
    case 'propertyNames': return { path: [...path, String(params['propertyName'])], message: `must be ${formats['header-name']?.expected ?? ''}`, at: 'key' }
    case 'minimum': return { path, message: `must be at least ${String(params['limit'])}`, at: 'value' }
    case 'maximum': return { path, message: `must be at most ${String(params['limit'])}`, at: 'value' }
    case 'minLength': return { path, message: 'must not be empty', at: 'value' }
    case 'minItems': return { path, message: 'must have at least one entry', at: 'value' }
    case 'minProperties': return { path, message: 'must name at least one of its keys', at: 'value' }
    case 'anyOf': return describeUnion(path, error)
    default: return { path, message: error.message ?? 'is not valid', at: 'value' }
  }
}

function describeUnion (path: KeyPath, { schema, data }: ErrorObject): SchemaFault {
  const branches = schema as readonly SchemaNode[]
  const types = branches.flatMap(({ properties }) => properties?.['type']?.const ?? []).map(String)
  if (types.length > 0) {
    const type = (data as { type?: unknown } | null)?.type
    return { path: [...path, 'type'], message: type === undefined ? `is missing; one of ${types.join(', ')}` : oneOf(types, type), at: 'value' }
  }
  return { path, message: `must be ${branches.map((branch) => branch.enum?.join(', ') ?? typeName(branch.type)).join(', or ')}`, at: 'value' }
}

function oneOf (allowed: readonly string[], given: unknown): string {
  const near = typeof given === 'string' ? nearest(given, allowed) : undefined
  return `must be one of ${allowed.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`
}

function typeName (type: unknown): string {
  const names: Readonly<Record<string, string>> = {
    object: 'a map of keys', array: 'a list', string: 'a text', integer: 'a whole number', number: 'a number', boolean: 'true or false',
  }
  return [type].flat().map((one) => names[String(one)] ?? String(one)).join(' or ')
}

/** ajv's JSON Pointer (RFC 6901); indices of lists become numbers. */
function keyPath (pointer: string, root: unknown): KeyPath {
  let value = root
  return pointer.split('/').slice(1).map((part) => {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    const index = Array.isArray(value) ? Number(key) : key
    value = (value as Record<string, unknown> | undefined)?.[key]
    return index
  })
}
