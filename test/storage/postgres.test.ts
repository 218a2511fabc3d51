import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { StartupFault } from '../../src/errors.ts'
import { openRevocations, type Revocations } from '../../src/sessions/revocations.ts'
import { createSessionStore } from '../../src/sessions/session-store.ts'
import type { Change, Storage } from '../../src/storage/database.ts'
import { openStorage } from '../../src/storage/open-storage.ts'
import type { PostgresOptions } from '../../src/storage/postgres-url.ts'
import { openMasterKey } from '../../src/tokens/master-key.ts'
import { openStoredKeyRing } from '../../src/tokens/stored-key-ring.ts'
import { throttleContract } from '../credentials/throttle.contract.ts'
import { userStoreContract } from '../credentials/user-store.contract.ts'
import { generateCertificate } from '../helpers/certificate.ts'
import { freePort } from '../helpers/free-port.ts'
import { postgresOpener, postgresOptions, postgresPassword, postgresUrl, startPostgres } from '../helpers/postgres.ts'
import { localhostCertificate, localhostKey } from '../helpers/localhost-certificate.ts'
import { within } from '../helpers/within.ts'
import { session, sessionStoreContract } from '../sessions/session-store.contract.ts'

// What is lost in a crash is of no interest here.
const server = await startPostgres(t, { fsync: 'off', max_connections: '60', ssl: 'on' }, { 'server.crt': localhostCertificate, 'server.key': localhostKey })
const { port } = server
const open = postgresOpener(server)

// Of the driver: two queries at once on one connection, listeners that are left behind.
const ofDriver: string[] = []
process.on('warning', ({ message }) => { ofDriver.push(message) })

t.test('sessions', sessionStoreContract(open))
t.test('users', userStoreContract(open))
t.test('failed logins', throttleContract(open))

async function opened (t: Test, url: string, options: Partial<PostgresOptions> = {}, warn?: (message: string) => void): Promise<Storage> {
  const storage = await openStorage(url, { postgres: { ...postgresOptions, ...options }, ...warn === undefined ? {} : { warn } })
  t.teardown(async () => { await storage.close() })
  return storage
}

async function following (t: Test, storage: Storage): Promise<Revocations & { readonly ended: (id: string) => Promise<void> }> {
  const revocations = await openRevocations({ storage, rememberFor: 60_000, now: Date.now })
  t.teardown(revocations.close)
  const heard = new Set<string>()
  let wake = () => {}
  revocations.onEnd((ids) => {
    for (const id of ids) heard.add(id)
    wake()
  })
  return {
    ...revocations,
    async ended (id) { while (!heard.has(id)) await new Promise<void>((resolve) => { wake = resolve }) },
  }
}

const live = (id: string) => session({ id, created_at: Date.now(), expires_at: Date.now() + 600_000, access_until: Date.now() + 300_000 })
const hearing = async (storage: Storage) => { while (storage.toldUntil() === -Infinity) await pause(10) }

t.test('ten replicas may make the schema at once', async (t) => {
  const url = await server.createDatabase()
  const storages = await Promise.all(Array.from({ length: 10 }, async () => await opened(t, url, { poolSize: 1 })))
  for (const { db } of storages) t.strictSame(await db.selectFrom('users').selectAll().execute(), [])
  const tables = await server.query("select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')", new URL(url).pathname.slice(1))
  t.ok(tables.length > 6)
  t.ok(tables.every(({ schemaname }) => schemaname === 'gatewarden'), 'and nothing else is touched')
})

t.test('a refresh changes no column that an index has: PostgreSQL would write the row anew in each of them', async (t) => {
  const url = await server.createDatabase()
  await opened(t, url)
  const indexes = (await server.query("select indexdef from pg_indexes where schemaname = 'gatewarden' and tablename = 'sessions'", new URL(url).pathname.slice(1))).map(({ indexdef }) => String(indexdef))
  t.ok(indexes.length >= 5)
  for (const index of indexes) t.notMatch(index, /generation|token_hash|recent_rotations|last_used_at|access_until/)
})

