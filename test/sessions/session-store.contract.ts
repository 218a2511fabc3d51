/** What the sessions' rows promise over any storage engine: to be run on each. */
import { CompiledQuery, sql } from 'kysely'
import type { Test } from 'tap'
import { openRevocations } from '../../src/sessions/revocations.ts'
import { createSessionStore, endSessionsOf, type Session } from '../../src/sessions/session-store.ts'
import { someTime } from '../helpers/tokens.ts'
import { refusal, startSessions, type OpenStorage } from './session-rig.ts'

export function sessionStoreContract (open: OpenStorage): (t: Test) => Promise<void> {
  return async (t) => {
    await t.test('of twenty equal rotations exactly one happens', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      await store.insert(session({ token_hash: 'first' }))
      const rotation = { id: 'session', generation: 0, tokenHash: 'first', successorHash: 'second', recentRotations: '[[0,1]]', accessUntil: 7, time: someTime + 1 }
      const rotated = await Promise.all(Array.from({ length: 20 }, async () => await store.rotate(rotation)))
      t.equal(rotated.filter(Boolean).length, 1)
      t.match(await store.find('session'), { generation: 1, token_hash: 'second', recent_rotations: '[[0,1]]', last_used_at: someTime + 1, access_until: 7 })
    })

    await t.test('remembers the longest time that an access token may live', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      await store.insert(session({ token_hash: '0', access_until: 50 }))
      const seen: unknown[] = []
      for (const [generation, accessUntil] of [40, 60, 55].entries()) {
        await store.rotate({ id: 'session', generation, tokenHash: String(generation), successorHash: String(generation + 1), recentRotations: '[]', accessUntil, time: someTime })
        seen.push((await store.find('session'))?.access_until)
      }
      t.strictSame(seen, [50, 60, 60])
    })

    await t.test('rotates only the token in force, of a session that lives', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      const rotation = { generation: 0, tokenHash: 'first', successorHash: 'second', recentRotations: '[]', accessUntil: 7, time: someTime + 1 }
      await store.insert(session({ id: 'live', token_hash: 'first' }))
      await store.insert(session({ id: 'ended', token_hash: 'first', ended_at: someTime }))
      await store.insert(session({ id: 'expired', token_hash: 'first', expires_at: someTime + 1 }))
      t.equal(await store.rotate({ ...rotation, id: 'live', tokenHash: 'other' }), false)
      t.equal(await store.rotate({ ...rotation, id: 'live', generation: 1 }), false)
      t.equal(await store.rotate({ ...rotation, id: 'ended' }), false)
      t.equal(await store.rotate({ ...rotation, id: 'expired' }), false)
      t.equal(await store.rotate({ ...rotation, id: 'none' }), false)
      t.equal(await store.rotate({ ...rotation, id: 'live' }), true)
    })

    await t.test('of two ends one did it, and its reason stays', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      await store.insert(session({}))
      const ended = await Promise.all(['logout', 'reuse', 'deleted'].map(async (reason) => await store.end('session', reason, someTime + 5)))
      t.equal(ended.filter((row) => row !== null).length, 1)
      const row = await store.find('session')
      t.equal(row?.end_reason, ended.find((one) => one !== null)?.end_reason)
      t.equal(row?.ended_at, someTime + 5)
    })

    await t.test("does not end another's session", async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      await store.insert(session({ subject: 'alice' }))
      t.equal(await store.end('session', 'deleted', someTime, 'bob'), null)
      t.equal((await store.find('session'))?.ended_at, null)
      t.match(await store.end('session', 'deleted', someTime, 'alice'), { id: 'session', subject: 'alice' })
    })

    await t.test('lists the live sessions of one subject, oldest first', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      await store.insert(session({ id: 'second', created_at: someTime + 2 }))
      await store.insert(session({ id: 'first', created_at: someTime + 1 }))
      await store.insert(session({ id: 'ended', ended_at: someTime }))
      await store.insert(session({ id: 'expired', expires_at: someTime + 10 }))
      await store.insert(session({ id: 'of another', subject: 'bob' }))
      t.strictSame((await store.live('alice', someTime + 10)).map(({ id }) => id), ['first', 'second'])
    })

    await t.test('ends all live sessions of a subject, or none when the transaction fails', async (t) => {
      const { db } = await closing(t, open)
      const store = createSessionStore(db)
      for (const id of ['a', 'b']) await store.insert(session({ id }))
      await store.insert(session({ id: 'ended', ended_at: 1, end_reason: 'logout' }))
      await store.insert(session({ id: 'of another', subject: 'bob' }))
      await t.rejects(db.transaction().execute(async (transaction) => {
        await endSessionsOf(transaction, 'alice', 'password_changed', someTime)
        throw new Error('afterwards')
      }), { message: 'afterwards' })
      t.equal((await store.live('alice', someTime)).length, 2)
      t.strictSame((await db.transaction().execute(async (transaction) => await endSessionsOf(transaction, 'alice', 'password_changed', someTime))).sort(), ['a', 'b'])
      t.equal((await store.live('alice', someTime)).length, 0)
      t.equal((await store.find('ended'))?.end_reason, 'logout')
      t.equal((await store.live('bob', someTime)).length, 1)
    })

    await t.test('deletes what nobody needs, no more than it is told to', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      for (let number = 0; number < 5; number++) await store.insert(session({ id: `expired ${number}`, expires_at: someTime - 1000 }))
      await store.insert(session({ id: 'just expired', expires_at: someTime - 1 }))
      await store.insert(session({ id: 'ended long ago', ended_at: someTime - 1000 }))
      await store.insert(session({ id: 'ended just now', ended_at: someTime - 1 }))
      await store.insert(session({ id: 'live' }))
      for (const change of [{ ended_at: someTime - 1000 }, { expires_at: someTime - 1000 }]) {
        await store.insert(session({ ...change, id: `of a token that may live, ${Object.keys(change)[0] ?? ''}`, access_until: someTime }))
      }
      t.equal(await store.deleteDead(someTime, someTime - 100, 4), 4)
      t.equal(await store.deleteDead(someTime, someTime - 100, 4), 2)
      t.equal(await store.deleteDead(someTime, someTime - 100, 4), 0)
      for (const id of ['just expired', 'ended just now', 'live', 'of a token that may live, ended_at', 'of a token that may live, expires_at']) t.ok(await store.find(id), id)
    })

    await t.test('a batch of dead ones begins where the one before ended, and at the beginning once all are gone', async (t) => {
      const store = createSessionStore((await closing(t, open)).db)
      for (let number = 0; number < 3; number++) {
        await store.insert(session({ id: `expired ${number}`, expires_at: someTime - 1000 + number }))
        await store.insert(session({ id: `ended ${number}`, ended_at: someTime - 1000 + number }))
      }
      const deletes = async (...ids: readonly string[]) => {
        t.equal(await store.deleteDead(someTime, someTime - 100, 2), ids.length, ids.join())
        for (const id of ids) t.equal(await store.find(id), null, id)
      }
      await deletes('expired 0', 'expired 1')
      for (const change of [{ expires_at: 1 }, { ended_at: 1 }]) await store.insert(session({ ...change, id: `before them, ${Object.keys(change)[0] ?? ''}` }))
      await deletes('expired 2', 'before them, ended_at')
      await deletes('ended 0', 'ended 1')
      await deletes('ended 2')
      await deletes('before them, expires_at')
    })

    await t.test('finds sessions, those of a subject and dead ones by an index, however many there are', async (t) => {
      const storage = await closing(t, open)
      const { db, engine } = storage
      const asked: CompiledQuery[] = []
      const listening = db.withPlugin({
        transformQuery ({ node, queryId }) {
          asked.push(db.getExecutor().compileQuery(node, queryId))
          return node
        },
        transformResult: async ({ result }) => result,
      })
      const store = createSessionStore(listening)
      await store.find('session')
      await store.live('alice', someTime)
      await store.end('session', 'logout', someTime)
      await store.rotate({ id: 'session', generation: 0, tokenHash: '', successorHash: '', recentRotations: '[]', accessUntil: 7, time: someTime })
      await store.deleteDead(someTime, someTime, 10)
      const revocations = await openRevocations({ storage: { ...storage, db: listening }, rememberFor: 1_000, now: () => someTime })
      revocations.close()
      const plans = await db.transaction().execute(async (transaction) => {
        // An empty table is read as a whole where that is allowed.
        if (engine === 'postgres') await sql`set local enable_seqscan = off`.execute(transaction)
        const explain = engine === 'postgres' ? 'explain' : 'explain query plan'
        const texts: string[] = []
        // Those within another query are told of on their own as well. What is prepared has no values yet.
        for (const query of asked.filter((one) => /sessions/.test(one.sql) && !/^(?:select "id" from|insert) /.test(one.sql))) {
          texts.push(JSON.stringify((await transaction.executeQuery(CompiledQuery.raw(`${explain} ${query.sql}`, query.parameters.map((parameter) => typeof parameter === 'object' ? 0 : parameter)))).rows))
        }
        return texts
      })
      t.equal(plans.length, 8)
      for (const plan of plans) t.notMatch(plan, /Seq Scan on sessions|SCAN sessions(?! USING)/)
      t.match(plans[2], /sessions_by_subject/)
      t.match(plans[4], /sessions_by_expiry/)
      t.match(plans[5], /sessions_by_end/)
      t.match(plans[6], /sessions_by_end/)
      t.match(plans[7], /sessions_by_revocation/)
    })

    await t.test('twenty parallel refreshes of one token: one rotation, twenty equal answers, nobody logged out', async (t) => {
      const rig = await startSessions(t, open)
      const login = await rig.logIn()
      const answers = await Promise.all(Array.from({ length: 20 }, async () => await rig.refresh(login.refresh_token)))
      t.equal(new Set(answers.map(({ tokens }) => tokens.refresh_token)).size, 1)
      t.equal(answers.filter(({ outcome }) => outcome === 'rotated').length, 1)
      t.match(await rig.row(login.session_id), { generation: 1, ended_at: null })
      t.strictSame(rig.events, [])
      for (const { tokens } of answers) rig.verify(tokens.access_token)
      t.equal((await rig.refresh(answers[0]?.tokens.refresh_token ?? '')).outcome, 'rotated')
    })

    await t.test('a refresh that races with an end never leaves a live session', async (t) => {
      const rig = await startSessions(t, open)
      for (let turn = 0; turn < 20; turn++) {
        const login = await rig.logIn()
        const end = async () => {
          switch (turn % 4) {
            case 0: return await rig.sessions.endByRefreshToken(login.refresh_token, 'logout')
            case 1: return await rig.users.disable('alice')
            case 2: return await rig.sessions.endById(login.session_id, 'deleted')
            default: return await rig.users.setPassword('alice', 'correct horse battery staple')
          }
        }
        const refreshes = async () => await Promise.allSettled(Array.from({ length: 3 }, async () => await rig.refresh(login.refresh_token)))
        const [first, , second] = await Promise.all([turn % 2 === 0 ? refreshes() : [], end(), refreshes()])
        t.not((await rig.row(login.session_id))?.ended_at, null)
        for (const refreshed of [...first, ...second]) {
          if (refreshed.status === 'fulfilled') t.equal(await refusal(rig.refresh(refreshed.value.tokens.refresh_token)), 'GW_REFRESH_TOKEN_INVALID')
        }
        await rig.users.enable('alice')
      }
      t.strictSame(await rig.sessions.listLive((await rig.subject()).id), [])
    })
  }
}

async function closing (t: Test, open: OpenStorage) {
  const storage = await open(t)
  t.teardown(async () => { await storage.close() })
  return storage
}

export function session (changes: Partial<Session>): Session {
  return {
    id: 'session',
    subject: 'alice',
    source: 'store',
    client_id: 'gatewarden',
    user_agent: null,
    address: null,
    created_at: someTime,
    last_used_at: someTime,
    expires_at: someTime + 1_000_000,
    generation: 0,
    token_hash: 'hash',
    recent_rotations: '[]',
    ended_at: null,
    end_reason: null,
    access_until: 0,
    credential_tag: null,
    ...changes,
  }
}
