/**
 * The log goes to standard output, which may be a file on a full disk, or a pipe that nobody empties: then lines are lost, and neither
 * the process nor a request is. pino's own destination ends the process with the first line that cannot be written, and waits
 * for ever where that is a fatal one.
 */
import { writeSync } from 'node:fs'
import { pino, type DestinationStream, type Logger, type LoggerOptions } from 'pino'

/** Bytes that wait for room; lines beyond are lost. */
const LONGEST_BACKLOG = 65_536

export function openLog (options: LoggerOptions): Logger {
  const log: Logger = pino(options, createLogDestination({
    write: (bytes) => writeSync(1, bytes),
    onLost: (lines) => { setImmediate(() => { log.warn({ lines }, 'lines of the log are lost: standard output took none') }) },
  }))
  return log
}

export interface LogDestinationOptions {
  /** How many bytes were written; throws where none can be. */
  readonly write: (bytes: Buffer) => number
  /** There is room again, and so many lines are missing. */
  readonly onLost: (lines: number) => void
}

/** Each line is written at once, for what a process said before it died matters most; what finds no room is tried with the next. */
export function createLogDestination ({ write, onLost }: LogDestinationOptions): DestinationStream {
  let waiting: Buffer = Buffer.alloc(0)
  let lost = 0

  function drain (): void {
    try {
      while (waiting.length > 0) waiting = waiting.subarray(write(waiting))
    } catch {
      // A line that was begun goes on where it stopped.
    }
  }

  return {
    write (line) {
      if (waiting.length > 0) drain()
      const bytes = Buffer.from(line)
      if (waiting.length + bytes.length > LONGEST_BACKLOG && waiting.length > 0) {
        lost++
        return
      }
      waiting = waiting.length === 0 ? bytes : Buffer.concat([waiting, bytes])
      drain()
      if (lost === 0 || waiting.length > 0) return
      const lines = lost
      lost = 0
      onLost(lines)
    },
  }
}
