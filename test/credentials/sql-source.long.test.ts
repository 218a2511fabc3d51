import t, { type Test } from 'tap'
import { startPostgres } from '../helpers/postgres.ts'
import { otherPostgres, otherSqlite, openChain, sqlSource, type OtherDatabase } from './sql-rig.ts'

const password = 'correct horse battery staple'
// Made by: htpasswd -niB -C 4 user, and by: python3 -c 'passlib.hash.pbkdf2_sha256.using(rounds=1000).hash(PASSWORD)'
const bcrypt = '$2y$04$GMu5IITw62ENZtHgtepUJOog7SWfpgr9IoWKcohV.BunBfAEmRN6S'
const pbkdf2 = '$pbkdf2-sha256$1000$fE8pxbiX0hpjrLXWGgOAEA$6VoFbKzgUg.ZtMEABKI5A44EfXoZrRAMpFfD/isiiw8'

const postgres = await startPostgres(t, { fsync: 'off' })

for (const engine of ['sqlite', 'postgres'] as const) {
  t.test(`an existing table in ${engine}`, async (t) => {
    const open = async (t: Test) => engine === 'sqlite' ? otherSqlite(t) : await otherPostgres(postgres)

    t.test('its users log in, with what the columns say of them', async (t) => {
      const other = await withUsers(t, open)
      const { chain } = await openChain(t, [sqlSource(other.url)])
      const verdict = await chain.check({ username: 'Alice@Example.com', password })
      t.match(verdict, { source: 'sql', subject: { id: 'sql:1', roles: ['admin', 'staff'], scopes: [], attributes: { email: 'alice@example.com' }, credentialTag: /^[\w-]{43}$/ } })
      t.notOk(JSON.stringify(verdict).includes(bcrypt), 'the hash is told to nobody')
      t.match(await chain.check({ username: 'alice@example.com', password: 'wrong' }), { subject: null, reason: 'the password does not match' })
      t.match(await chain.check({ username: 'nobody@example.com', password }), { subject: null, reason: 'no such user' })
      t.match(await chain.check({ username: 'nohash@example.com', password }), { subject: null, reason: 'has no password' })
      t.match(await chain.check({ username: "' or 1=1 --", password }), { subject: null, reason: 'no such user' })
      t.match(await chain.check({ username: 'a\0b', password }), { subject: null, reason: 'no such user' })
    })

    t.test('a name of two rows is nobody', async (t) => {
      const other = await withUsers(t, open)
      await other.execute(`insert into users (id, email, password_hash) values (8, 'twin@example.com', '${bcrypt}'), (9, 'TWIN@example.com', '${pbkdf2}')`)
      const { chain } = await openChain(t, [sqlSource(other.url)])
      t.match(await chain.check({ username: 'twin@example.com', password }), { subject: null, reason: /more than one row/ })
    })

    t.test('at a refresh the row is read again: changes are seen, and a name that was given away finds nobody', async (t) => {
      const other = await withUsers(t, open)
      const { chain } = await openChain(t, [sqlSource(other.url, { query: 'select id, password_hash, roles, disabled from users where email = $1' })])
      const alice = await chain.check({ username: 'alice@example.com', password })
      if (alice.subject === null) throw new Error(alice.reason)
      const { handle, subject } = alice
      t.strictSame(await chain.find(handle, subject.id), subject)
      await other.execute("update users set roles = 'staff' where id = 1")
      t.match(await chain.find(handle, subject.id), { roles: ['staff'], credentialTag: subject.credentialTag })
      await other.execute(`update users set password_hash = '${pbkdf2}' where id = 1`)
      const changed = await chain.find(handle, subject.id)
      t.not(changed?.credentialTag, subject.credentialTag, 'another password ends the session')
      await other.execute("update users set disabled = '2024-05-05 12:00' where id = 1")
      t.equal(await chain.find(handle, subject.id), null)
      t.match(await chain.check({ username: 'alice@example.com', password }), { subject: null, reason: 'disabled' })
      await other.execute("update users set disabled = null, email = 'was-alice@example.com' where id = 1")
      await other.execute("update users set email = 'alice@example.com' where id = 2")
      t.equal(await chain.find(handle, subject.id), null, 'her name is somebody else’s now')
    })

    t.test('with a query by id who is renamed stays logged in; a version of its own tells what ends sessions', async (t) => {
      const other = await withUsers(t, open)
      const columns = 'id, password_hash, roles, changed as version'
      const { chain } = await openChain(t, [sqlSource(other.url, { query: `select ${columns} from users where email = $1`, findQuery: `select ${columns} from users where id = $1`, columns: { version: 'version' } })])
      const alice = await chain.check({ username: 'alice@example.com', password })
      if (alice.subject === null) throw new Error(alice.reason)
      await other.execute(`update users set email = 'renamed@example.com', password_hash = '${pbkdf2}' where id = 1`)
      t.match(await chain.find(alice.handle, alice.subject.id), { id: 'sql:1', credentialTag: alice.subject.credentialTag })
      await other.execute("update users set changed = '2' where id = 1")
      t.not((await chain.find(alice.handle, alice.subject.id))?.credentialTag, alice.subject.credentialTag)
      t.equal(await chain.find(alice.handle, 'sql:not a number'), null)
    })

    t.test('nothing is written: neither by the query, nor by what it calls', async (t) => {
      const other = await withUsers(t, open)
      if (engine === 'postgres') {
        await other.execute("create function spy(text) returns text language plpgsql as $$ begin update users set email = 'gone' where id = 2; return $1; end $$")
        await t.rejects(openChain(t, [sqlSource(other.url, { query: 'select id, password_hash from users where email = spy($1)' })]), { name: 'StartupFault', message: /read-only transaction/ })
        await t.rejects(openChain(t, [sqlSource(other.url, { query: 'update users set roles = null where email <> $1 returning id, password_hash' })]), { name: 'StartupFault', message: /read-only transaction/ })
      } else {
        await t.rejects(openChain(t, [sqlSource(other.url, { query: 'update users set roles = null where email <> $1 returning id, password_hash' })]), { name: 'StartupFault', message: /readonly/ })
        await t.rejects(openChain(t, [sqlSource(other.url, { rehash: 'update users set password_hash = $1 where id = $2 and password_hash = $3', query: 'update users set roles = null where email <> $1 returning id, password_hash' })]), { name: 'StartupFault', message: /readonly/ })
      }
      const { chain } = await openChain(t, [sqlSource(other.url)])
      t.match(await chain.check({ username: 'alice@example.com', password }), { subject: { roles: ['admin', 'staff'] } })
    })

    t.test('a better hash is written at a login, once, and ends no session of that moment', async (t) => {
      const other = await withUsers(t, open)
      const { chain, warnings } = await openChain(t, [sqlSource(other.url, { rehash: 'update users set password_hash = $1 where id = $2 and password_hash = $3' })])
      const logins = await Promise.all(Array.from({ length: 3 }, async () => await chain.check({ username: 'alice@example.com', password })))
      for (const login of logins) {
        if (login.subject === null) throw new Error(login.reason)
        const now = await chain.find(login.handle, login.subject.id)
        t.equal(now?.credentialTag, login.subject.credentialTag, 'as the row is after all three')
      }
      t.match(await chain.check({ username: 'bob@example.com', password }), { subject: { id: 'sql:2' } })
      t.match(await chain.check({ username: 'alice@example.com', password: 'wrong' }), { subject: null })
      t.match(await chain.check({ username: 'alice@example.com', password }), { subject: { id: 'sql:1' } })
      const rows = await openChain(t, [sqlSource(other.url, { name: 'again', query: 'select id, password_hash, password_hash as seen from users where email = $1' })])
      t.match(await rows.chain.check({ username: 'alice@example.com', password }), { subject: { attributes: { seen: /^\$argon2id\$/ } } })
      t.strictSame(warnings, [])
    })

    t.test('a table that cannot be written to does not keep anybody out', async (t) => {
      const other = await withUsers(t, open)
      const { chain, warnings } = await openChain(t, [sqlSource(other.url, { rehash: 'update no_such_table set password_hash = $1 where id = $2 and password_hash = $3' })])
      t.match(await chain.check({ username: 'alice@example.com', password }), { subject: { id: 'sql:1' } })
      t.match(warnings.join('\n'), /sql could not take a new hash: .*no_such_table/)
    })

    t.test('a query that is slow is given up, and the loop stays free', async (t) => {
      const other = await withUsers(t, open)
      const slow = engine === 'postgres' ? 'pg_sleep(30) is not null' : '(with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000000) select count(*) from n) > 0'
      const { chain } = await openChain(t, [sqlSource(other.url, { timeout: '300ms', query: `select id, password_hash from users where email = $1 and ${slow}` })])
      let turns = 0
      const timer = setInterval(() => { turns++ }, 5)
      const began = performance.now()
      await t.rejects(chain.check({ username: 'alice@example.com', password }), { code: 'GW_UNAVAILABLE', statusCode: 503, details: { retryAfterSeconds: 2 } })
      clearInterval(timer)
      t.ok(performance.now() - began < 2_000)
      t.ok(turns > 20, `${turns} turns`)
    })

    t.test('a wrong query is one clear line at the start, without the password of the URL', async (t) => {
      const other = await withUsers(t, open)
      for (const [query, message] of [
        ['select id, password_hash from no_such_table where email = $1', /^credentials: the database of sql refuses the query: .*no_such_table/],
        ['select id, password_hash frm users where email = $1', /^credentials: the database of sql refuses the query: .*syntax error/],
        ['select id, email from users where email = $1', /gives no column "password_hash"/],
      ] as const) {
        const fault = await openChain(t, [sqlSource(other.url, { query })]).then(() => null, (error: unknown) => error)
        t.match(fault, { name: 'StartupFault', message })
        t.notMatch(String(fault), /a password with|a%20password/)
      }
    })
  })
}

