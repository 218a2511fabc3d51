/** The thread in which passwords are hashed. How many there are is bounded by the bulkhead in front (password-hash.ts). */
import { serveThread } from '../helper-thread.ts'
import { makeHash, readHash, type Argon2Parameters } from './hash-kinds.ts'

export type HashTask =
  | { readonly what: 'make', readonly password: string, readonly parameters: Argon2Parameters }
  | { readonly what: 'verify', readonly password: string, readonly hash: string }

serveThread((task: HashTask): string | boolean => {
  if (task.what === 'make') return makeHash(task.password, task.parameters)
  const read = readHash(task.hash)
  return !('fault' in read) && read.matches(task.password)
})
