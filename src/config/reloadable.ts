/** What a running process cannot change: its sockets and where its data lies. */
import { StartupFault } from '../errors.ts'
import type { Config } from './schema.ts'

const lasting = ['listen', 'admin', 'storage', 'storageOptions', 'workers', 'limits.connections', 'limits.headers', 'keys.masterKey'] as const

/** Throws a StartupFault that names what has changed. */
export function assertReloadable (running: Config, next: Config): void {
  for (const key of lasting) {
    if (JSON.stringify(valueAt(running, key)) !== JSON.stringify(valueAt(next, key))) {
      throw new StartupFault(`${key} has changed, which needs a restart; the configuration before goes on`)
    }
  }
}

function valueAt (config: Config, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], config)
}
