/** How servers read a path more freely than its bytes say: each as its documentation or its advisories have it. */

export interface Reading {
  readonly server: string
  readonly path: string
}

/** What each would serve for a path (without its query). */
export function readings (path: string): Reading[] {
  const decoded = decode(path)
  return [
    { server: 'as sent', path },
    { server: 'decoding (WSGI, CGI)', path: decoded },
    { server: 'decoding twice', path: decode(decoded) },
    { server: 'resolving dots (nginx, Apache)', path: resolveDots(decoded) },
    { server: 'case-insensitive (Express)', path: resolveDots(decoded).toLowerCase() },
    { server: 'comparing in capitals (NTFS)', path: resolveDots(decoded).toUpperCase().toLowerCase() },
    { server: 'cutting parameters, then decoding (Servlet)', path: resolveDots(decode(path.replace(/;[^/]*/g, ''))) },
    { server: 'decoding, then cutting parameters (Servlet)', path: resolveDots(decoded.replace(/;[^/]*/g, '')) },
    { server: 'decoding, then cutting the query', path: resolveDots(decoded.replace(/[?#].*$/s, '')) },
    { server: 'backslashes for slashes (IIS)', path: resolveDots(decoded.replaceAll('\\', '/')).toLowerCase() },
    { server: 'dropping dots and spaces at the end (Windows)', path: resolveDots(decoded).split('/').map((segment) => segment.replace(/[. ]+$/, '')).join('/').toLowerCase() },
    { server: 'compatibility forms folded (NFKC)', path: resolveDots(decoded.normalize('NFKC')).toLowerCase() },
    { server: '%u escapes (IIS)', path: resolveDots(decode(decoded).replace(/%u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))).toLowerCase() },
    { server: 'merging slashes', path: resolveDots(decoded.replace(/\/+/g, '/')) },
  ]
}

function decode (path: string): string {
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('utf8'))
}

function resolveDots (path: string): string {
  const segments: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') segments.push(segment)
  }
  return `/${segments.join('/')}`
}
