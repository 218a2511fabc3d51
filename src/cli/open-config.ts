/** The configuration of a command: loaded, or every fault of it on standard error. */
import { faultText } from '../config/fault.ts'
import { loadConfig, type Loaded } from '../config/load.ts'
import type { Io } from './io.ts'

export type LoadedConfig = Extract<Loaded, { config: unknown }>

/** null after the faults have been told: the command then ends with 2. */
export function openConfig (file: string, io: Pick<Io, 'complain'>): LoadedConfig | null {
  const loaded = loadConfig(file)
  if ('config' in loaded) return loaded
  for (const fault of loaded.faults) io.complain(faultText(fault))
  return null
}