t.test('tables of the same names in another schema are not taken for its own', async (t) => {
  const url = await server.createDatabase()
  const database = new URL(url).pathname.slice(1)
  await server.query('create table users (id int); create table kysely_migration (name text); create table sessions (id int)', database)
  const { db } = await opened(t, url)
  t.strictSame(await db.selectFrom('users').selectAll().execute(), [])
  t.strictSame(await server.query('select * from kysely_migration', database), [])
})

t.test('a start that cannot be: one clear line, and no password in it', async (t) => {
  for (const statement of ["create role guest login password 'guest'", 'create database strange', 'revoke connect on database strange from public', 'create database narrow']) await server.query(statement)
  const newer = await server.createDatabase()
  await (await openStorage(newer, { postgres: postgresOptions })).close()
  await server.query("insert into gatewarden.kysely_migration (name, timestamp) values ('9999-from-the-future', '2030')", new URL(newer).pathname.slice(1))
  const readOnly = await server.createDatabase()
  await server.query(`alter database ${new URL(readOnly).pathname.slice(1)} set default_transaction_read_only = on`)
  const url = postgresUrl(port, 'postgres')
  const cases: [url: string, line: RegExp, options?: Partial<PostgresOptions>][] = [
    [postgresUrl(await freePort(), 'postgres'), /^PostgreSQL at 127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\)/],
    [`postgres://u:${encodeURIComponent(postgresPassword)}@host.invalid/d`, /^PostgreSQL at host\.invalid:5432 cannot be reached \((ENOTFOUND|EAI_AGAIN)\)/],
    [url, /refuses the password of "postgres"/, { password: 'wr0ngs3cret' }],
    [`postgres://postgres:wr0ngs3cret@127.0.0.1:${port}/postgres`, /refuses the password of "postgres"/],
    [`postgres://postgres@127.0.0.1:${port}/postgres`, /wants a password for "postgres"/],
    [postgresUrl(port, 'postgres', 'nobody'), /refuses the password of "nobody"/],
    [postgresUrl(port, 'none'), /has no database "none"/],
    [`postgres://guest:guest@127.0.0.1:${port}/strange`, /does not let "guest" into the database "strange"; grant CONNECT/],
    [`postgres://guest:guest@127.0.0.1:${port}/narrow`, /^"guest" may not make or change the tables of the schema gatewarden in the database "narrow"; run once, as its owner: CREATE SCHEMA gatewarden AUTHORIZATION "guest"/],
    [newer, /^the storage was written by a newer version of Gatewarden/],
    [readOnly, /takes no writes \(a standby, or default_transaction_read_only\)/],
    [url.replace(`:${port}/`, `:${await withoutTls(t)}/`), /offers no TLS; turn it on there, or choose storageOptions\.tls\.mode: off/, { tls: { mode: 'verify' } }],
    [url, /shows a certificate that is not trusted \((DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN)\); name the CA/, { tls: { mode: 'verify' } }],
    [`${url}?sslmode=require`, /shows a certificate that is not trusted/],
    [url, /^storageOptions\.tls\.ca: \/none cannot be read \(ENOENT\)/, { tls: { ca: '/none' } }],
    [`${url}?sslmode=sometimes`, /^`storage` has an sslmode that is not known/],
    [`${url}?sslrootcert=x`, /^`storage` has the parameter "sslrootcert", which is not known here/],
    [`postgres://u:wr0ngs3cret#x@127.0.0.1:${port}/d`, /^`storage` cannot be read: .* percent-encoded/],
    [`postgres://u:wr0ngs3cret/x@127.0.0.1:${port}/d`, /^`storage` (cannot be read|names no)/],
    [`postgres://u:wr0ngs3cret%x@127.0.0.1:${port}/d`, /^`storage` holds a % that encodes nothing/],
    [`postgres://127.0.0.1:${port}/d`, /^`storage` names no user/],
    [`postgres://u:p@127.0.0.1:${port}/`, /^`storage` names no database/],
    [url, /^`storageOptions\.listenUrl` names no database/, { listenUrl: 'postgres://u:wr0ngs3cret@h' }],
  ]
  await Promise.all(cases.map(async ([url, line, options]) => {
    const thrown: unknown = await openStorage(url, { postgres: { ...postgresOptions, connectTimeout: 1_000, ...options } }).catch((error: unknown) => error)
    if (!(thrown instanceof StartupFault)) throw new Error(`${line.source}: ${String(thrown)}`)
    t.match(thrown.message, line)
    for (const secret of [postgresPassword, encodeURIComponent(postgresPassword), 'wr0ngs3cret', '\n']) t.notOk(thrown.message.includes(secret), thrown.message)
  }))
})

