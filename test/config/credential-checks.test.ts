import t from 'tap'
import { lintCredentials } from '../../src/config/credential-checks.ts'
import { createLoader, routes } from './load-text.ts'

t.test('what is dangerous about a source is said, and nothing of one that is well kept', async (t) => {
  const { config } = createLoader(t)
  const query = "query: 'select id, password_hash from users where name = $1'"
  const warned = (source: string) => lintCredentials(config(`credentials: [{ ${source} }]\n${routes}`)).map(({ path, message }) => `${path.join('.')}: ${message.split('.')[0] ?? ''}`)
  const plain = 'credentials.0.url: Password hashes cross the network in the clear'
  t.strictSame(warned(`type: sql, url: 'postgres://u:p@db.internal/app', ${query}`), [plain])
  t.strictSame(warned(`type: sql, url: 'postgres://u:p@db.internal/app?sslmode=disable', ${query}`), [plain])
  t.strictSame(warned(`type: sql, url: 'postgres://u:p@db.internal/app?sslmode=verify-full', tls: { mode: 'off' }, ${query}`), [plain])
  for (const url of ['postgres://u:p@db.internal/app?sslmode=verify-full', 'postgres://u:p@127.0.0.1/app', 'postgres://u:p@[::1]/app', 'postgres://u@/app?host=/run/postgresql', 'sqlite:./app.db']) t.strictSame(warned(`type: sql, url: '${url}', ${query}`), [], url)
  t.match(warned(`type: sql, url: 'postgres://u:p@db.internal/app', tls: { mode: no-verify }, ${query}`), ['credentials.0.tls.mode: Whoever is on the way can be the database, and let in whom they like'])
  t.match(warned("type: http, url: 'http://accounts:3000/check'"), [/^credentials\.0\.url: Names and passwords cross/, /^credentials\.0\.url: Whoever reaches this endpoint/, /^credentials\.0\.url: Who is disabled there/])
  t.strictSame(warned("type: http, url: 'https://accounts/check', findUrl: 'https://accounts/find', secret: s"), [])
})

t.test('a secret that cannot be read is one fault, and a URL in a file is read', async (t) => {
  const { faults } = createLoader(t)
  const source = (rest: string) => `credentials: [{ type: sql, ${rest}, query: 'select id, password_hash from users where name = $1' }]\n${routes}`
  t.match(faults(source('urlFile: none')), [/credentials\[0\]\.urlFile: .*there is no such file$/])
  t.match(faults(source("url: 'mysql://u:hidden@h/d'")), [/credentials\[0\]\.url: must be postgres:\/\/user:password@host:5432\/database, or sqlite:/])
  t.notMatch(faults(source("url: 'mysql://u:hidden@h/d'")).join(), /hidden/)
})

t.test('a member or a column that would lock everybody out, be no user, or end nothing may not mean two things; others may', async (t) => {
  const { faults, config } = createLoader(t)
  const http = (fields: string) => `credentials: [{ type: http, url: 'https://accounts/check', fields: { ${fields} } }]\n${routes}`
  const sql = (columns: string) => `credentials: [{ type: sql, url: 'sqlite:./app.db', query: 'select * from users where name = $1', columns: { ${columns} } }]\n${routes}`
  for (const other of ['id', 'name', 'roles', 'scopes', 'attributes', 'version']) {
    t.match(faults(http(`disabled: x, ${other}: x`)), [`credentials[0].fields: disabled and ${other} are both "x": whoever has ${other} would be refused`])
    t.match(faults(sql(`${other}: disabled`)), [`credentials[0].columns: disabled and ${other} are both "disabled": whoever has ${other} would be refused`])
  }
  for (const other of ['id', 'name', 'roles', 'scopes', 'version']) {
    t.match(faults(http(`attributes: x, ${other}: x`)), [`credentials[0].fields: attributes and ${other} are both "x": an object is not ${other} too`])
  }
  t.match(faults(sql('passwordHash: attributes')), ['credentials[0].columns: attributes and passwordHash are both "attributes": an object is not passwordHash too'])
  t.match(faults(http('version: id')), ['credentials[0].fields: version and id are both "id": what never changes ends no session'])
  for (const fields of ['id: login, name: login', 'roles: x, scopes: x', 'roles: x, version: x', 'name: x, version: x']) t.ok(config(http(fields)), fields)
  t.ok(config(sql('version: password_hash')))
})
