/** Sessions over a real database, with real users, real access tokens and a clock to move. Times in milliseconds. */
import { existsSync } from 'node:fs'
import type { Test } from 'tap'
import { createPasswordHasher } from '../../src/credentials/password-hash.ts'
import { createUserStore } from '../../src/credentials/user-store.ts'
import type { Subject } from '../../src/credentials/credential-source.ts'
import { Refusal, type RefusalCode } from '../../src/errors.ts'
import { openRevocations } from '../../src/sessions/revocations.ts'
import { createSessionService, type AuthEvent, type SessionServiceOptions } from '../../src/sessions/session-service.ts'
import type { Storage } from '../../src/storage/database.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import { createAccessTokenMint } from '../../src/tokens/access-token.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { allOf } from '../helpers/all-of.ts'
import { defaults } from '../login/config-of.ts'
import { audience, issuer, keyRingOf, makeKey, someTime } from '../helpers/tokens.ts'

export const graceWindow = 10_000
export const lifetime = 30 * 86_400_000
export const accessTokenLifetime = 300_000
export const clockTolerance = 2_000
export const refreshTokenKey = Buffer.alloc(32, 5)
export const password = 'correct horse battery staple'

/** Whoever asks: no client was named, and each session will do. */
export const anyClient = { clientId: null, mayUse: () => true }

export type OpenStorage = (t: Test) => Promise<Storage>

let opened = 0

/** A file of its own each time: a test's folder is made once, for making it again takes away what is in it. */
export const openSqlite: OpenStorage = async (t) => {
  const folder = existsSync(t.testdirName) ? t.testdirName : t.testdir()
  return await openStorage(`sqlite:${folder}/${++opened}.db`)
}

/** Each test has a storage of its own, empty when it is first opened. */
export function sqliteOpener (): OpenStorage {
  const folders = new WeakMap<Test, string>()
  return async (t) => {
    const folder = folders.get(t) ?? t.testdir()
    folders.set(t, folder)
    return await openStorage(`sqlite:${folder}/gatewarden.db`)
  }
}

export async function startSessions (t: Test, open: OpenStorage = openSqlite) {
  /** `settled`: where it is not to go with the time. */
  const clock: { time: number, settled?: number } = { time: someTime }
  const now = () => clock.time
  const settledNow = () => clock.settled ?? clock.time
  const storage = await open(t)
  const revocations = await openRevocations({ storage, rememberFor: accessTokenLifetime + clockTolerance, now, settledNow })
  const keyRing = keyRingOf(await makeKey('HS256', 'gateway'))
  const users = createUserStore({ db: storage.db, hasher: createPasswordHasher(defaults.passwords), now })
  if ((await allOf(users.list())).length === 0) await users.add({ name: 'alice', password, roles: ['admin'], scopes: ['orders:read'], attributes: { email: 'alice@example.com', phone: '1' } })
  const events: AuthEvent[] = []
  const service = (changes: { key?: Buffer, db?: Storage['db'], accessTokenLifetime?: number, findSubject?: SessionServiceOptions['findSubject'] } = {}) => createSessionService({
    db: changes.db ?? storage.db,
    refreshTokenKey: changes.key ?? refreshTokenKey,
    mint: createAccessTokenMint({ keyRing, issuer, audience, lifetime: changes.accessTokenLifetime ?? accessTokenLifetime, now }),
    findSubject: changes.findSubject ?? (async (_source, id) => await users.find(id)),
    attributeClaims: ['email'],
    graceWindow,
    lifetime,
    accessTokenLifetime: changes.accessTokenLifetime ?? accessTokenLifetime,
    now,
    settledNow,
    revocations,
    audit: (event) => { events.push(event) },
  })
  const { verify } = createVerifierCache(createVerifier({ keyRing, issuer, audience, clockTolerance, now }), { size: 100, clockTolerance, isEnded: revocations.isEnded, now })
  const sessions = service()
  t.teardown(async () => {
    revocations.close()
    await storage.close()
  })

  async function subject (): Promise<Subject> {
    const verdict = await users.check({ username: 'alice', password })
    if (verdict.outcome !== 'accepted') throw new Error(verdict.outcome)
    return verdict.subject
  }

  return {
    clock,
    now,
    storage,
    db: storage.db,
    revocations,
    users,
    sessions,
    service,
    verify,
    events,
    subject,
    async logIn (login: { clientId?: string, userAgent?: string, address?: string } = {}) {
      return await sessions.begin({ source: 'store', clientId: 'gatewarden', userAgent: null, address: null, ...login, subject: await subject() })
    },
    refresh: async (token: string) => await sessions.refresh(token, anyClient),
    row: async (id: string) => await storage.db.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst(),
  }
}

/** The code that something is refused with, or what else came of it. */
export async function refusal (work: Promise<unknown>): Promise<RefusalCode | string> {
  try {
    await work
    return 'not refused'
  } catch (error) {
    return error instanceof Refusal ? error.code : String(error)
  }
}

export function refusedToken (verify: (token: string) => unknown, token: string): string {
  try {
    verify(token)
    return 'accepted'
  } catch (error) {
    return error instanceof Refusal ? error.code : String(error)
  }
}
