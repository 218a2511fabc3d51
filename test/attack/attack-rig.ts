/** What the tests of an attack begin with: a configuration that was loaded, some of the classes, and what a report says. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { attackClasses, type AttackOptions, type AttackReport } from '../../src/attack/run.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'

const cheap = { memory: '1mb', iterations: 1 }

/** Loaded as a file is, with cheap hashes. */
export function configOf (t: Test, written: Record<string, unknown>, files: Record<string, string> = {}): { readonly config: Config, readonly folder: string } {
  const folder = t.testdir({ 'config.yaml': stringify({ passwords: cheap, ...written }), ...files })
  const loaded = loadConfig(join(folder, 'config.yaml'), {})
  if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults))
  return { config: loaded.config, folder }
}

export function only (...names: readonly string[]): Required<Pick<AttackOptions, 'classes'>> {
  const classes = attackClasses.filter(({ name }) => names.includes(name))
  if (classes.length !== names.length) throw new Error(`no such class: ${names.join(', ')}`)
  return { classes }
}

/** For the message of a test that fails. */
export function told ({ classes }: AttackReport): string {
  return JSON.stringify(classes.flatMap(({ name, failures, failedControls }) => [...failedControls, ...failures].slice(0, 3).map(({ attack, why }) => [name, attack, why])))
}