t.test('what PostgreSQL has types for', async (t) => {
  const other = await otherPostgres(postgres)
  await other.execute("create type role as enum ('a', 'b'); create table users (id uuid primary key, email text, password_hash text, roles text[], more role[], about jsonb, since timestamptz, big bigint, active boolean)")
  await other.execute(`insert into users values ('7d9f0c1e-0000-4000-8000-000000000001', 'ann', '${bcrypt}', '{x,y}', '{a,b}', '{"team": "blue", "nested": {"no": 1}}', '2024-01-01T00:00:00Z', 9007199254740993, true)`)
  const query = (roles: string) => `select id, password_hash, ${roles} as roles, about as attributes, since, big, not active as disabled from users where email = $1`
  const { chain } = await openChain(t, [sqlSource(other.url, { query: query('roles') }), sqlSource(other.url, { name: 'enum', query: query('more').replace('$1', "$1 || ''") })])
  t.match(await chain.check({ username: 'ann', password }), { subject: { id: 'sql:7d9f0c1e-0000-4000-8000-000000000001', roles: ['x', 'y'], attributes: { team: 'blue', since: '2024-01-01T00:00:00.000Z', big: '9007199254740993', nested: undefined } } })
  t.match(await chain.find('enum ann', 'enum:7d9f0c1e-0000-4000-8000-000000000001'), { roles: ['a', 'b'] })
})

