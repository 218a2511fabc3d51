/** A configuration from a text: loaded as a file is, with an environment that holds nothing but what is given. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TAP, Test } from 'tap'
import { faultText } from '../../src/config/fault.ts'
import { loadConfig, type Environment } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'

/** The one thing that has no default. */
export const routes = 'routes: [{ path: /, upstream: "http://127.0.0.1:3000", access: public }]'

export function createLoader (t: Test | TAP) {
  const folder = t.testdir({})
  const file = join(folder, 'config.yaml')

  function load (text: string, environment: Environment = {}) {
    writeFileSync(file, text)
    return loadConfig(file, environment)
  }

  return {
    folder,
    load,
    /** The faults as an operator reads them, behind the name of the file; none for a configuration that loads. */
    faults (text: string, environment: Environment = {}): string[] {
      const loaded = load(text, environment)
      return 'faults' in loaded ? loaded.faults.map((fault) => faultText({ ...fault, file: 'c' })) : []
    },
    config (text: string, environment: Environment = {}): Config {
      const loaded = load(text, environment)
      if ('faults' in loaded) throw new Error(loaded.faults.map(faultText).join('\n'))
      return loaded.config
    },
  }
}