t.test('the way to it is encrypted, and who it leads to is proven', async (t) => {
  const folder = t.testdir({ 'ca.pem': localhostCertificate, 'other.pem': generateCertificate().cert })
  const url = await server.createDatabase()
  const encrypted = async (storage: Storage) => (await sql<{ ssl: boolean }>`select ssl from pg_stat_ssl where pid = pg_backend_pid()`.execute(storage.db)).rows[0]?.ssl
  t.equal(await encrypted(await opened(t, url)), false)
  t.equal(await encrypted(await opened(t, `${url}?sslmode=no-verify`)), true)
  const verified = await opened(t, url, { tls: { ca: `${folder}/ca.pem` } })
  t.equal(await encrypted(verified), true)
  // LISTEN goes the same way.
  verified.onChange(() => {})
  await within(5_000, hearing(verified))
  t.strictSame(await server.query("select count(*)::int as plain from pg_stat_ssl join pg_stat_activity using (pid) where not ssl and query like '%pg_notify%' and pid <> pg_backend_pid()"), [{ plain: 0 }])
  await t.rejects(openStorage(url, { postgres: { ...postgresOptions, tls: { ca: `${folder}/other.pem` } } }), { name: 'StartupFault', message: /not trusted/ })
  await t.rejects(openStorage(url.replace('127.0.0.1', '127.0.0.2'), { postgres: { ...postgresOptions, tls: { ca: `${folder}/ca.pem` }, connectTimeout: 1_000 } }), { name: 'StartupFault' })
})

t.test('what is unwise about the server is told of', async (t) => {
  const warnings: string[] = []
  await opened(t, await server.createDatabase(), {}, (message) => { warnings.push(message) })
  t.match(warnings, [/fsync is off/])
})

t.test('a statement that takes too long is ended, and its connection goes on', async (t) => {
  const first = await opened(t, await server.createDatabase(), { statementTimeout: 300, poolSize: 1 })
  const free = new Promise<void>((resolve, reject) => {
    first.db.transaction().execute(async (transaction) => {
      await transaction.insertInto('meta').values({ key: 'held', value: '' }).execute()
      // Longer than is allowed to stand still: the server ends it, and with it the lock.
      await pause(900)
    }).then(() => { reject(new Error('the transaction went on')) }, () => { resolve() })
  })
  await free
  await first.db.insertInto('meta').values({ key: 'held', value: '' }).execute()
})

t.test('all connections in use: who waits too long is told, and the others go on', async (t) => {
  const storage = await opened(t, await server.createDatabase(), { connectTimeout: 300, poolSize: 2 })
  let release = () => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  const holding = [1, 2].map(async () => { await storage.db.transaction().execute(async () => { await held }) })
  await pause(50)
  await t.rejects(storage.ping(), /timeout/)
  release()
  await Promise.all(holding)
  await storage.ping()
})

