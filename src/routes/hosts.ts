/** Which configured host a Host header names: case, port and one trailing dot aside, letter for letter. */

/**
 * `API.Example.com.:8443` is `api.example.com`: case and the dot of the root mean nothing in a name (RFC 3986 §3.2.2), and the port
 * is that of the gateway or of what stands before it. A header that is no host comes to nothing that is configured.
 */
export function hostName (host: string): string {
  if (host.startsWith('[')) return addressOf(host.slice(0, host.indexOf(']') + 1))
  const colon = host.indexOf(':')
  const name = (colon < 0 ? host : host.slice(0, colon)).toLowerCase()
  return name.endsWith('.') ? name.slice(0, -1) : name
}

/** One IPv6 address has many spellings (RFC 5952). */
function addressOf (bracketed: string): string {
  const url = `http://${bracketed}`
  return URL.canParse(url) ? new URL(url).hostname : bracketed.toLowerCase()
}
