#!/usr/bin/env node
/** The entry: hands the arguments over, and turns what comes of them into words on stderr and an exit code. */
import { createProgram } from './cli/program.ts'
import { failureOf } from './cli/failure.ts'

// `… | head` has what it wanted; whatever else is wrong with stdout, there is nobody left to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => { process.exit(error.code === 'EPIPE' ? 0 : 1) })
// A full disk, or a reader that is gone: no reason to end for those that do not write there but serve.
process.stderr.on('error', () => {})

// Node 22 calls its SQLite experimental; it is the one that later versions call stable. Other warnings are told as before.
process.removeAllListeners('warning')
process.on('warning', ({ name, message }) => {
  if (name !== 'ExperimentalWarning' || !message.startsWith('SQLite')) say(`${name}: ${message}`)
})

try {
  await createProgram().parseAsync()
} catch (error) {
  const { lines, exitCode } = failureOf(error)
  lines.forEach(say)
  // Not left to the event loop: a half-made gateway may still hold a timer or a socket.
  process.exit(exitCode)
}

function say (line: string): void {
  console.error(line) // eslint-disable-line no-console -- the one place that speaks for the process
}