t.test('one signs and all verify: of ten rings that open and rotate at once, one does', async (t) => {
  const url = await server.createDatabase()
  const { masterKey } = openMasterKey({ configured: Buffer.alloc(32, 1).toString('base64url'), fileBesideData: null })
  let time = 1_000_000
  const rings = await Promise.all(Array.from({ length: 6 }, async () => await openStoredKeyRing({
    algorithm: 'ES256',
    accessToken: { lifetime: 300_000, clockTolerance: 2_000 },
    keys: { rotateEvery: 86_400_000, publishAhead: 600_000 },
    db: (await opened(t, url, { poolSize: 1 })).db,
    masterKey,
    now: () => time,
  })))
  for (const ring of rings) await ring.reload()
  t.equal(new Set(rings.map((ring) => ring.signingKey().kid)).size, 1)
  t.strictSame(rings.map((ring) => ring.list().length), [1, 1, 1, 1, 1, 1])
  time += 86_400_000
  await Promise.all(rings.map(async (ring) => { await ring.maintain() }))
  for (const ring of rings) await ring.reload()
  t.strictSame(rings.map((ring) => ring.publicKeys().length), [2, 2, 2, 2, 2, 2])
  const before = rings[0]?.signingKey().kid
  time += 600_000
  t.equal(new Set(rings.map((ring) => ring.signingKey().kid)).size, 1)
  t.not(rings[0]?.signingKey().kid, before)
})

t.test('word of an end comes with the end itself, whoever ends it', async (t) => {
  const url = await server.createDatabase()
  const [here, there] = [await opened(t, url), await opened(t, url)]
  const store = createSessionStore(there.db)
  for (const id of ['one', 'two', 'three']) await store.insert(live(id))
  const revocations = await following(t, here)
  await within(5_000, hearing(here))
  await revocations.catchUp()
  // No look into the table is needed for it: the word says it all.
  await here.db.destroy()
  await store.end('one', 'logout', Date.now())
  await within(1_000, revocations.ended('one'))
  await server.query("update gatewarden.sessions set ended_at = 5 where id = 'two'", new URL(url).pathname.slice(1))
  await within(1_000, revocations.ended('two'))
  t.equal(revocations.isEnded('three'), false)
})

t.test('nothing is told of what was rolled back, and of keys only that they have changed', async (t) => {
  const url = await server.createDatabase()
  const [here, there] = [await opened(t, url), await opened(t, url)]
  const changes: Change[] = []
  let wake = () => {}
  here.onChange((change) => { changes.push(change); wake() })
  while (changes.length === 0) await new Promise<void>((resolve) => { wake = resolve })
  t.strictSame(changes.splice(0), [{ kind: 'anything', missed: true }])
  await createSessionStore(there.db).insert(live('one'))
  await there.db.transaction().execute(async (transaction) => {
    await transaction.updateTable('sessions').set({ ended_at: 1 }).execute()
    throw new Error('no')
  }).catch(() => {})
  await there.db.insertInto('keys').values({ kid: 'k', algorithm: 'ES256', public_jwk: '{}', private_key: '', created_at: 1, activates_at: 1, expires_at: null }).execute()
  while (changes.length === 0) await new Promise<void>((resolve) => { wake = resolve })
  t.strictSame(changes, [{ kind: 'keys' }])
})

t.test('a channel that was cut comes back, and what has ended meanwhile is known', async (t) => {
  const url = await server.createDatabase()
  const [here, there] = [await opened(t, url), await opened(t, url)]
  const store = createSessionStore(there.db)
  for (const id of ['one', 'two']) await store.insert(live(id))
  const revocations = await following(t, here)
  await within(5_000, hearing(here))
  // Ended by a clock that is an hour slow: no look at what is new would find it.
  const slow = Date.now() - 3_600_000
  await server.query("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_notify%' and pid <> pg_backend_pid()")
  await store.end('one', 'logout', slow)
  await within(3_000, revocations.ended('one'))
  await store.end('two', 'logout', slow)
  await within(3_000, revocations.ended('two'))
})

t.test('a channel that has fallen silent is found out within seconds, and the table is read instead', async (t) => {
  const proxy = await silenceable(t, port)
  const url = await server.createDatabase()
  const there = await opened(t, url)
  // The channel through the proxy, the pool past it: as behind a pooler that hears nothing.
  const here = await opened(t, url, { listenUrl: url.replace(`:${port}`, `:${proxy.port}`) })
  const store = createSessionStore(there.db)
  for (const id of ['one', 'two', 'three']) await store.insert(live(id))
  const revocations = await following(t, here)
  await within(5_000, hearing(here))
  proxy.silence(true)
  await store.end('one', 'logout', Date.now())
  await within(4_000, revocations.ended('one'))
  await store.end('two', 'logout', Date.now())
  await within(5_000, revocations.ended('two'))
  t.ok(revocations.lag() < 2_000, 'and so it is not blind')
  proxy.silence(false)
})

