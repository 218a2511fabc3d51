/** Renders the part of Kustomize that k8s/ uses, and stops at whatever it does not know; a test holds it against kubectl. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string, readonly namespace?: string, readonly labels?: Readonly<Record<string, string>> }
  readonly [key: string]: unknown
}

type Tree = Record<string, unknown>

/** Throws for a file that is missing, or a field that is not known here. */
export function render (folder: string): Manifest[] {
  const file = join(folder, 'kustomization.yaml')
  const { apiVersion, kind, namespace, resources = [], configMapGenerator = [], generatorOptions, labels = [], patches = [], ...unknown } = parse(readFileSync(file, 'utf8')) as Kustomization
  if (apiVersion !== 'kustomize.config.k8s.io/v1beta1' || kind !== 'Kustomization') throw new Error(`${file}: ${apiVersion} ${kind}`)
  if (Object.keys(unknown).length > 0) throw new Error(`${file}: unknown ${Object.keys(unknown).join(', ')}`)

  const manifests: Tree[] = resources.flatMap((resource) => {
    const path = resolve(folder, resource)
    return existsSync(join(path, 'kustomization.yaml')) ? render(path) as unknown as Tree[] : readManifests(path)
  })
  for (const generator of configMapGenerator) addConfigMap(manifests, generator, folder, generatorOptions)
  for (const patch of patches) applyPatch(manifests, patch, folder)
  for (const { pairs } of labels) manifests.forEach((manifest) => { addLabels(manifest, pairs) })
  if (namespace !== undefined) manifests.forEach((manifest) => { setNamespace(manifest, namespace) })
  return manifests as unknown as Manifest[]
}

export function readManifests (file: string): Tree[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0]
    return document.toJS() as Tree
  })
}

interface Kustomization {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace?: string
  readonly resources?: readonly string[]
  readonly configMapGenerator?: readonly Generator[]
  readonly generatorOptions?: { readonly disableNameSuffixHash?: boolean }
  readonly labels?: readonly { readonly pairs: Tree, readonly includeSelectors: true, readonly includeTemplates: true }[]
  readonly patches?: readonly Patch[]
}

interface Generator { readonly name: string, readonly files: readonly string[], readonly behavior?: 'replace' }
type Patch = { readonly path: string } | { readonly target: { readonly kind: string, readonly name: string }, readonly patch: string }
interface Operation { readonly op: string, readonly path: string, readonly from?: string, readonly value?: unknown }

function addConfigMap (manifests: Tree[], { name, files, behavior }: Generator, folder: string, options: Kustomization['generatorOptions']): void {
  const data = Object.fromEntries(files.map((file) => [basename(file), readFileSync(join(folder, file), 'utf8')]))
  if (behavior === 'replace') {
    find(manifests, 'ConfigMap', name)['data'] = data
    return
  }
  if (options?.disableNameSuffixHash !== true) throw new Error(`${name}: a name with a hash replaces the pod at each change`)
  manifests.push({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data })
}

function applyPatch (manifests: Tree[], patch: Patch, folder: string): void {
  if ('path' in patch) {
    for (const part of readManifests(join(folder, patch.path))) {
      const manifest = find(manifests, part['kind'] as string, at(part, ['metadata', 'name']) as string)
      Object.assign(manifest, merge(manifest, part))
    }
    return
  }
  const manifest = find(manifests, patch.target.kind, patch.target.name)
  for (const operation of parse(patch.patch) as Operation[]) applyOperation(manifest, operation)
}

function find (manifests: readonly Tree[], kind: string, name: string): Tree {
  const found = manifests.find((one) => one['kind'] === kind && at(one, ['metadata', 'name']) === name)
  if (found === undefined) throw new Error(`no ${kind} ${name} to change`)
  return found
}

/** RFC 6902, add and move. */
function applyOperation (manifest: Tree, { op, path, from, value }: Operation): void {
  const added = op === 'add' ? value : op === 'move' && from !== undefined ? remove(manifest, from) : fail(`patch operation ${op}`)
  const { parent, key } = locate(manifest, path)
  if (Array.isArray(parent)) parent.splice(Number(key), 0, added)
  else parent[key] = added
}

function remove (manifest: Tree, path: string): unknown {
  const { parent, key } = locate(manifest, path)
  if (Array.isArray(parent)) return (parent as unknown[]).splice(Number(key), 1)[0]
  const value = parent[key]
  delete parent[key]
  return value
}

function locate (manifest: Tree, path: string): { parent: Tree | unknown[], key: string } {
  const keys = path.split('/').slice(1)
  const key = keys.pop() ?? fail('an empty path')
  return { parent: at(manifest, keys) as Tree | unknown[], key }
}

/** Strategic merge: maps by key, lists of named things by name, other lists as a whole. */
function merge (one: unknown, other: unknown): unknown {
  if (isNamedList(one) && isNamedList(other)) {
    const names = new Set(one.map(({ name }) => name))
    const merged = one.map((item) => merge(item, other.find(({ name }) => name === item.name) ?? {}))
    return [...other.filter(({ name }) => !names.has(name)), ...merged]
  }
  if (isTree(one) && isTree(other)) {
    return { ...one, ...Object.fromEntries(Object.entries(other).map(([key, value]) => [key, key in one ? merge(one[key], value) : value])) }
  }
  return other
}

function isNamedList (value: unknown): value is { name: unknown }[] {
  return Array.isArray(value) && value.every((item) => isTree(item) && 'name' in item)
}

function isTree (value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A Namespace is in none: it takes the name. */
function setNamespace (manifest: Tree, namespace: string): void {
  const metadata = manifest['metadata'] as Tree
  metadata[manifest['kind'] === 'Namespace' ? 'name' : 'namespace'] = namespace
}

function addLabels (manifest: Tree, pairs: Tree): void {
  const add = (keys: readonly string[]) => {
    let place = manifest
    for (const key of keys) place = (place[key] ??= {}) as Tree
    Object.assign(place, pairs)
  }
  add(['metadata', 'labels'])
  if (manifest['kind'] === 'Service') add(['spec', 'selector'])
  if (manifest['kind'] !== 'Deployment') return
  add(['spec', 'selector', 'matchLabels'])
  add(['spec', 'template', 'metadata', 'labels'])
}

export function at (value: unknown, keys: readonly (string | number)[]): unknown {
  return keys.reduce<unknown>((inner, key) => (inner as Record<string | number, unknown> | undefined)?.[key], value)
}

function fail (what: string): never {
  throw new Error(`not rendered here: ${what}; teach test/deploy/kustomize.ts, or do without`)
}
