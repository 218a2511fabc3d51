/**
 * What is let through has one reading: read as leniently as a server could read it, it leads to the route that the bytes led to;
 * and read again by the platform's own parser, it is the same text. Everything else has a fault in words. Nothing throws.
 */
import t from 'tap'
import fc from 'fast-check'
import { lenientReading, pathFault, pathOf } from '../../src/routes/canonical-path.ts'
import { compileRoutes } from '../../src/routes/compile.ts'
import { createLoader, routes } from '../config/load-text.ts'
import { readings } from '../security/lenient-servers.ts'
import { holds, mixtureOf } from './property.ts'

const { config } = createLoader(t)
const table = (paths: readonly string[]) => compileRoutes({
  ...config(routes),
  routes: config(`routes: [${paths.map((path) => `{ path: "${path}", upstream: "http://127.0.0.1:1", access: public }`).join()}]`).routes,
})

const pieces = [
  '/', '/', '/', '//', '.', '..', '...', '/../', '/./', '%2e', '%2E', '%2f', '%5c', '\\', 'admin', 'ADMIN', 'Admin', '%61dmin', 'adm%69n', 'api', 'x', ';', ';a=b', '%3b', '%3B', '?', '#', '%23', '%3f', '%3F',
  '%', '%25', '%252e', '%252f', '%25u0061', '%u0061', '%c0%ae', '%e0%80%af', '%ef%bc%8f', '%ef%bc%8e', '%ef%bc%a1', '%ef%bd%81dmin', '%e2%84%aa', '%c5%bf', '%00', '%0a', '%09', ' ', '%20', '+', '~', '%7e', '*', ':', '$', '@', '\t', '\x00', '\xe9', '%e9', '%C3%A9', 'é', '%2', '%zz',
]
const target = mixtureOf(pieces).map((text) => `/${text}`)
const routeTable = table(['/', '/admin', '/api', '/api/admin', '/x'])
const protectedPaths = ['/admin', '/api', '/api/admin', '/x']

function routeOf (path: string): string | null {
  return routeTable.find('GET', path).route?.path ?? null
}

await t.test('every target has one reading or a fault', async (t) => {
  await holds(t, 'no target throws, and what passes is plain bytes', 3_000, target, (text) => {
    const fault = pathFault(text)
    if (fault !== null) return fault === '' ? 'a fault without words' : undefined
    const path = pathOf(text)
    if (!/^\/[\x21-\x7e]*$/.test(path)) return 'bytes that have no place in a path'
    // The platform's parser, which resolves dots and rewrites backslashes, finds nothing to do.
    const { pathname } = new URL(`http://a${text.replace(/\?.*$/s, '')}`)
    const encoded = path.replace(/[`{}"<>^|]/g, (character) => encodeURIComponent(character))
    if (pathname.replace(/[`{}"<>^|]/g, (character) => encodeURIComponent(character)) !== encoded) return `URL reads ${pathname}`
    decodeURIComponent(path)
    return undefined
  })
})

await t.test('any bytes at all', async (t) => {
  await holds(t, 'no string throws', 1_000, fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
    pathFault(text)
    lenientReading(text)
    routeTable.find('GET', text)
    return undefined
  })
})

await t.test('what a lenient server reads is under the route that was matched', async (t) => {
  await holds(t, 'no reading leads elsewhere', 3_000, target, (text) => {
    if (pathFault(text) !== null) return undefined
    const path = pathOf(text)
    if (routeTable.find('GET', path).kind === 'ambiguous') return undefined
    const matched = routeOf(path)
    for (const { server, path: read } of readings(path)) {
      const there = routeOf(read)
      if (there !== matched && protectedPaths.includes(there ?? '')) return `${server} reads ${read}, which is under ${String(there)}; matched was ${String(matched)}`
    }
    return undefined
  })
})

await t.test('a matched path begins with its route, segment by segment', async (t) => {
  const segment = fc.constantFrom('a', 'b', 'ab', 'A', 'a.b', '~', '@', '-')
  const plain = fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
  await holds(t, 'the longest route wins, and none holds its neighbour', 300, fc.tuple(fc.uniqueArray(plain, { minLength: 1, maxLength: 5, selector: (path) => path.toLowerCase() }), plain), ([paths, path]) => {
    const found = table(paths).find('GET', path)
    const holding = paths.filter((route) => route === '/' || path === route || path.startsWith(`${route}/`)).sort((one, other) => other.length - one.length)
    // Also where a lenient reading leads to another: then it says so.
    const got = found.route?.path
    return got === holding[0] ? undefined : `${String(got)} instead of ${String(holding[0])}`
  })
})