t.test('behind a pooler that takes no settings at the start of a connection, timeouts hold all the same', async (t) => {
  const url = (await server.createDatabase()).replace(`:${port}`, `:${await pooler(t, port)}`)
  const storage = await opened(t, url, { statementTimeout: 300, poolSize: 2 })
  await storage.ping()
  t.strictSame((await sql`select current_setting('statement_timeout') as timeout`.execute(storage.db)).rows, [{ timeout: '0' }])
  await t.rejects(sql`select pg_sleep(2)`.execute(storage.db), /timeout/)
  await storage.ping()
})

t.test('a pooler that keeps words to itself is not taken for a channel, and the table is read', async (t) => {
  const direct = await server.createDatabase()
  const here = await opened(t, direct.replace(`:${port}`, `:${await pooler(t, port)}`))
  const store = createSessionStore((await opened(t, direct)).db)
  await store.insert(live('one'))
  const revocations = await following(t, here)
  await pause(700)
  await store.end('one', 'logout', Date.now())
  await within(2_000, revocations.ended('one'))
  t.equal(here.toldUntil(), -Infinity)
  t.ok(revocations.lag() < 2_000)
})

t.test('in all of this the driver has warned of nothing', (t) => {
  t.strictSame(ofDriver, [])
  t.end()
})

/** Passes bytes on, or keeps them to itself. */
async function silenceable (t: Test, to: number) {
  let silent = false
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const upstream = connect(to, '127.0.0.1')
    for (const [from, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(from)
      from.on('data', (bytes) => { if (!silent) other.write(bytes) })
      from.on('error', () => {})
      from.on('close', () => { other.destroy() })
    }
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  return { port: (proxy.address() as AddressInfo).port, silence (now: boolean) { silent = now } }
}

/** A server that knows of no TLS. */
async function withoutTls (t: Test): Promise<number> {
  const plain = createServer((client) => {
    client.on('error', () => {})
    client.once('data', () => { client.write('N') })
  }).listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.teardown(() => { plain.close() })
  return (plain.address() as AddressInfo).port
}

/**
 * As PgBouncer in transaction mode: takes no settings that it does not track, and passes on what the server says in answer to a
 * query, but no word that comes by itself.
 */
async function pooler (t: Test, to: number): Promise<number> {
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    sockets.add(client)
    client.on('error', () => {})
    client.once('data', (startup) => {
      const setting = /statement_timeout|idle_in_transaction_session_timeout/.exec(startup.toString('latin1'))?.[0]
      if (setting !== undefined) {
        const fields = Buffer.from(`SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: ${setting}\0\0`)
        const head = Buffer.from([0x45, 0, 0, 0, 0])
        head.writeInt32BE(fields.length + 4, 1)
        client.end(Buffer.concat([head, fields]))
        return
      }
      const upstream = connect(to, '127.0.0.1')
      sockets.add(upstream)
      upstream.on('error', () => {})
      upstream.write(startup)
      let asked = true
      client.on('data', (bytes) => { asked = true; upstream.write(bytes) })
      client.on('close', () => { upstream.destroy() })
      let rest = Buffer.alloc(0)
      upstream.on('close', () => { client.destroy() })
      upstream.on('data', (bytes) => {
        rest = Buffer.concat([rest, bytes])
        while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
          const message = rest.subarray(0, rest.readInt32BE(1) + 1)
          rest = rest.subarray(message.length)
          const type = String.fromCharCode(message[0] ?? 0)
          if (type !== 'A' || asked) client.write(message)
          if (type === 'Z') asked = false
        }
      })
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  return (proxy.address() as AddressInfo).port
}
