/** How servers of all kinds would read a request target: every combination of the liberties that some of them take. */

/** Each reading once, in the form of a plain path. Written without a look at the gateway's own: it is the witness. */
export function readings (target: string): readonly string[] {
  const all = new Set<string>()
  for (const origin of [target, target.replace(/^[a-z][a-z0-9+.-]*:\/*[^/?#\\]*/i, '')]) {
    for (const decoded of decodings(cut(origin))) {
      for (let liberties = 0; liberties < 1 << steps.length; liberties++) {
        all.add(`/${resolve(steps.reduce((path, step, index) => (liberties & 1 << index) === 0 ? path : step(path), decoded)).join('/')}`)
      }
    }
  }
  return [...all]
}

/** The query, and a fragment, are no part of the path. */
function cut (target: string): string {
  return target.replace(/[?#].*$/s, '')
}

/** As it is, decoded once, twice, three times. A server that decodes first finds the query in what it has decoded. */
function decodings (path: string): string[] {
  const all = [path]
  for (let times = 0; times < 3; times++) {
    const next = decode(all.at(-1) ?? '')
    all.push(next)
    if (/[?#]/.test(next)) all.push(cut(next))
  }
  return [...new Set(all)]
}

/** Percent-encoding, IIS's %uXXXX, and UTF-8 that is longer than it need be. */
function decode (path: string): string {
  const bytes = path
    .replace(/%u([0-9a-f]{4})/gi, (_, hex: string) => Buffer.from(String.fromCharCode(Number.parseInt(hex, 16))).toString('latin1'))
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/[\u00c0\u00c1]([\u0080-\u00bf])/g, (two, last: string) => String.fromCharCode(((two.charCodeAt(0) & 1) << 6) | (last.charCodeAt(0) & 0x3f)))
  return bytes
}

/** Liberties that some server takes, in the order in which they would be taken. */
const steps: readonly ((path: string) => string)[] = [
  // C strings end at a NUL.
  (path) => path.replace(/\0.*$/s, ''),
  (path) => path.replaceAll('\\', '/'),
  // Servlet containers cut parameters off each segment, before dots are resolved.
  (path) => path.replace(/;[^/]*/g, ''),
  // Unicode compatibility forms (full-width letters, dots and slashes), and letters whose upper or lower case is in ASCII.
  (path) => Buffer.from(path, 'latin1').toString('utf8').normalize('NFKC').toUpperCase().toLowerCase(),
  // Windows drops dots and spaces at the end of a name.
  (path) => path.split('/').map((segment) => /^\.{1,2}$/.test(segment) ? segment : segment.replace(/[. \t\u00a0]+$/, '')).join('/'),
]

/** Empty and single-dot segments are nothing; two dots take one away. */
function resolve (path: string): string[] {
  const segments: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') segments.push(segment)
  }
  return segments
}
