/**
 * ReDoS (CWE-1333; CVE-2026-35041 in fast-jwt, CVE-2024-45296 in path-to-regexp): a regular expression that takes time by the square of
 * its input, or worse, stops the one thread for whatever somebody puts into a header. Here every regular expression of the source is
 * found by the compiler's own parser, and run on what is known to be worst for such: its own characters again and again, thousands
 * of them, ended by what makes it go back. None may take longer than a bound that no quadratic one keeps.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { pathFault, readingsOf } from '../../src/routes/canonical-path.ts'
import { compileRoutes } from '../../src/routes/compile.ts'
import { hostName } from '../../src/routes/hosts.ts'

/** Enough to tell the square from the line, and a third of the most that a head or a body of the own endpoints holds. */
const LENGTH = 6_000
/** Milliseconds. A linear one takes a tenth of one; a quadratic one forty and more. */
const BOUND = 15
const rowOfA = 'a'.repeat(LENGTH)

interface Found { readonly file: string, readonly expression: RegExp }

const root = resolve(import.meta.dirname, '../../src')
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.startsWith('attack/'))

function expressionsOf (file: string): Found[] {
  const found: Found[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf('/')
      found.push({ file, expression: new RegExp(node.text.slice(1, end), node.text.slice(end + 1)) })
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ESNext))
  return found
}

/** What to repeat: the characters of the expression one by one and in pairs, and what its classes stand for. */
function pumps ({ source }: RegExp): string[] {
  const letters = [...new Set(source.replace(/\\[pP]\{[^}]*\}|\\u\{?[0-9a-fA-F]+\}?|\\x[0-9a-fA-F]{2}|\\[a-zA-Z]/g, '').replace(/[\\^$*+?()[\]{}|]/g, ''))].slice(0, 12)
  const classes = ['a', 'A', '0', ' ', '\t', '/', '.', ';', '%', '%41', ',', '-', '_', '"', '\\', '\n', '\r\n', 'é', '\u0000']
  const first = letters.slice(0, 2)
  return [...new Set([...letters, ...classes, ...first.flatMap((one) => first.map((other) => one + other))])]
}

/** The literal text that it begins with: without it, most never get as far as their repetitions. */
function beginning ({ source }: RegExp): string {
  return /^\^?((?:[A-Za-z0-9/:=_ -]|\\[$./{])*)/.exec(source)?.[1]?.replaceAll('\\', '') ?? ''
}

t.test('no regular expression of the source blows up', async (t) => {
  const found = files.flatMap(expressionsOf)
  t.ok(found.length > 80, `${found.length} of them`)
  for (const { file, expression } of found) {
    let worst = { milliseconds: 0, pump: '' }
    for (const pump of pumps(expression)) {
      for (const prefix of new Set(['', 'a', beginning(expression)])) {
        const text = `${prefix}${pump.repeat(Math.floor(LENGTH / pump.length))}\u0001`
        const milliseconds = timed(() => { run(expression, text) })
        if (milliseconds > worst.milliseconds) worst = { milliseconds, pump }
      }
    }
    t.ok(worst.milliseconds < BOUND, `${file}: ${expression.toString()} (${JSON.stringify(worst.pump)}: ${worst.milliseconds.toFixed(1)} ms)`)
  }
})

/** As it is used: a global one by all its matches, any other one by the first. */
function run (expression: RegExp, text: string): void {
  if (expression.global) text.replace(expression, '')
  else expression.exec(text)
}

/** Milliseconds of a machine on which a quadratic one takes forty. */
function timed (work: () => void): number {
  const milliseconds = once(work)
  // A pause of the machine is no property of the expression, and neither is how slow it is today.
  return milliseconds < BOUND ? milliseconds : Math.min(milliseconds, once(work), once(work)) / Math.max(1, once(quadratic) / 40)
}

function once (work: () => void): number {
  const started = performance.now()
  work()
  return performance.now() - started
}

/** The plainest there is: it begins anew at each letter, and reads to the end. */
function quadratic (): void {
  /a*b/.exec(rowOfA)
}

t.test('nor does what reads every path and every host', async (t) => {
  const table = compileRoutes({
    routes: [{ path: '/', upstream: 'http://127.0.0.1:1', access: 'public', stripPrefix: false, preserveHost: false, forwardAuthorization: false, websocket: true, allowPath: ['encoded-slash', 'double-slash', 'double-encoding', 'semicolon', 'needless-encoding', 'encoded-backslash'] }],
    timeouts: { connect: 1, upstream: 1, idle: 1, clientHeaders: 1, clientBody: 1, clientBodyGrace: 1, keepAlive: 1, drain: 1, tokenGrace: 1 },
    limits: { body: 1, bodyRate: 240, headers: 1, connections: 1 },
    identity: { headers: {}, reservedPrefixes: [] },
  })
  for (const unit of ['/', 'a/', 'A/', 'A', '%2f', '%252f', '%25', '.', '..', './', ';', ';/', '/;a', '%20', '.%20', '%e2%88%95', '%ef%bc%8f', '\\', '%5c', '%', '%2', '?', '[', ':', 'é']) {
    const path = `/${unit.repeat(Math.floor(LENGTH / unit.length))}`
    for (const [what, work] of [
      ['pathFault', () => { pathFault(path) }], ['pathFault, all allowed', () => { pathFault(path, 63) }], ['readingsOf', () => { readingsOf(path) }],
      ['find', () => { table.find('GET', path, 'a') }], ['hostName', () => { hostName(path) }],
    ] as const) t.ok(timed(work) < BOUND, `${what} of ${unit}`)
  }
})
