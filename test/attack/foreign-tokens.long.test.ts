/** Tokens of other issuers: each family of attacks held by this gateway, and seen to get through where a gateway has the hole. */
import { createHmac, createPublicKey, type JsonWebKey } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { compactVerify, importJWK } from 'jose'
import t, { type Test } from 'tap'
import { runAttacks } from '../../src/attack/run.ts'
import type { Config, TrustedIssuerConfig } from '../../src/config/schema.ts'
import { startGateway } from '../../src/server.ts'
import { configOf, only, told } from './attack-rig.ts'

t.setTimeout(180_000)

const { classes } = only('other issuers')
const upstream = 'http://10.9.8.7:3000'
/** Of different types, so that a twist must be of the right one to get anywhere. */
const corp = { name: 'corp', issuer: 'https://login.example.com', audience: 'app', algorithms: ['ES256', 'EdDSA'], tokenTypes: ['JWT'], roles: ['reader'], scopes: ['read'] }
const partner = { name: 'partner', issuer: 'https://id.partner.test', audience: ['app', 'web'], algorithms: ['ES256'], tokenTypes: ['untyped'], subject: 'as-is', roles: [], scopes: [] }
const routes = [
  { path: '/api', upstream, access: 'authenticated' },
  { path: '/admin', upstream, access: { roles: ['admin', 'reader'] } },
  { path: '/write', upstream, access: { scopes: ['write'] } },
]

function trusting (t: Test, written: Record<string, unknown>): Config {
  return configOf(t, { routes, ...written }).config
}

/** A token, and what a gateway with a hole may ask about it. */
interface Seen {
  readonly path: string
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  readonly text: string
  readonly own: Config
  readonly trusted: TrustedIssuerConfig | undefined
  /** Published keys of that issuer, of all issuers, and ours. */
  readonly keys: readonly PublishedKey[]
  readonly allKeys: readonly PublishedKey[]
  readonly ourKeys: readonly PublishedKey[]
}

interface PublishedKey extends JsonWebKey { readonly kid: string, readonly kty: string }

/** The subject that the token is believed to speak for; null leaves it to the gateway behind. */
type Hole = (seen: Seen) => string | null | Promise<string | null>

/** A whole gateway with one hole before it. */
function holed (hole: Hole): typeof startGateway {
  return async (own, options) => {
    const gateway = await startGateway(own, options)
    const keysAt = async (url: string) => (await (await fetch(url)).json() as { keys: PublishedKey[] }).keys
    const published = new Map<string, PublishedKey[]>()
    for (const { name, jwksUri } of own.trustedIssuers) published.set(name, await keysAt(String(jwksUri)))
    const ourKeys = await keysAt(`http://127.0.0.1:${gateway.publicAddress.port}/.well-known/jwks.json`)
    const sockets = new Set<Socket>()
    const server = createServer((client) => {
      sockets.add(client.on('error', () => {}).on('close', () => { sockets.delete(client) }))
      client.once('data', (request: Buffer) => {
        void subjectOf(request.toString('latin1')).then((subject) => {
          if (subject === null) pass(client, gateway.publicAddress.port, request)
          else serve(client, own, request.toString('latin1'), subject)
        })
      })
    })
    async function subjectOf (request: string): Promise<string | null> {
      const [, path = ''] = /^\w+ (\S+)/.exec(request) ?? []
      const [, text = ''] = /^Authorization: Bearer (\S+)$/m.exec(request) ?? []
      const [header, claims] = text.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString() || '{}') as Seen['header'])
      if (header === undefined || claims === undefined) return null
      const trusted = own.trustedIssuers.find(({ issuer }) => issuer === claims['iss'])
      return await hole({ path, header, claims, text, own, trusted, keys: published.get(trusted?.name ?? '') ?? [], allKeys: [...published.values()].flat(), ourKeys })
    }
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return {
      ...gateway,
      publicAddress: { ...gateway.publicAddress, port: (server.address() as AddressInfo).port },
      async drain () {
        server.close()
        for (const socket of sockets) socket.destroy()
        await gateway.drain()
      },
    }
  }
}

function pass (client: Socket, port: number, request: Buffer | string): void {
  const other = connect(port, '127.0.0.1').on('error', () => { client.destroy() })
  client.on('close', () => { other.destroy() })
  other.write(request)
  client.pipe(other).pipe(client)
}

/** As a gateway does with a request that it lets through. */
function serve (client: Socket, { routes: [route] }: Config, request: string, subject: string): void {
  if (request.includes(' /auth/')) client.end(`HTTP/1.1 200 OK\r\nX-User-Id: ${subject}\r\nContent-Length: 0\r\n\r\n`)
  else pass(client, Number(new URL(String(route?.upstream)).port), request.replace(/^Authorization: .*$/m, `X-User-Id: ${subject}`))
}

