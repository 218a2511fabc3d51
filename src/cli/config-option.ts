/** `--config FILE`, which every command has, and the reading of it: a configuration, or all its faults and exit 2. */
import { faultText } from '../config/fault.ts'
import { loadConfig, type Loaded } from '../config/load.ts'
import { UsageFault } from './failure.ts'

export interface ConfigOption {
  /** Path of the file. */
  readonly config: string
}

/** Throws a UsageFault that holds every fault, a line each. */
export function loadOrThrow (file: string): Extract<Loaded, { config: unknown }> {
  const loaded = loadConfig(file)
  if ('faults' in loaded) throw new UsageFault(...loaded.faults.map(faultText))
  return loaded
}
