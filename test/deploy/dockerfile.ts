/** Reads the Dockerfile: stages, and in each its instructions in order. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

export interface Instruction {
  readonly name: string
  /** As written, on one line. */
  readonly text: string
}

export interface Stage {
  readonly image: string
  readonly name: string | null
  readonly instructions: readonly Instruction[]
}

export const projectRoot: string = resolve(import.meta.dirname, '../..')

/** Throws for what this reads not, such as an instruction before FROM. */
export function readStages (text = readFileSync(resolve(projectRoot, 'Dockerfile'), 'utf8')): Stage[] {
  const lines = text.replace(/^\s*#.*\n/gm, '').replace(/\\\n/g, ' ').split('\n').map((line) => line.trim().replace(/\s+/g, ' ')).filter((line) => line !== '')
  const stages: { image: string, name: string | null, instructions: Instruction[] }[] = []
  for (const line of lines) {
    const [, name = '', rest = ''] = /^([A-Z]+) (.+)$/.exec(line) ?? []
    if (!instructions.includes(name)) throw new Error(`no instruction: ${line}`)
    if (name === 'FROM') {
      const [, image = '', stageName] = /^(\S+)(?: AS (\S+))?$/.exec(rest) ?? []
      stages.push({ image, name: stageName ?? null, instructions: [] })
    } else {
      const stage = stages.at(-1)
      if (stage === undefined) throw new Error(`before the first FROM: ${line}`)
      stage.instructions.push({ name, text: rest })
    }
  }
  return stages
}

/** What is said of one subject, in order. */
export function texts (stage: Stage, name: string): string[] {
  return stage.instructions.filter((one) => one.name === name).map(({ text }) => text)
}

/** The JSON form, which no shell reads; null for the other one. */
export function execForm (text: string): string[] | null {
  try {
    return JSON.parse(text) as string[]
  } catch {
    return null
  }
}

/** ADD is not among them: it unpacks archives and fetches URLs, which nobody sees in a review. */
const instructions = ['FROM', 'LABEL', 'RUN', 'COPY', 'WORKDIR', 'ENV', 'USER', 'VOLUME', 'EXPOSE', 'HEALTHCHECK', 'STOPSIGNAL', 'ENTRYPOINT', 'CMD']