/** Signed by one of the keys, by the algorithm that the token names. */
async function signedBy (keys: readonly PublishedKey[], { header, text }: Seen): Promise<boolean> {
  for (const { alg: _, ...jwk } of keys) {
    const holds = await importJWK(jwk, String(header['alg'])).then(async (key) => await compactVerify(text, key)).then(() => true, () => false)
    if (holds) return true
  }
  return false
}

/** Where a token is all that is asked for; the rules of other routes, and the sessions, have holes of their own. */
const isOpenToAll = ({ path }: Seen) => path.startsWith('/api') || path === '/auth/verify'
const isOfSessions = ({ path }: Seen) => /^\/auth\/(?:sessions|logout)/.test(path)
const isOfTheType = ({ header: { typ }, trusted }: Seen) => trusted?.tokenTypes.includes(typ === undefined ? 'untyped' : typ as 'JWT') === true
const isForUs = ({ claims: { aud }, trusted }: Seen) => typeof aud === 'string' && [trusted?.audience].flat().includes(aud)
const isInTime = ({ claims: { exp } }: Seen) => Number(exp) * 1000 > Date.now()
const isOfTheAlgorithms = ({ header: { alg }, trusted }: Seen) => trusted?.algorithms.some((one) => one === alg) === true
const ofKid = (keys: readonly PublishedKey[], { header: { kid } }: Seen) => keys.filter((key) => key.kid === kid)
const subjectOf = ({ claims: { sub }, trusted }: Seen) => trusted?.subject === 'prefixed' ? `${trusted.name}|${String(sub)}` : String(sub)

/** Takes the tokens of strangers where every one of these holds, as a gateway that checks nothing else. */
function takes (...checks: readonly ((seen: Seen) => boolean | Promise<boolean>)[]): Hole {
  return async (seen) => {
    // A user of nobody else: whom it is taken for is another hole.
    if (!isOpenToAll(seen) || seen.claims['sub'] !== 'attack-alice') return null
    for (const check of checks) if (!await check(seen)) return null
    return subjectOf(seen)
  }
}

function hasMac (seen: Seen): boolean {
  const { header: { alg }, text } = seen
  const [key] = ofKid(seen.keys, seen)
  if (key === undefined || typeof alg !== 'string' || !alg.startsWith('HS')) return false
  const [header, payload, mac] = text.split('.')
  const pem = createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  return createHmac(`sha${alg.slice(2)}`, pem).update(`${header}.${payload}`).digest('base64url') === mac
}

const issuers = ['corp', 'partner']
const keys = ['corp, ES256', 'corp, EdDSA', 'partner, ES256']

const holes: Record<string, { readonly start: typeof startGateway, readonly through: RegExp, readonly of: readonly string[] }> = {
  'signatures and times are passed over': {
    start: holed(takes(isOfTheType, isForUs, isOfTheAlgorithms)),
    through: /: (?:signed with .*|.* said to be \w+|expired.*)$/,
    of: keys,
  },
  'none is an algorithm': {
    start: holed(takes(isOfTheType, isForUs, isInTime, ({ header: { alg } }) => typeof alg === 'string' && alg.toLowerCase() === 'none')),
    through: /: alg "none" with/i,
    of: keys,
  },
  'a public key is taken for a secret': {
    start: holed(takes(isOfTheType, isForUs, isInTime, hasMac)),
    through: /: HS\d+ under the public PEM$/,
    of: keys,
  },
  'a kid is passed over': {
    start: holed(takes(isOfTheType, isForUs, isInTime, async (seen) => await signedBy(seen.keys, seen))),
    through: /: signed with its own key, under the kid of /,
    of: keys,
  },
  'the keys of all are one set': {
    start: holed(takes(isOfTheType, isForUs, isInTime, async (seen) => await signedBy(ofKid([...seen.allKeys, ...seen.ourKeys], seen), seen))),
    through: /: signed with (?:our key|the \w+ key of \w+), under the kid of that$/,
    of: keys,
  },
  'every key is tried': {
    start: holed(takes(isOfTheType, isForUs, isInTime, async (seen) => await signedBy([...seen.allKeys, ...seen.ourKeys], seen))),
    through: /: signed with (?:our key|the \w+ key of \w+), under its own kid$|: signed with .* under the kid of /,
    of: keys,
  },
  'iss is passed over': {
    start: holed(async (seen) => isOpenToAll(seen) && seen.claims['aud'] !== 'attack-elsewhere' && seen.trusted === undefined && await signedBy(seen.allKeys, seen) ? 'attack-alice' : null),
    through: /: its key, in /,
    of: keys,
  },
  'aud is passed over': {
    start: holed(takes(isOfTheType, isInTime, async (seen) => await signedBy(ofKid(seen.keys, seen), seen))),
    through: /: for (?:another audience|other audiences|no audience)$/,
    of: keys,
  },
  'time is passed over': {
    start: holed(takes(isOfTheType, isForUs, async (seen) => await signedBy(ofKid(seen.keys, seen), seen))),
    through: /: expired$/,
    of: keys,
  },
  'a subject is taken as it is': {
    start: holed(async (seen) => isOpenToAll(seen) && isForUs(seen) && seen.claims['sub'] !== 'attack-alice' && await signedBy(ofKid(seen.keys, seen), seen) ? String(seen.claims['sub']) : null),
    through: /: the subject /,
    of: issuers,
  },
  'a subject of theirs has our sessions': {
    start: holed(async (seen) => isOfSessions(seen) && await signedBy(ofKid(seen.keys, seen), seen) ? String(seen.claims['sub']) : null),
    through: /: the (?:list of sessions|end of a session|logout) /,
    of: issuers,
  },
  'whatever they give is believed': {
    start: async (own, options) => await startGateway({ ...own, trustedIssuers: own.trustedIssuers.map(({ roles: _roles, scopes: _scopes, ...trusted }) => trusted) }, options),
    through: /: (?:roles|scopes) that it may not give/,
    of: issuers,
  },
}

