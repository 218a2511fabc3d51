/** What a command that did not go well says, and its exit code: 1 failed, 2 wrong usage or wrong configuration. */
import { CommanderError } from 'commander'
import { Refusal, StartupFault } from '../errors.ts'

export interface Failure {
  /** For stderr: one clear line each. */
  readonly lines: readonly string[]
  readonly exitCode: number
}

/** Wrong usage, or a wrong configuration: exit 2. */
export class UsageFault extends Error {
  readonly lines: readonly string[]

  constructor (...lines: readonly string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

export function failureOf (error: unknown): Failure {
  // Commander has printed what there was to say; asking for help or the version is no failure.
  if (error instanceof CommanderError) return { lines: [], exitCode: isHelp(error) ? 0 : 2 }
  if (error instanceof UsageFault) return { lines: error.lines, exitCode: 2 }
  if (error instanceof StartupFault) return { lines: [`error: ${oneLine(error.message)}`], exitCode: 1 }
  if (error instanceof Refusal) return { lines: [`error: ${error.message}${error.details.reason === undefined ? '' : ` (${error.details.reason})`}`], exitCode: 1 }
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  return { lines: [`error: ${name === 'Error' ? '' : `${name}: `}${oneLine(message)}`], exitCode: 1 }
}

function isHelp (error: CommanderError): boolean {
  return error.code === 'commander.helpDisplayed' || error.code === 'commander.version' || (error.code === 'commander.help' && error.exitCode === 0)
}

function oneLine (text: string): string {
  return text.split('\n').map((line) => line.trim()).filter((line) => line !== '').join(' ')
}
