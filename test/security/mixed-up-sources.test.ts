/**
 * A gateway with several sources of users: its own store, an application's table, an htpasswd file. Whoever can choose their own
 * id or name in one of them (a self-service sign-up, an integer key that counts up from 1) tries to become somebody of another:
 *
 *  - a row whose id is the store's id of the admin: bare ids would be the same `sub`, and her sessions would be listed and ended as his;
 *  - a row whose id is `staff:1`, as the ids of the source `staff` are written;
 *  - a name that was given up and taken again: the session of the one before would, at its refresh, find the one after;
 *  - two htpasswd files: before they had names of their own, `ann` of one and `ann` of the other were both `htpasswd:ann`.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createUserStore } from '../../src/credentials/user-store.ts'
import { createLoader, routes } from '../config/load-text.ts'
import { hasher, newFolder, openChain, otherSqlite, sqlSource } from '../credentials/sql-rig.ts'

const password = 'correct horse battery staple'
const bcrypt = '$2y$04$GMu5IITw62ENZtHgtepUJOog7SWfpgr9IoWKcohV.BunBfAEmRN6S'

t.test('an id that was chosen to be another’s is not', async (t) => {
  const other = otherSqlite(t)
  await other.execute('create table users (id text, email text, password_hash text, roles text)')
  const { chain, db } = await openChain(t, ['{ type: store }', sqlSource(other.url, { name: 'signup' }), sqlSource(other.url, { name: 'staff', query: 'select id, password_hash from users where email = $1' })])
  const admin = await createUserStore({ db, hasher, now: Date.now }).add({ name: 'admin', password, roles: ['admin'] })
  await other.execute(`insert into users values ('${admin}', 'mallory', '${bcrypt}', ''), ('staff:1', 'eve', '${bcrypt}', '')`)
  const mallory = await chain.check({ username: 'mallory', password })
  t.match(mallory, { source: 'signup', subject: { id: `signup:${admin}`, roles: [] } })
  t.match(await chain.check({ username: 'eve', password }), { subject: { id: 'signup:staff:1' } })
  t.equal(await chain.find('store', `signup:${admin}`), null)
  t.equal(await chain.find('staff mallory', `signup:${admin}`), null, 'nor is a session of one source found in another')
  t.equal(await chain.find('signup mallory', admin), null)
  t.match(await chain.check({ username: 'admin', password }), { source: 'store', subject: { id: admin } })
})

t.test('bare ids hold nothing that others are told apart by', async (t) => {
  const other = otherSqlite(t)
  await other.execute(`create table users (id text, email text, password_hash text, roles text); insert into users values ('staff:1', 'eve', '${bcrypt}', ''), ('corp|alice', 'mallory', '${bcrypt}', ''), ('42', 'ann', '${bcrypt}', '')`)
  const { chain } = await openChain(t, [sqlSource(other.url, { subject: 'as-is' }), sqlSource(other.url, { name: 'staff', query: 'select id, password_hash from users where email = $1' })])
  t.match(await chain.check({ username: 'ann', password }), { subject: { id: '42' } })
  for (const username of ['eve', 'mallory']) t.match(await chain.check({ username, password }), { subject: null, reason: /tells the ids of other sources apart/ })
})

t.test('two files of one name do not load; with names of their own their users are two', async (t) => {
  const { faults } = createLoader(t)
  const load = (sources: string) => faults(`credentials: [${sources}]\n${routes}`).map((fault) => fault.replace(/^c:\d+:\d+ /, ''))
  t.match(load('{ type: htpasswd, file: a }, { type: htpasswd, file: b }'), [/^credentials\[1\]\.type: credentials\[0\] is called "htpasswd" already/])
  t.match(load('{ type: htpasswd, file: a }, { type: htpasswd, file: b, name: HTPASSWD }'), [/^credentials\[1\]\.name: credentials\[0\] is called "HTPASSWD" already/])
  t.match(load(`{ type: store }, ${sqlSource('sqlite:x', { subject: 'as-is' })}`), [/^credentials\[1\]\.subject: credentials\[0\] has bare ids already/])
  t.match(load('{ type: store }, { type: store, name: more }'), [/^credentials\[1\]\.type: credentials\[0\] has bare ids already/])
  t.match(load(sqlSource('sqlite:x', { name: 'a:b' })), [/^credentials\[0\]\.name: must be at most 64 letters/])
  t.match(load(sqlSource('sqlite:x', { query: 'select * from users' })), [/^credentials\[0\]\.query: must have the user name as its parameter/])
  t.match(load(sqlSource('sqlite:x', { rehash: 'update users set password_hash = $1 where id = $2' })), [/^credentials\[0\]\.rehash: must use .*; \$3 is missing/])

  const folder = newFolder(t)
  for (const file of ['a', 'b']) writeFileSync(join(folder, file), `ann:${bcrypt}\n`)
  const { chain } = await openChain(t, ['a', 'b'].map((file) => JSON.stringify({ type: 'htpasswd', name: file, file: join(folder, file) })))
  t.match(await chain.check({ username: 'ann', password }), { source: 'a', subject: { id: 'a:ann' } })
  t.match(await chain.find('b', 'b:ann'), { id: 'b:ann' })
  t.equal(await chain.find('b', 'a:ann'), null)
})
