/** Reads the imports of src/ and holds them against the table of ARCHITECTURE.md. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'

interface Import {
  readonly file: string
  /** The folder of src/ that the file is in; its own name for a file at the top. */
  readonly from: string
  /** The folder of src/ that is imported, or the package. */
  readonly to: string
  readonly path: string
  readonly typeOnly: boolean
}

const root = resolve(import.meta.dirname, '../src')
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const imports = files.flatMap(importsOf)

/** What each folder may import at run time, of src/ and of packages; `node:` is for all unless it is named below. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'errors': [],
  'steps': [],
  'chores': [],
  // In a checkout's source alone.
  'helper-module': ['tsx'],
  'heap-hint': [],
  'helper-process': ['helper-module'],
  'helper-thread': ['helper-module'],
  'config': ['config', 'routes', 'errors', 'typebox', 'yaml', 'ajv'],
  'routes': ['routes', 'errors'],
  'tokens': ['tokens', 'errors', 'steps', 'fast-jwt', 'jose', 'lru-cache'],
  'sessions': ['sessions', 'storage', 'errors', 'steps', 'kysely'],
  'storage': ['storage', 'errors', 'steps', 'heap-hint', 'helper-module', 'helper-process', 'kysely', '@photostructure/sqlite', 'pg'],
  'credentials': ['credentials', 'sessions', 'storage', 'errors', 'steps', 'helper-thread', 'kysely', '@node-rs/argon2', '@node-rs/bcrypt', '@phc/format', 'apache-md5'],
  'gateway': ['gateway', 'routes', 'errors', 'fastify', '@fastify/http-proxy'],
  'login': ['login', 'tokens', 'errors', 'steps', 'fastify', '@fastify/formbody', 'secure-json-parse'],
  'ops': ['ops', 'errors', 'fastify', 'fastify-plugin', 'pino', 'prom-client'],
  'remote': ['remote', 'errors', 'undici'],
  'persistent-state': ['storage', 'tokens', 'errors'],
  'listener': ['gateway', 'errors'],
  'admin-server': ['listener', 'ops', 'fastify'],
  'attack': ['attack', 'server', 'config', 'routes', 'tokens', 'credentials', 'gateway', 'ops', 'persistent-state', 'errors', 'pino'],
  'workers': ['workers', 'admin-server', 'server', 'config', 'ops', 'errors', 'heap-hint'],
}

t.test('imports point down', async (t) => {
  for (const { file, from, to, typeOnly } of imports) {
    const allowed = mayImport[from]
    if (allowed === undefined || typeOnly || to.startsWith('node:')) continue
    t.ok(allowed.includes(to), `${file} imports ${to}`)
  }
})

t.test('only a storage file knows a driver, and one file each driver', async (t) => {
  for (const driver of ['node:sqlite', '@photostructure/sqlite', 'pg']) {
    const users = new Set(imports.filter(({ to, typeOnly }) => to === driver && !typeOnly).map(({ file }) => file))
    t.ok([...users].every((file) => file.startsWith('storage/')), `${driver}: ${[...users].join(', ')}`)
    t.ok(users.size <= 1, `${driver} in one file`)
  }
})

t.test('of storage, the rest knows types, locks, faults, prepared queries and small batches; what opens one is up to those who start', async (t) => {
  for (const { file, from, path, typeOnly } of imports) {
    if ((from === 'sessions' || from === 'credentials') && !typeOnly && path.includes('/storage/')) t.match(path, /\/(?:locks|database-fault|prepared-query|small-batches)\.ts$/, file)
  }
})

t.test('routes, tokens, sessions and credentials know nothing of HTTP servers', async (t) => {
  for (const { file, from, to, typeOnly } of imports) {
    if (['routes', 'tokens', 'sessions', 'credentials', 'storage'].includes(from) && !typeOnly) {
      t.notOk(['fastify', 'node:http', 'node:https', 'undici'].includes(to), `${file} imports ${to}`)
    }
  }
})

t.test('the hot path cannot reach a store, and the stores not the hot path', async (t) => {
  for (const { file, from, to } of imports) {
    if (from === 'gateway') t.notOk(['sessions', 'credentials', 'login', 'storage'].includes(to), `${file} imports ${to}`)
    if (from === 'sessions' || from === 'tokens') t.notOk(['gateway', 'login'].includes(to), `${file} imports ${to}`)
  }
})

t.test('one file each for what only one place may do', async (t) => {
  const only = (pattern: RegExp) => files.filter((file) => pattern.test(withoutComments(readFileSync(join(root, file), 'utf8'))))
  t.strictSame(only(/\bprocess\.env\b/).filter((file) => file !== 'config/load.ts' && !file.startsWith('cli')), [], 'the environment')
  t.strictSame(only(/\bprocess\.exit\(|\bconsole\./).filter((file) => file !== 'cli.ts'), [], 'exit and console')
  t.strictSame(only(/\bcreateVerifier\b.*fast-jwt|from 'fast-jwt'/).filter((file) => !['tokens/verifier.ts', 'tokens/access-token.ts'].includes(file)), [], 'fast-jwt')
  t.strictSame(only(/from '@fastify\/http-proxy'/), ['gateway/gateway.ts'], 'http-proxy')
  t.strictSame(only(/from 'fastify-plugin'/).filter((file) => !file.startsWith('ops/')), [], 'fastify-plugin')
  t.strictSame(only(/\bDate\.now\(\)/).filter((file) => /^(tokens|sessions|credentials|gateway)\//.test(file)), [], 'time is an argument')
})

t.test('no default exports, no barrels, no utils', async (t) => {
  for (const file of files) {
    t.notMatch(readFileSync(join(root, file), 'utf8'), /^export (default|\* from)/m, file)
    t.notMatch(file, /(utils?|helpers?|common|index)\.ts$/, file)
  }
})

t.test('every file begins by saying what it decides', async (t) => {
  for (const file of files) t.match(readFileSync(join(root, file), 'utf8').replace(/^#!.*\n/, ''), /^\/\*\*/, file)
})

function importsOf (file: string): Import[] {
  const source = readFileSync(join(root, file), 'utf8')
  const statements = [...source.matchAll(/^(?:import|export)\s+(type\s+)?([^'"]*?)from\s+'([^']+)'/gms), ...source.matchAll(/()()\bimport\('([^']+)'\)/g)]
  return statements.map(([, type, names = '', path = '']) => ({
    file,
    from: folderOf(file),
    to: path.startsWith('.') ? folderOf(relative(root, resolve(root, dirname(file), path))) : packageOf(path),
    path,
    typeOnly: type !== undefined && type !== '' ? true : /^\s*\{(\s*type [^,]+,?)+\s*\}\s*$/.test(names),
  }))
}

function folderOf (file: string): string {
  const [first = '', second] = file.split('/')
  return second === undefined ? first.replace(/\.ts$/, '') : first
}

function packageOf (path: string): string {
  return path.startsWith('@') ? path.split('/').slice(0, 2).join('/') : path.startsWith('node:') ? path : path.split('/')[0] ?? path
}

function withoutComments (source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}
