/**
 * A second process on the same storage: `open URL`, `disable URL NAME`, `set-password URL NAME PASSWORD`, or `refresh URL TOKEN`,
 * which prints the successor and then waits, for whoever started it to kill it.
 */
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { openRevocations } from '../../src/sessions/revocations.ts'
import { createSessionService } from '../../src/sessions/session-service.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { defaults } from '../login/config-of.ts'
import { someTime } from '../helpers/tokens.ts'
import { accessTokenLifetime, anyClient, graceWindow, lifetime, refreshTokenKey } from './session-rig.ts'

await run(...process.argv.slice(2))

async function run (command = '', url = '', first = '', second = ''): Promise<void> {
  const now = () => someTime + 1_000
  const storage = await openStorage(url)
  const users = createUserStore({ db: storage.db, hasher: createPasswordHasher(defaults.passwords), now })
  switch (command) {
    case 'open': break
    case 'disable': await users.disable(first); break
    case 'set-password': await users.setPassword(first, second); break
    case 'refresh': {
      const sessions = createSessionService({
        db: storage.db,
        refreshTokenKey,
        mint: () => ({ token: 'not looked at', expiresInSeconds: 1 }),
        findSubject: async (_source, id) => await users.find(id),
        attributeClaims: [],
        graceWindow,
        lifetime,
        accessTokenLifetime,
        now,
        revocations: await openRevocations({ storage, rememberFor: 1_000, now }),
        audit: () => {},
      })
      const { tokens } = await sessions.refresh(first, anyClient)
      process.stdout.write(`${tokens.refresh_token}\n`)
      setInterval(() => {}, 1_000)
      return
    }
    default: throw new Error(command)
  }
  await storage.close()
}
