/** Which version this is, as package.json says. */
import { readFileSync } from 'node:fs'

/** The same distance from src/cli/ and from dist/cli/. */
const manifest = new URL('../../package.json', import.meta.url)

export function version (): string {
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return version
}
