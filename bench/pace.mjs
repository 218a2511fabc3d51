// A fixed piece of work, each time a line comes in: how long it took, in milliseconds. Not JavaScript's: V8 may leave one process
// with slow code for it and another with fast, and a core would seem to have become slow.
import { pbkdf2Sync } from 'node:crypto'

process.stdin.on('data', () => {
  const began = performance.now()
  pbkdf2Sync('pace', 'pace', 150_000, 32, 'sha256')
  process.stdout.write(`${performance.now() - began}\n`)
})