t.test('this gateway holds, and says what could not be shown', async (t) => {
  const report = await runAttacks(trusting(t, { trustedIssuers: [corp, partner] }), { classes })
  t.ok(report.held, told(report))
  t.ok(report.classes.every(({ cases, controls }) => cases > 500 && controls === 7))
  t.strictSame(report.leftOut, [
    'trustedIssuers: how their keys are found and fetched; keys made for the attack come from loopback',
    'other issuers: subjects of partner that are ours too: they are one user, as configured',
  ])
})

for (const [hole, { start, through, of }] of Object.entries(holes)) {
  t.test(`it is noticed that ${hole}, and nothing else is called broken`, async (t) => {
    const report = await runAttacks(trusting(t, { trustedIssuers: [corp, partner] }), { classes, start })
    const [result] = report.classes
    const attacks = result?.failures.map(({ attack }) => attack) ?? []
    t.notOk(report.held)
    t.strictSame(result?.failedControls, [])
    t.strictSame(attacks.filter((attack) => !through.test(attack)), [])
    t.strictSame([...new Set(attacks.map((attack) => attack.slice(0, attack.indexOf(':'))))], of)
  })
}

const rsa = { name: 'corp', issuer: 'https://login.example.com', audience: 'app', algorithms: ['RS256'] }

t.test('where every route has a rule, /auth/verify is asked; one issuer alone speaks for no other; roles that nobody asks for show nothing', async (t) => {
  const config = trusting(t, { routes: routes.slice(2), trustedIssuers: [{ ...rsa, roles: [] }], identity: { headers: { 'X-User-Id': 'sub' } } })
  const report = await runAttacks(config, { classes })
  t.ok(report.held, told(report))
  t.strictSame(report.leftOut.slice(1), [
    'other issuers: what an upstream sees: no route that takes any token tells of sub, and all was shown to /auth/verify',
    'other issuers: what one issuer says in the name of another: corp is the only one',
    'other issuers: roles that corp may not give: no header and no rule tells of them',
  ])
})

t.test('it is noticed there that the algorithm is that of the token, and not of the key', async (t) => {
  const config = trusting(t, { routes: routes.slice(2), trustedIssuers: [rsa] })
  const report = await runAttacks(config, { classes, start: holed(takes(isForUs, isInTime, async (seen) => await signedBy(ofKid(seen.keys, seen), seen))) })
  t.strictSame(report.classes[0]?.failures.map(({ attack }) => attack), ['RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map((algorithm) => `corp, RS256: signed with its own key by ${algorithm}`))
})

t.test('without a header for sub nobody is told apart, and that is said', async (t) => {
  const report = await runAttacks(trusting(t, { trustedIssuers: [corp], identity: { headers: { 'X-Email': 'email' } } }), { classes })
  t.ok(report.held, told(report))
  t.match(report.leftOut.join('\n'), 'whom an upstream takes for whom: no header tells of sub')
})

t.test('each algorithm that is taken has a key and cases of its own: all of them by default', async (t) => {
  const { algorithms: _, ...anyAlgorithm } = rsa
  const config = trusting(t, { trustedIssuers: [anyAlgorithm] })
  const report = await runAttacks(config, { classes, start: holed(takes(isForUs, ({ claims: { exp } }) => Number(exp) * 1000 < Date.now(), async (seen) => await signedBy(ofKid(seen.keys, seen), seen))) })
  t.strictSame(report.classes[0]?.failures.map(({ attack }) => attack), config.trustedIssuers[0]?.algorithms.map((algorithm) => `corp, ${algorithm}: expired`))
})
