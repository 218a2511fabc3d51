/** What the log calls an account that somebody tried to log in to: the same for each attempt, and telling nothing else. */
import { createHmac } from 'node:crypto'

/**
 * Names are typed by strangers: into the wrong field goes a password, and a plain hash of one is guessed from the log at
 * leisure. Under a key of the gateway's it is not. A login that succeeds logs the tag beside the subject, which is how
 * an operator learns whose it is.
 */
export function createAccountTag (key: Buffer): (username: string) => string {
  return (username) => createHmac('sha256', key).update(username.normalize('NFKC').toLowerCase()).digest('hex').slice(0, 16)
}
