/** A log in memory: what was written, as text to search and as lines to look at. */
import { pino, type Logger } from 'pino'
import { loggerOptions } from '../../src/ops/logger.ts'

export interface LogSink {
  readonly stream: { write (line: string): void }
  readonly logger: Logger
  text (): string
  lines (): Record<string, unknown>[]
}

export function createLogSink (level = 'trace'): LogSink {
  const written: string[] = []
  const stream = { write (line: string) { written.push(line) } }
  return {
    stream,
    logger: pino(loggerOptions({ level }), stream),
    text: () => written.join(''),
    lines: () => written.map((line) => JSON.parse(line)),
  }
}
