/** A YAML text → its value with `${VARIABLES}` filled in, and the place of each key. What the value may be is the schema's matter. */
import { isAlias, isMap, isPair, isScalar, LineCounter, parseDocument, visit, type Document, type Node } from 'yaml'
import type { ConfigFault, KeyPath } from './fault.ts'
import { pathText } from './fault.ts'

export interface YamlSource {
  readonly value: unknown
  /** Paths (as text) of scalars that are nothing but one `${VARIABLE}`: they may stand for a number or a boolean. */
  readonly substituted: ReadonlySet<string>
  readonly faults: readonly ConfigFault[]
  /** A fault at the value of that path, or at its key, or at the nearest thing above that is there. */
  fault (path: KeyPath, message: string, at?: 'key' | 'value'): ConfigFault
}

export function readYaml (file: string, text: string, environment: Readonly<Record<string, string | undefined>>): YamlSource {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', merge: false })
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  const faults: ConfigFault[] = document.errors.map((error) => ({ ...place(error.pos[0]), path: '', message: syntaxMessage(error.code, error.message) }))
  const substituted = new Set<string>()
  if (faults.length === 0) substitute(document, environment, substituted, (node, path, message) => {
    faults.push({ ...place(node.range?.[0] ?? 0), path: pathText(path), message })
  })

  let value: unknown = null
  if (faults.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: 50 })
    } catch {
      faults.push({ ...place(0), path: '', message: 'aliases multiply too far; write the values out' })
    }
  }
  return {
    value,
    substituted,
    faults,
    fault: (path, message, at = 'value') => ({ ...place(offsetOf(document, path, at)), path: pathText(path), message }),
  }
}

function syntaxMessage (code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands twice; leave one of them'
  if (code === 'TAB_AS_INDENT') return 'a tab indents here; YAML indents by spaces'
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here; one file holds one configuration'
  // The parser's own sentence, without the excerpt behind it: a line may hold a secret.
  return `not valid YAML: ${(message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '')}`
}

const VARIABLE = /\$(\$)?\{([^}]*)\}/g
const WHOLE = /^\$\{[^}]*\}$/

/** After parsing, scalar by scalar: whatever a variable holds, it cannot become more than text in its place. */
function substitute (
  document: Document,
  environment: Readonly<Record<string, string | undefined>>,
  substituted: Set<string>,
  report: (node: Node, path: KeyPath, message: string) => void
): void {
  visit(document, {
    Scalar (key, node, ancestors) {
      if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('${')) return
      const path = pathOf(node, ancestors)
      if (WHOLE.test(node.value)) substituted.add(pathText(path))
      node.value = node.value.replace(VARIABLE, (whole, escaped: string | undefined, inside: string) => {
        if (escaped !== undefined) return whole.slice(1)
        const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/.exec(inside)
        if (match === null) {
          report(node, path, 'a variable is written ${NAME} or ${NAME:-default}; $${ stands for ${ itself')
          return ''
        }
        const [, name = '', fallback] = match
        const set = environment[name]
        if (set !== undefined && (set !== '' || fallback === undefined)) return set
        if (fallback !== undefined) return fallback
        report(node, path, `the environment variable ${name} is not set; set it, or give a default: \${${name}:-…}`)
        return ''
      })
    },
  })
}

function pathOf (node: Node, ancestors: readonly unknown[]): KeyPath {
  const chain = [...ancestors, node]
  const path: (string | number)[] = []
  chain.forEach((ancestor, index) => {
    const child = chain[index + 1]
    if (isPair(ancestor)) path.push(String(isScalar(ancestor.key) ? ancestor.key.value : ancestor.key))
    else if (typeof ancestor === 'object' && ancestor !== null && 'items' in ancestor && Array.isArray(ancestor.items) && !isPair(child)) {
      const position = ancestor.items.indexOf(child)
      if (position >= 0) path.push(position)
    }
  })
  return path
}

function offsetOf (document: Document, path: KeyPath, at: 'key' | 'value'): number {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true)
    const last = path[length - 1]
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => isScalar(key) && key.value === last)
      const node = (at === 'key' || length < path.length ? pair?.key : pair?.value ?? pair?.key) as Node | undefined
      if (node?.range != null) return node.range[0]
    } else {
      const node = document.getIn(path.slice(0, length), true)
      if (typeof node === 'object' && node !== null && 'range' in node && !isAlias(node)) return (node as Node).range?.[0] ?? 0
    }
  }
  return document.contents?.range?.[0] ?? 0
}
