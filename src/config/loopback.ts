/** Whether a host is this machine by its name alone: nothing is looked up. */
import { isIP } from 'node:net'

export function isLoopback (host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}
