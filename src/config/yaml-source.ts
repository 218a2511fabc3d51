/** A YAML text → its value with `${VARIABLES}` filled in, and the place of each key. What the value may be is the schema's matter. */
import { isAlias, isMap, isPair, isScalar, LineCounter, parseDocument, visit, type Document, type Node, type YAMLError } from 'yaml'
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
  const document = parseDocument(maskVariables(text), { lineCounter: lines, version: '1.2', merge: false })
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  const faults: ConfigFault[] = withoutSequels([...document.errors, ...document.warnings])
    .map(({ code, message, pos }) => ({ ...place(pos[0]), path: '', message: syntaxMessage(code, message) }))
  const substituted = new Set<string>()
  unmaskVariables(document)
  const report: Report = (node, path, message) => { faults.push({ ...place(node.range?.[0] ?? 0), path: pathText(path), message }) }
  if (faults.length === 0) checkNodes(document, report)
  if (faults.length === 0) substitute(document, environment, substituted, report)

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

/** Stand for the braces of a variable while YAML is read: of a length with them, and from the private use area. */
const [OPENED, CLOSED] = ['\uE000', '\uE001']
const MASKED = /\$\uE000([^\uE000\uE001]*)\uE001/g

/** In a flow map, `{ port: ${PORT} }`, the braces would be YAML's. */
function maskVariables (text: string): string {
  if (text.includes(OPENED) || text.includes(CLOSED)) return text
  return text.replace(/\$\{([^{}\n]*)\}/g, `$$${OPENED}$1${CLOSED}`)
}

function unmaskVariables (document: Document): void {
  visit(document, {
    Scalar (_key, node) {
      if (typeof node.value === 'string') node.value = node.value.replace(MASKED, '$${$1}')
    },
  })
}

type Report = (node: Node, path: KeyPath, message: string) => void

/** After one bracket too many the parser complains of every word that follows. */
function withoutSequels (errors: readonly YAMLError[]): YAMLError[] {
  const isLost = ({ message }: YAMLError) => message.includes('in YAML stream')
  const first = errors.find(isLost)
  return errors.filter((error) => error === first || !isLost(error))
}

function syntaxMessage (code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands twice; leave one of them'
  if (code === 'TAB_AS_INDENT') return 'a tab indents here; YAML indents by spaces'
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here; one file holds one configuration'
  if (code === 'TAG_RESOLVE_FAILED') return 'this tag is not known; a text that begins with ! is put in quotes'
  // The parser's own sentence, without what it cites behind a colon or a backslash: that may be a secret.
  return `not valid YAML: ${(message.split(/[\n:\\]/)[0] ?? '').replace(/ at line \d+, column \d+$/, '').trim()}`
}

/** What YAML allows, and a configuration has no use for. The texts are not cited: they may be secrets that lack their quotes. */
function checkNodes (document: Document, report: Report): void {
  visit(document, {
    Alias (_key, node, ancestors) {
      if (node.resolve(document) === undefined) report(node, pathOf(node, ancestors), 'this alias names no anchor; a text that begins with * is put in quotes')
    },
    Pair (_key, { key }, ancestors) {
      if (!isScalar(key)) report(key as Node, pathOf(key as Node, ancestors), 'a key is one word')
      else if (key.value === '__proto__') report(key, pathOf(key, ancestors), 'no key has this name')
    },
  })
}

const VARIABLE = /\$(\$)?\{([^}]*)\}/g
const WHOLE = /^\$\{[^}]*\}$/

/** After parsing, scalar by scalar: whatever a variable holds, it cannot become more than text in its place. */
function substitute (
  document: Document,
  environment: Readonly<Record<string, string | undefined>>,
  substituted: Set<string>,
  report: Report
): void {
  visit(document, {
    Scalar (key, node, ancestors) {
      if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('${')) return
      const path = pathOf(node, ancestors)
      if (WHOLE.test(node.value)) substituted.add(pathText(path))
      node.value = node.value.replace(VARIABLE, (whole, escaped: string | undefined, inside: string) => {
        if (escaped !== undefined) return whole.slice(1)
        const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/.exec(inside)
        // A variable within a default would be left as it is written.
        if (match === null || inside.includes('${')) {
          report(node, path, 'a variable is written ${NAME} or ${NAME:-default}; $${ stands for ${ itself')
          return ''
        }
        const [, name = '', fallback] = match
        // An environment is an object: `constructor` is not set in it by being inherited.
        const set = Object.hasOwn(environment, name) ? environment[name] : undefined
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
