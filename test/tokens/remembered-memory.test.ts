/** A sidecar remembers a hundred thousand tokens in 80 MB: what each of them keeps is counted, in bytes of V8's heap after a collection. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { compileIdentityHeaders } from '../../src/gateway/identity-headers.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { audience, issuer, keyRingOf, makeKey, someTime, validToken } from '../helpers/tokens.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Some is only found to be garbage, or let go by who waited for it, after a turn of the loop. */
async function heapUsed (): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collect()
    await new Promise(setImmediate)
  }
  return process.memoryUsage().heapUsed
}

const many = 4_000
/** Beside the token's own characters: its identity, the texts in that, and the cache's entry. */
const most = 350

await t.test('a remembered token keeps its text, its user and its session, and nothing for each route', async (t) => {
  const key = await makeKey('EdDSA')
  const claimsInUse = ['sub', 'roles', 'tenant']
  const verify = createVerifier({ keyRing: keyRingOf(key), issuer, audience, clockTolerance: 2_000, now: () => someTime, claimsInUse })
  const cache = createVerifierCache(verify, { size: 2 * many, clockTolerance: 2_000, isEnded: () => false, now: () => someTime })
  const mappings = [{ 'X-User-Id': 'sub', 'X-User-Roles': 'roles' }, { 'X-Tenant': 'tenant' }, { 'X-Roles': 'roles', 'X-Who': 'sub' }]
  const routes = mappings.map(compileIdentityHeaders)
  const bytes = tokensFrom(0).map((token) => Buffer.from(token))

  function tokensFrom (first: number): string[] {
    return Array.from({ length: many }, (_, number) => validToken(key.signing, someTime, { sub: `user-${first + number}-${'u'.repeat(20)}`, sid: `session-${first + number}-${'s'.repeat(20)}`, roles: ['editor', 'reader'], tenant: 'acme', email: `${first + number}@example.test` }))
  }

  /** As a request brings it: a part of a longer text. */
  function ask (token: Buffer): void {
    const text = `Bearer ${token.toString('latin1')} `.slice(7, -1)
    const headers: string[] = []
    for (const add of routes) add(headers, cache.verify(text))
  }

  // What the first ones take is the code.
  for (const token of tokensFrom(many)) ask(Buffer.from(token))
  const before = await heapUsed()
  for (const token of bytes) ask(token)
  const each = (await heapUsed() - before) / many
  const length = bytes[0]?.length ?? NaN
  t.comment(`${each.toFixed(0)} bytes for a token of ${length}`)
  t.equal(cache.stats().size, 2 * many)
  t.ok(each < length + most, `${each.toFixed(0)} bytes for a token of ${length}`)
  t.ok(each > length / 2, 'it was remembered')
})