t.test('a database that is down: 503 at once after a few, back by itself; a start without it is a start', async (t) => {
  const down = await startPostgres(t, { fsync: 'off' })
  const other = await otherPostgres(down)
  await other.execute(`create table users (id int primary key, email text, password_hash text, roles text); insert into users values (1, 'ann', '${bcrypt}', '')`)
  await down.stop('fast')
  const { chain, warnings, clock } = await openChain(t, [sqlSource(other.url, { timeout: '500ms' })])
  t.match(warnings, [/^credentials: the database of sql cannot be asked now/])
  for (let attempt = 0; attempt < 6; attempt++) await t.rejects(chain.check({ username: 'ann', password }), { code: 'GW_UNAVAILABLE', details: { retryAfterSeconds: Number } })
  t.match(warnings.slice(1), [/sql does not answer/])
  t.match(await chain.find('sql ann', 'sql:1').catch((error: unknown) => error), { code: 'GW_UNAVAILABLE', details: { reason: /is down/ } }, 'nobody is logged out for it')
  await down.start()
  t.match(await chain.check({ username: 'ann', password }).catch((error: unknown) => error), { details: { reason: /is down/ } })
  clock.now += 5_000
  t.match(await chain.check({ username: 'ann', password }), { subject: { id: 'sql:1' } })
  t.match(warnings.slice(2), [/sql answers again/])
  await down.stop('immediate')
  await down.start()
  await chain.check({ username: 'ann', password }).catch(() => {})
  t.match(await chain.check({ username: 'ann', password }), { subject: { id: 'sql:1' } }, 'a connection that broke is made anew')
  t.notMatch(warnings.join('\n'), /a password with|a%20password/)
})

t.test('a SQLite file that is not there is not made', async (t) => {
  const { chain, warnings } = await openChain(t, [sqlSource(`sqlite:${t.testdir({})}/none.db`)])
  t.equal(warnings.length, 1)
  await t.rejects(chain.check({ username: 'ann', password }), { code: 'GW_UNAVAILABLE' })
})

async function withUsers (t: Test, open: (t: Test) => OtherDatabase | Promise<OtherDatabase>): Promise<OtherDatabase> {
  const other = await open(t)
  await other.execute('create table users (id integer primary key, email text, password_hash text, roles text, disabled text, changed text)')
  await other.execute(`insert into users values (1, 'alice@example.com', '${bcrypt}', 'admin, staff', null, '1'), (2, 'bob@example.com', '${pbkdf2}', '["staff"]', null, '1'), (3, 'nohash@example.com', null, '', null, '1')`)
  return other
}
