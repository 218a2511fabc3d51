/** `URL`: opens the key ring of that storage, rotates it, and prints which key signed before and which comes. */
import { openStorage } from '../../src/storage/open-storage.ts'
import { openKeyRing } from '../../src/tokens/key-ring.ts'
import { openMasterKey } from '../../src/tokens/master-key.ts'

const storage = await openStorage(process.argv[2] ?? '')
const { masterKey } = openMasterKey({ configured: Buffer.alloc(32, 9).toString('base64url'), fileBesideData: null })
const ring = await openKeyRing({
  config: { accessToken: { algorithm: 'ES256', lifetime: 300_000, clockTolerance: 2_000, cacheSize: 10 }, keys: { rotateEvery: 86_400_000, publishAhead: 60_000 } },
  db: storage.db,
  masterKey,
  now: Date.now,
})
const first = ring.signingKey().kid
const next = (await ring.rotate()).kid
process.stdout.write(`${JSON.stringify({ first, next })}\n`)
ring.close()
await storage.close()
