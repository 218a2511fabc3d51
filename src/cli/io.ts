/** What a command reads from and writes to. cli.ts hands over the process's own streams; a test its own. */
import type { Readable, Writable } from 'node:stream'

export interface Io {
  /** A line on standard output: what was asked for. */
  readonly print: (line: string) => void
  /** A line on standard error: what went wrong, and what to mind. */
  readonly complain: (line: string) => void
  readonly stdin: Readable & { readonly isTTY?: boolean }
  /** For prompts, which are no output. */
  readonly stderr: Writable
  /** Whether standard output is a terminal that shows colours. */
  readonly colours: boolean
}

/** What a command was asked is wrong, in a way that its options cannot tell: exit code 2. */
export class UsageFault extends Error {}
