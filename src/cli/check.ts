/** `gatewarden check`: every fault of a configuration (exit 2), and all that is allowed but dangerous (exit 0; 1 with --strict). */
import { faultText } from '../config/fault.ts'
import { lintConfig } from '../config/lint.ts'
import { loadConfig } from '../config/load.ts'
import { StartupFault } from '../errors.ts'
import type { ConfigOption } from './config-option.ts'
import { UsageFault } from './failure.ts'
import { print, printJson } from './print.ts'

export interface CheckOptions extends ConfigOption {
  readonly json?: true
  /** For a pipeline: what is dangerous fails too. */
  readonly strict?: true
}

export function check ({ config: file, json, strict }: CheckOptions): void {
  const loaded = loadConfig(file)
  const faults = 'faults' in loaded ? loaded.faults : []
  const warnings = 'faults' in loaded ? [] : lintConfig(loaded.config).map(({ path, message }) => loaded.faultAt(path, message))
  if (json === true) {
    printJson({ ok: faults.length === 0, faults, warnings })
  } else {
    for (const fault of faults) print(faultText(fault))
    for (const warning of warnings) print(`${faultText(warning)} (warning)`)
    if (faults.length === 0) print(`${file}: no faults${warnings.length === 0 ? '' : `, ${warnings.length} ${warnings.length === 1 ? 'warning' : 'warnings'}`}`)
  }
  // The faults have been said; what is left is the exit code.
  if (faults.length > 0) throw new UsageFault()
  if (strict === true && warnings.length > 0) throw new StartupFault('there are warnings, and --strict takes none')
}
