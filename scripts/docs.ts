/** Writes what is generated: docs/configuration.md and the editor's JSON Schema from the schema, docs/errors.md from the catalogue. */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { formats } from '../src/config/formats.ts'
import { rootSchema, type SchemaNode } from '../src/config/validate.ts'
import { catalogue } from '../src/errors.ts'

interface Schema extends SchemaNode {
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly title?: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly additionalProperties?: unknown
}

const root = resolve(import.meta.dirname, '..')
const generated: Readonly<Record<string, string>> = {
  'docs/configuration.md': configurationReference(rootSchema as Schema),
  'docs/errors.md': errorList(),
  'schema/gatewarden.schema.json': `${JSON.stringify(editorSchema(rootSchema as Schema), null, 2)}\n`,
}

const check = process.argv.includes('--check')
for (const [file, content] of Object.entries(generated)) {
  const path = resolve(root, file)
  if (!check) {
    writeFileSync(path, content)
  } else if (readOrEmpty(path) !== content) {
    process.stderr.write(`${file} is not what the source says; run: npm run docs\n`)
    process.exitCode = 1
  }
}

function readOrEmpty (path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function configurationReference (schema: Schema): string {
  return `# Configuration

Generated from \`src/config/schema.ts\` by \`npm run docs\`. An example that works as it stands is [config.yaml](../config.yaml);
editors find [the JSON Schema](../schema/gatewarden.schema.json) by a first line
\`# yaml-language-server: $schema=./schema/gatewarden.schema.json\`.

- Durations are written ${code('500ms', '30s', '5m', '12h', '30d')}; sizes ${code('512b', '64kb', '10mb', '1gb')}.
- \`\${VAR}\` and \`\${VAR:-default}\` read the environment, within a value; \`$\${\` stands for \`\${\` itself.
- Beside every key marked *secret*, \`keyFile\` names a file that holds the value. Relative paths start at the file's folder, but for
  \`storage\`, which starts at the folder that the gateway is started in.
- \`gatewarden check\` shows every fault at once, with file, line and column, and what is allowed but dangerous.
- SIGHUP, or a change of the file, reloads as a whole or not at all. A change of ${code('listen', 'admin', 'storage', 'storageOptions', 'workers', 'keys.masterKey', 'limits.headers', 'limits.connections')} needs a restart.

| key | value | default | |
|---|---|---|---|
${rows(schema, '').join('\n')}
`
}

function rows (schema: Schema, prefix: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, node]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`
    const own = `| \`${path}\` | ${cell(valueOf(node))} | ${cell(defaultOf(node, schema.required?.includes(key) === true))} | ${cell(node.description ?? '')}${node.secret === true ? ' *Secret.*' : ''} |`
    if (node.properties !== undefined) return [own, ...rows(node, path)]
    const branches = node.type === 'array' && node.items !== undefined ? [node.items, ...node.items.anyOf ?? []] : node.anyOf ?? []
    return [own, ...branches.flatMap((branch) => rows(branch, branch === node.items || node.type === 'array' ? `${path}[]` : path))]
  })
}

function valueOf (node: Schema): string {
  if (node.const !== undefined) return `\`${String(node.const)}\``
  if (node.enum !== undefined) return node.enum.map((one) => `\`${String(one)}\``).join(' ')
  if (node.anyOf !== undefined) return node.anyOf.map(valueOf).join(', or ')
  if (node.type === 'array') return `list of ${node.items === undefined ? 'anything' : node.items.properties !== undefined || node.items.anyOf !== undefined ? 'maps' : valueOf(node.items)}`
  if (node.type === 'object') return node.properties === undefined ? 'map' : 'keys below'
  if (node.type === 'integer') return node.minimum === undefined ? 'whole number' : `whole number ≥ ${node.minimum}${node.maximum === undefined ? '' : `, ≤ ${node.maximum}`}`
  if (node.type === 'boolean') return '`true` `false`'
  const names: Readonly<Record<string, string>> = { duration: 'duration', size: 'size', path: 'path of a file' }
  return node.format === undefined ? 'text' : names[node.format] ?? formats[node.format]?.expected ?? 'text'
}

function defaultOf (node: Schema, required: boolean): string {
  if (node.properties !== undefined || node.const !== undefined) return ''
  if (node.default === undefined) return required ? '**must be given**' : ''
  return `\`${typeof node.default === 'string' ? node.default : JSON.stringify(node.default)}\``
}

function errorList (): string {
  const lines = Object.entries(catalogue).map(([name, { status, error, description }]) => `| \`${name}\` | ${status} | \`${error}\` | ${cell(description)} |`)
  return `# Refusals

Generated from \`src/errors.ts\` by \`npm run docs\`. Every refusal is
\`{"error", "error_description", "code", "request_id"}\`; \`request_id\` is also the header \`X-Request-Id\`, and names the line in the
log that says why. Codes are added, and never changed.

| \`code\` | status | \`error\` | \`error_description\` |
|---|---|---|---|
${lines.join('\n')}
`
}

/** What load.ts takes, for an editor: with the files beside secrets, and variables where a number is wanted. */
function editorSchema (schema: Schema): unknown {
  return { $schema: 'http://json-schema.org/draft-07/schema#', ...editorNode(schema) as object }
}

function editorNode (node: Schema): unknown {
  const { secret: _, ...rest } = node
  const result: Record<string, unknown> = { ...rest }
  if (node.anyOf !== undefined) result['anyOf'] = node.anyOf.map(editorNode)
  if (node.items !== undefined) result['items'] = editorNode(node.items)
  if (node.format !== undefined) delete result['format']
  if (node.properties !== undefined) {
    result['properties'] = Object.fromEntries(Object.entries(node.properties).flatMap(([key, child]) => child.secret === true
      ? [[key, editorNode(child)], [`${key}File`, { type: 'string', minLength: 1, description: `Path of a file that holds \`${key}\`.` }]]
      : [[key, editorNode(child)]]))
  }
  if (node.type === 'integer' || node.type === 'boolean') {
    const { default: value, description, ...typed } = result
    return { anyOf: [typed, { type: 'string', pattern: '^\\$\\{.*\\}$' }], ...(value === undefined ? {} : { default: value }), description }
  }
  if (node.enum !== undefined && node.type === 'string') {
    const { default: value, description, ...typed } = result
    return { anyOf: [typed, { type: 'string', pattern: '\\$\\{.*\\}' }], ...(value === undefined ? {} : { default: value }), description }
  }
  return result
}

function cell (text: string): string {
  return text.replaceAll('|', '\\|')
}

function code (...words: string[]): string {
  return words.map((word) => `\`${word}\``).join(', ')
}
