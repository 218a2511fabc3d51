/** crypt(3) hashes of a thousand rounds and more, which are computed in JavaScript: a process of its own, beside the requests. */
import apacheMd5 from 'apache-md5'
import { serveHelper } from '../helper-process.ts'
import { shaCrypt, type ShaCrypt } from './sha-crypt.ts'

export type CryptTask =
  | ShaCrypt & { readonly password: string }
  /** The whole hash: it holds the salt and the magic, `$apr1$` or `$1$`. */
  | { readonly algorithm: 'md5', readonly password: string, readonly hash: string }

/** The package is CommonJS whose types tell of an ES module: what is imported is the function itself. */
const md5Crypt = apacheMd5 as unknown as (password: string, salt: string) => string

serveHelper((task: CryptTask): string => {
  // Of each UTF-16 unit the package takes the low byte alone: to it, `ā` is U+0001. Bytes it takes as they are.
  if (task.algorithm === 'md5') return md5Crypt(Buffer.from(task.password).toString('latin1'), task.hash)
  return shaCrypt(task.password, task)
})
