/** What test/helpers/die-at-step.mjs is told, and tells, by files in a folder. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Step } from '../../src/steps.ts'
import { projectRoot, type LaunchOptions } from '../cli/built-cli.ts'

export type Fate = 'record' | { readonly step: Step, readonly nth: number }

export interface Death {
  readonly pid: number
  readonly step: Step
}

export interface OrderedDeath {
  /** How whatever may die is launched. */
  readonly launched: Required<Pick<LaunchOptions, 'env' | 'nodeOptions'>>
  /** From now on, until one has died or it is called off. */
  order (fate: Fate): void
  callOff (): void
  /** What was recorded, in order. */
  passed (): Step[]
  /** Who has died so, and where. */
  deaths (): Death[]
}

export function orderedDeath (folder: string): OrderedDeath {
  const file = join(folder, 'death')
  return {
    launched: { env: { GATEWARDEN_DEATH: file }, nodeOptions: ['--import', join(projectRoot, 'test/helpers/die-at-step.mjs')] },
    order (fate) { writeFileSync(file, fate === 'record' ? fate : `${fate.step}\n${fate.nth}`) },
    callOff () { rmSync(file, { force: true }) },
    passed: () => readFileSync(`${file}.passed`, 'utf8').trim().split('\n') as Step[],
    deaths: () => readdirSync(folder).flatMap((name) => {
      const [, pid] = /^death\.of\.(\d+)$/.exec(name) ?? []
      if (pid === undefined) return []
      const [step] = readFileSync(join(folder, name), 'utf8').split('\n')
      return [{ pid: Number(pid), step: step as Step }]
    }),
  }
}
