/** Whose word about the client is taken: the peers of `trustedProxies`, and nobody else (GHSA-7x63-xv5r-3p2x). */
import { BlockList, isIPv6, type Socket } from 'node:net'

export interface TrustedProxies {
  trusts (address: string | undefined): boolean
}

/** `cidrs`: `10.0.0.0/8`, `fd00::/8`, or a single address. */
export function compileTrustedProxies (cidrs: readonly string[]): TrustedProxies {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', bits] = cidr.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    list.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family)
  }
  return {
    trusts (address) {
      if (cidrs.length === 0 || address === undefined) return false
      const plain = plainAddress(address)
      return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
    },
  }
}

/** IPv4 addresses of a dual-stack socket arrive as `::ffff:192.0.2.1`. */
export function plainAddress (address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

/** The peer's address, `unknown` on a socket that is already gone. */
export function peerAddress (socket: Socket): string {
  return plainAddress(socket.remoteAddress ?? 'unknown')
}
