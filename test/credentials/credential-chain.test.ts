import t from 'tap'
import { createCredentialChain, openCredentialChain } from '../../src/credentials/credential-chain.ts'
import type { CredentialSource, Subject, Verdict } from '../../src/credentials/credential-source.ts'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { Refusal } from '../../src/errors.ts'
import { openUserEndpoint } from '../../src/remote/user-endpoint.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { openUserDatabase } from '../../src/storage/user-database.ts'
import { configOf, defaults } from '../login/config-of.ts'

const password = 'myPassword'
const subject = (id: string): Subject => ({ id, name: id, roles: [], scopes: [], attributes: {} })

/** Sources that note what they are asked. */
function sourcesOf (verdicts: Record<string, Verdict | Error>) {
  const calls: string[] = []
  const sources = Object.entries(verdicts).map(([name, verdict]): CredentialSource => ({
    name,
    assertRoom () {
      if (verdict instanceof Error) throw verdict
    },
    async check () {
      calls.push(`${name} check`)
      if (verdict instanceof Error) throw verdict
      return verdict
    },
    async decoy () { calls.push(`${name} decoy`) },
    async find (id) { return id === `of ${name}` ? subject(id) : null },
    async close () { calls.push(`${name} close`) },
  }))
  return { calls, chain: createCredentialChain(sources) }
}

const unknown: Verdict = { outcome: 'unknown' }
const refused: Verdict = { outcome: 'refused', reason: 'disabled' }
const accepted = (id: string): Verdict => ({ outcome: 'accepted', subject: subject(id) })

t.test('the first source that knows the name decides', async (t) => {
  t.match(await sourcesOf({ a: unknown, b: accepted('x'), c: accepted('y') }).chain.check({ username: 'u', password }), { subject: { id: 'x' }, source: 'b' })
  t.strictSame(await sourcesOf({ a: refused, b: accepted('x') }).chain.check({ username: 'u', password }), { subject: null, reason: 'disabled' }, 'a refusal is not made good further on')
  t.match(await sourcesOf({ a: unknown, b: unknown }).chain.check({ username: 'u', password }), { subject: null })
})

t.test('each source does its work, wherever the name is refused', async (t) => {
  const cases: [verdicts: Record<string, Verdict>, calls: string[]][] = [
    [{ a: unknown, b: unknown, c: unknown }, ['a check', 'b check', 'c check']],
    [{ a: refused, b: unknown, c: accepted('x') }, ['a check', 'b decoy', 'c decoy']],
    [{ a: unknown, b: refused, c: unknown }, ['a check', 'b check', 'c decoy']],
  ]
  for (const [verdicts, expected] of cases) {
    const { chain, calls } = sourcesOf(verdicts)
    await chain.check({ username: 'u', password })
    t.strictSame(calls, expected)
  }
})

t.test('a source that cannot tell ends the matter: whoever stands behind it might be somebody else', async (t) => {
  const { chain } = sourcesOf({ a: new Refusal('GW_UNAVAILABLE'), b: accepted('x') })
  await t.rejects(chain.check({ username: 'u', password }), { code: 'GW_UNAVAILABLE' })
})

t.test('a password with a NUL or of more than 1024 bytes is nobody\'s, and asked of nobody', async (t) => {
  const { chain, calls } = sourcesOf({ a: accepted('x') })
  for (const impossible of ['a\0b', 'x'.repeat(1025), 'é'.repeat(513)]) t.match(await chain.check({ username: 'u', password: impossible }), { subject: null })
  t.strictSame(calls, [])
  t.match(await chain.check({ username: 'u', password: 'x'.repeat(1024) }), { source: 'a' })
})

t.test('a subject is looked for only in the source that vouched for it', async (t) => {
  const { chain } = sourcesOf({ a: unknown, b: unknown })
  t.match(await chain.find('a', 'of a'), { id: 'of a' })
  t.equal(await chain.find('b', 'of a'), null)
  t.equal(await chain.find('gone from the configuration', 'of a'), null)
  t.equal(await chain.find('__proto__', 'of a'), null)
})

t.test('closes all of them', async (t) => {
  const { chain, calls } = sourcesOf({ a: unknown, b: unknown })
  await chain.close()
  t.strictSame(calls, ['a close', 'b close'])
})

t.test('opens what is configured, in that order; one that cannot be opened is a fault', async (t) => {
  const folder = t.testdir({ users: 'alice:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\ncarol:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\nplain:text\n' })
  const { db, close } = await openStorage(`sqlite:${folder}/gatewarden.db`)
  t.teardown(close)
  const hasher = createPasswordHasher(defaults.passwords)
  const warnings: string[] = []
  const open = async (config: Parameters<typeof configOf>[0]) => await openCredentialChain({ config: configOf(config), db, hasher, openDatabase: openUserDatabase, openEndpoint: openUserEndpoint, now: () => 1, warn: (message) => { warnings.push(message) } })
  const chain = await open({ credentials: [{ type: 'htpasswd', file: `${folder}/users`, roles: ['staff'] }, { type: 'store' }] })
  const carol = await chain.check({ username: 'Carol', password })
  t.match(carol, { subject: { id: 'htpasswd:carol', roles: ['staff'] } })
  t.match(carol.subject === null ? null : await chain.find(carol.source, carol.subject.id), { id: 'htpasswd:carol' })
  t.equal(warnings.length, 1)
  await t.rejects(open({ credentials: [{ type: 'store' }, { type: 'htpasswd', file: `${folder}/none` }] }), { name: 'StartupFault' })
})
