import { resolve } from 'node:path'

/** What tests start as a process of its own: a file `….process.ts` under test/, by its name without that, as the bundle has it. */
export function processFile (name: `${string}.process`): string {
  return resolve(import.meta.dirname, '../../.test-bundle', `${name}.js`)
}
