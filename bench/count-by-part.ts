/** Whose function it is: a folder of ours, a package, or a module of Node's; of the bundle by its source maps. */
import { existsSync, readFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { fileURLToPath } from 'node:url'

interface Script {
  readonly map: SourceMap
  /** Where each line begins. */
  readonly lines: readonly number[]
}

const scripts = new Map<string, Script | null>()

export function partOf (url: string, offset: number): { readonly part: string, readonly isNode: boolean } {
  if (!url.startsWith('file:')) {
    // node:_http_server and node:internal/http → Node: http; node:internal/streams/readable → Node: streams
    return { part: `Node: ${/^node:(?:internal\/)?_?([a-z]+(?:_hooks|_queue|_channel)?)/.exec(url)?.[1] ?? 'others'}`, isNode: true }
  }
  if (!scripts.has(url)) scripts.set(url, read(url))
  const script = scripts.get(url) ?? null
  const source = script === null ? url : sourceOf(script, offset)
  const name = /^.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? /\b(src\/[^/]+)\/[^/]+$/.exec(source)?.[1] ?? /\bsrc\/[^/]+$/.exec(source)?.[0]
  return { part: name ?? 'the bundle itself', isNode: false }
}

function read (url: string): Script | null {
  const file = fileURLToPath(url)
  if (!existsSync(`${file}.map`)) return null
  const lines = [0]
  for (const { index } of readFileSync(file, 'utf8').matchAll(/\n/g)) lines.push(index + 1)
  return { map: new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')) as SourceMapPayload), lines }
}

function sourceOf ({ map, lines }: Script, offset: number): string {
  const line = lines.findLastIndex((begin) => begin <= offset)
  const entry = map.findEntry(line, offset - (lines[line] ?? 0))
  return 'originalSource' in entry ? entry.originalSource : ''
}
