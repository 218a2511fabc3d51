/** Users of an endpoint: logins go through the source as it is configured, and a gateway that takes it at more than its word is found out. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { runAttacks } from '../../src/attack/run.ts'
import type { Config } from '../../src/config/schema.ts'
import { startGateway } from '../../src/server.ts'
import { configOf, only, told } from './attack-rig.ts'

t.setTimeout(180_000)

const { classes } = only('endpoint users')
/** Every word of it is another than the default. */
const mapped = {
  type: 'http',
  name: 'accounts',
  url: 'https://accounts.internal/check?tenant=1',
  findUrl: 'https://accounts.internal/find',
  secret: 'hunter2hunter2hunter2',
  secretHeader: 'X-Shared-Secret',
  tls: { ca: './ca.pem' },
  fields: { id: 'account_no', name: 'login', roles: 'groups', scopes: 'rights', attributes: 'more', disabled: 'locked', version: 'password_changed_at' },
}
const table = { type: 'sql', url: 'sqlite:./users.db', query: 'select id, password_hash from users where name = $1' }
/** What may mean two things does. */
const shared = { ...mapped, fields: { id: 'login', name: 'login', roles: 'rights', scopes: 'rights', version: 'rights' } }
const bare = { type: 'http', name: 'partners', url: 'http://10.1.2.3/check', subject: 'as-is' }

function usersOf (t: Test, ...credentials: readonly Record<string, unknown>[]): Config {
  return configOf(t, {
    credentials,
    trustedIssuers: [{ name: 'corp', issuer: 'https://login.example.com', audience: 'app' }],
    identity: { headers: { 'X-User-Id': 'sub', 'X-Department': 'department' } },
    routes: [{ path: '/api', upstream: 'http://10.9.8.7:3000', access: 'authenticated' }],
  }, { 'ca.pem': '' }).config
}

type HttpSource = Extract<Config['credentials'][number], { type: 'http' }>

function holed (breakIt: (source: HttpSource) => HttpSource): typeof startGateway {
  return async (own, options) => await startGateway({ ...own, credentials: own.credentials.map((source) => source.type === 'http' ? breakIt(source) : source) }, options)
}

t.test('this gateway holds: with names of its own for every member, with one for several, with bare ids, behind a store and before it', async (t) => {
  const runs = [
    { credentials: [{ type: 'store' }, mapped, table], leftOut: ['credentials of type sql: users in the temporary storage stand for theirs'] },
    { credentials: [shared], leftOut: [] },
    { credentials: [mapped, bare], leftOut: ['endpoint users: what becomes of users of partners after their login: without findUrl it is not asked, as configured'] },
  ]
  for (const { credentials, leftOut } of runs) {
    const report = await runAttacks(usersOf(t, ...credentials), only('login', 'endpoint users'))
    t.ok(report.held, told(report))
    t.ok(report.classes.every(({ cases, controls }) => cases > 0 && controls > 0))
    t.strictSame(report.leftOut.filter((what) => !what.startsWith('trustedIssuers')), leftOut)
    t.notMatch(JSON.stringify(report), 'hunter2')
    t.strictSame(report.strangers, [])
  }
})

/** Each leaves who logs in as themselves logged in. */
const holes: Record<string, { readonly start: typeof startGateway, readonly through: RegExp }> = {
  'ids are taken as they are': {
    start: holed((source) => ({ ...source, subject: 'as-is' })),
    through: /: the id /,
  },
  'another member is taken for the id': {
    // Which the endpoint cannot be asked about again.
    start: holed(({ findUrl: _, ...source }) => ({ ...source, fields: { ...source.fields, id: source.fields.name ?? '' } })),
    through: /: the id |: unreadable, (?:\{\}|\{"id")|: a refresh /,
  },
  'lists and attributes are read as none': {
    start: holed((source) => ({ ...source, fields: { ...source.fields, roles: 'a', scopes: 'b', attributes: 'c' } })),
    through: /: unreadable, \{"(?:roles|scopes|attributes)"/,
  },
  'a lock is passed over': {
    start: holed((source) => ({ ...source, fields: { ...source.fields, disabled: 'a' } })),
    through: /: disabled, |: a refresh of somebody who is disabled/,
  },
  'nobody is asked at a refresh': {
    start: holed(({ findUrl: _, ...source }) => source),
    through: /: a refresh (?:of somebody |that is answered with another user$)/,
  },
  'a new password ends nothing': {
    start: holed(({ fields: { version: _, ...fields }, ...source }) => ({ ...source, fields })),
    through: /: a refresh of somebody who has a new password/,
  },
}

for (const [hole, { start, through }] of Object.entries(holes)) {
  t.test(`it is noticed that ${hole}, and nothing else is called broken`, async (t) => {
    const [result] = (await runAttacks(usersOf(t, mapped), { classes, start })).classes
    const attacks = result?.failures.map(({ attack }) => attack) ?? []
    t.equal(result?.ok, false)
    t.strictSame(result?.failedControls, [])
    t.strictSame(attacks.filter((attack) => !through.test(attack)), [])
    t.ok(attacks.length > 0)
  })
}

t.test('it is noticed that bare ids may be written as those of others', async (t) => {
  const [result] = (await runAttacks(usersOf(t, bare), { classes, start: holed((source) => ({ ...source, subject: 'prefixed' })) })).classes
  const [own, ...others] = result?.failures.map(({ attack }) => attack) ?? []
  t.equal(own, 'partners: the id attack-0')
  t.match(others, [/^partners: the id attack-store:/, /^partners: the id partners:/, /^partners: the id corp\|/])
  t.equal(others.length, 3)
})

t.test('it is noticed that an endpoint is asked for another name and password than were typed', async (t) => {
  const start: typeof startGateway = async (own, options) => {
    const [source] = own.credentials.filter(({ type }) => type === 'http')
    if (source?.type !== 'http') throw new TypeError('no endpoint')
    const server = createServer((request, response) => {
      void json(request).then(async (asked) => {
        const tidied = Object.fromEntries(Object.entries(asked as Record<string, string>).map(([name, value]) => [name, value.trim().replace('refused', 'endpoint')]))
        const answer = await fetch(new URL(request.url ?? '', source.url), { method: 'POST', headers: { 'X-Shared-Secret': String(request.headers['x-shared-secret']) }, body: JSON.stringify(tidied) })
        response.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(await answer.text())
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.teardown(() => { server.close() })
    const { port } = server.address() as AddressInfo
    const [url, findUrl] = [source.url, String(source.findUrl)].map((one) => `http://127.0.0.1:${port}${new URL(one).pathname}`)
    return await holed((one) => ({ ...one, url: String(url), findUrl: String(findUrl) }))(own, options)
  }
  const [result] = (await runAttacks(usersOf(t, mapped), { ...only('login'), start })).classes
  t.strictSame(result?.failedControls, [])
  t.strictSame(result?.failures.map(({ attack }) => attack), ['"attack-endpoint-0" with almost the password', '"attack-endpoint-0 " with the password of another', '"attack-refused-0" with the password of another'])
})

t.test('an endpoint answers nobody who does not know the secret: then nothing is shown', async (t) => {
  const report = await runAttacks(usersOf(t, mapped), { classes, start: holed(({ secret: _, ...source }) => source) })
  t.notOk(report.held)
  t.match(report.classes[0]?.failedControls, [{ attack: 'accounts: the right password', why: 'it was answered 401' }])
})
