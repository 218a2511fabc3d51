/** config.yaml as one schema: types, defaults, checks, the editor's JSON Schema and docs/configuration.md come from here. */
import { Type, type Static, type TSchema } from 'typebox'

// What is written as text and loaded as a number says so in its `format`; `secret: true` marks what is never shown,
// and allows `xFile` beside `x`: a file that holds the value. load.ts acts on both.

/** Written `500ms`, `30s`, `5m`, `12h`, `30d`; milliseconds once loaded. null: no default of its own. */
const duration = (written: string | null, description: string) =>
  Type.Unsafe<number>({ type: 'string', format: 'duration', ...(written === null ? {} : { default: written }), description })

/** Written `64kb`, `10mb`, `1gb`; bytes once loaded. */
const size = (written: string | null, description: string) =>
  Type.Unsafe<number>({ type: 'string', format: 'size', ...(written === null ? {} : { default: written }), description })

const text = (description: string, options: Record<string, unknown> = {}) =>
  Type.Unsafe<string>({ type: 'string', minLength: 1, description, ...options })

const secret = (description: string, options: Record<string, unknown> = {}) => text(description, { secret: true, ...options })

const section = <Properties extends Record<string, TSchema>>(description: string, properties: Properties) =>
  Type.Object(properties, { additionalProperties: false, description, default: {} })

const word = <Word extends string>(words: readonly Word[], options: Record<string, unknown>) =>
  Type.Unsafe<Word>({ type: 'string', enum: words, ...options })

const port = (written: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65535, default: written, description })

const listOfText = (description: string) =>
  Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description })

const tokenTypes = ['at+jwt', 'JWT', 'untyped', 'id-token'] as const
export type TokenType = (typeof tokenTypes)[number]

const identityHeaders = (description: string, options: Record<string, unknown> = {}) =>
  Type.Unsafe<Readonly<Record<string, string>>>({
    type: 'object',
    additionalProperties: { type: 'string', minLength: 1 },
    propertyNames: { format: 'header-name' },
    description,
    ...options,
  })

const accessRule = Type.Object({
  roles: Type.Optional(listOfText('Any of these roles.')),
  scopes: Type.Optional(listOfText('Any of these scopes.')),
  claims: Type.Optional(Type.Unsafe<Readonly<Record<string, string | number | boolean | readonly (string | number | boolean)[]>>>({
    type: 'object',
    minProperties: 1,
    additionalProperties: {
      anyOf: [
        { type: ['string', 'number', 'boolean'] },
        { type: 'array', minItems: 1, items: { type: ['string', 'number', 'boolean'] } },
      ],
    },
    description: 'Claim → the value it must have, or a list of which it must have one.',
  })),
}, { additionalProperties: false, minProperties: 1, description: 'All named kinds must hold; of a kind, any value does.' })

const sourceName = Type.Optional(text('What logs and sessions call it, and what stands before its users’ ids. Its type by default; of two of one type each needs its own.', { format: 'source-name' }))

const storeSource = Type.Object({
  type: Type.Literal('store'),
  name: sourceName,
}, { additionalProperties: false, description: 'Users kept in `storage`, managed with `gatewarden users`.' })

const htpasswdSource = Type.Object({
  type: Type.Literal('htpasswd'),
  name: sourceName,
  file: text('Path of the file. Lines `name:hash`; bcrypt, sha-crypt, apr1 and {SHA}. Reread when it changes.', { format: 'path' }),
  roles: Type.Optional(listOfText('Roles of every user of this file.')),
}, { additionalProperties: false, description: 'An Apache htpasswd file.' })

/** What `allowPath` may name. */
const pathForms = {
  'encoded-slash': '`%2F` within a segment',
  'encoded-backslash': '`%5C`',
  'double-slash': 'empty segments, but not at the start',
  'semicolon': 'segments of nothing but `;parameters`',
  'needless-encoding': 'letters, digits and `-._` as escapes, as in `%41`',
  'double-encoding': 'an escaped `%` before two hexadecimal digits, as in `%2541`',
} as const

const foreignSubject = word(['prefixed', 'as-is'] as const, {
  default: 'prefixed',
  description: '`prefixed`: its users’ ids are `name:id`, so that nobody of another source can have one of them. `as-is`: the bare id, for upstreams that know it; one source alone may have bare ids, and `store` has.',
})

const fieldNames = {
  name: Type.Optional(text('The user name as it is to be shown; what was typed by default.')),
  roles: text('Roles: a list, JSON, or a text with commas.', { default: 'roles' }),
  scopes: text('Scopes: a list, JSON, or a text with spaces.', { default: 'scopes' }),
  attributes: text('JSON object of further attributes.', { default: 'attributes' }),
  disabled: text('Anything but false, 0, an empty text and null refuses the user, and ends their sessions at the next refresh.', { default: 'disabled' }),
}

const sqlSource = Type.Object({
  type: Type.Literal('sql'),
  name: sourceName,
  url: secret('`postgres://user:password@host:5432/database` or `sqlite:PATH` (as `storage`).', { format: 'user-database' }),
  tls: section('Of a PostgreSQL that is reached by TLS.', {
    mode: Type.Optional(word(['off', 'verify', 'no-verify'] as const, { description: 'Instead of `sslmode` in the URL. `verify` where a CA is named.' })),
    ca: Type.Optional(text('PEM file of the CA that its certificate is of.', { format: 'path' })),
    cert: Type.Optional(text('PEM file of a client certificate.', { format: 'path' })),
    key: Type.Optional(text('PEM file of its key.', { format: 'path' })),
  }),
  query: text('One query; `$1` is the user name as typed. What it selects beside `columns` becomes attributes.'),
  findQuery: Type.Optional(text('The same columns, with the id as `$1`: asked at refreshes. By default `query` is, with the name of the login; who is renamed then logs in again.')),
  rehash: Type.Optional(text('An update that takes a better hash at a login: `$1` is the new one, `$2` the id, `$3` the old one, which it must compare. Without it nothing is ever written.')),
  columns: section('What the columns of the query are called. All others become attributes.', {
    id: text('Stable and never given away again: `sub` of the tokens.', { default: 'id' }),
    passwordHash: text('Its kind is found from itself.', { default: 'password_hash' }),
    ...fieldNames,
    version: Type.Optional(text('What changes when the password does, and ends sessions that began before. The password hash by default.')),
  }),
  subject: foreignSubject,
  roles: Type.Optional(listOfText('Roles of every user of this source, beside their own.')),
  timeout: duration('3s', 'For a connection, and for a query; after it 503.'),
  connections: Type.Integer({ minimum: 1, maximum: 100, default: 4, description: 'Connections at most.' }),
}, { additionalProperties: false, description: 'An existing table, in PostgreSQL or SQLite. Opened read-only unless `rehash` is given.' })

const httpSource = Type.Object({
  type: Type.Literal('http'),
  name: sourceName,
  url: text('Gets `POST {username, password}` as JSON at a login. 200 and JSON `{id, …}` is the user; 401 or 404: asked on; 403: refused; anything else is 503.', { format: 'endpoint' }),
  findUrl: Type.Optional(text('Gets `POST {id}` at a refresh: 200 is the user as they are now, 401, 403, 404 or 410 ends the session. Without it users stay as they were at their login.', { format: 'endpoint' })),
  secret: Type.Optional(secret('Shared with the endpoint, so that it answers the gateway alone.')),
  secretHeader: text('The header that carries it; in `Authorization` as a Bearer token.', { format: 'header-name', default: 'Authorization' }),
  tls: section('Of an endpoint that is reached by https.', {
    ca: Type.Optional(text('PEM file of the CA that its certificate is of. Those that Node knows by default.', { format: 'path' })),
    cert: Type.Optional(text('PEM file of a client certificate.', { format: 'path' })),
    key: Type.Optional(text('PEM file of its key.', { format: 'path' })),
  }),
  fields: section('What the members of the answer are called. All others become attributes.', {
    id: text('Stable and never given away again: `sub` of the tokens.', { default: 'id' }),
    ...fieldNames,
    version: Type.Optional(text('What changes when the password does, and ends sessions that began before; with `findUrl`.')),
  }),
  subject: foreignSubject,
  roles: Type.Optional(listOfText('Roles of every user of this source, beside their own.')),
  timeout: duration('5s', 'For the whole answer; after it 503.'),
  connections: Type.Integer({ minimum: 1, maximum: 1000, default: 16, description: 'Questions at a time; sixteen times as many wait.' }),
}, { additionalProperties: false, description: 'An existing endpoint that checks a name and a password.' })

const route = Type.Object({
  path: text('What it serves: `/api` matches `/api` and `/api/…`, never `/apix`. The longest path wins.', { format: 'route-path' }),
  methods: Type.Optional(Type.Array(Type.String({ format: 'method' }), {
    minItems: 1,
    description: 'Only these methods; others are answered 405. GET includes HEAD. All by default.',
  })),
  hosts: Type.Optional(Type.Array(Type.String({ format: 'host' }), {
    minItems: 1,
    description: 'Only requests whose Host is one of these: exactly, but for case, port and a trailing dot. Such routes come before all without hosts; within them the longest path wins. Every host by default.',
  })),
  allowPath: Type.Optional(Type.Array(Type.Unsafe<keyof typeof pathForms>({ type: 'string', enum: Object.keys(pathForms) }), {
    minItems: 1,
    uniqueItems: true,
    description: `Forms of a path that are refused elsewhere, and that this route's upstream needs; the bytes arrive as they were sent. ${Object.entries(pathForms).map(([name, meaning]) => `\`${name}\`: ${meaning}`).join('; ')}. Whatever is allowed, a path is refused if any known reading of it has a dot segment or leads to another route. None by default.`,
  })),
  upstream: Type.Unsafe<string | readonly string[]>({
    anyOf: [
      { type: 'string', format: 'upstream' },
      { type: 'array', minItems: 1, items: { type: 'string', format: 'upstream' } },
    ],
    description: 'Where it goes: `http://host:port` or `https://…`, without a path; or a list, balanced.',
  }),
  access: Type.Unsafe<'public' | 'optional' | 'authenticated' | Static<typeof accessRule>>({
    anyOf: [{ type: 'string', enum: ['public', 'optional', 'authenticated'] }, accessRule],
    description: '`public`, `optional` (a valid token is used, none is fine, a bad one is refused), `authenticated`, or a rule. Never left out.',
  }),
  stripPrefix: Type.Boolean({ default: false, description: '`/admin/x` arrives as `/x`.' }),
  preserveHost: Type.Boolean({ default: false, description: 'The upstream sees the Host that the client sent, not its own.' }),
  forwardAuthorization: Type.Boolean({ default: false, description: 'The upstream sees the `Authorization` header too.' }),
  websocket: Type.Boolean({ default: true, description: 'WebSocket handshakes are forwarded.' }),
  timeout: Type.Optional(duration(null, 'From the request to the head of the answer; after it 504. `timeouts.upstream` by default.')),
  limits: Type.Optional(Type.Object({
    body: Type.Optional(size(null, 'Largest request body. `limits.body` by default.')),
  }, { additionalProperties: false, description: 'Limits of this route.' })),
  identity: Type.Optional(Type.Object({
    headers: identityHeaders('Header → claim or user attribute; instead of the global ones.'),
  }, { additionalProperties: false, description: 'Identity headers of this route.' })),
}, { additionalProperties: false })

/** Those that have a key pair: only such are taken of other issuers. */
const pairAlgorithms = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'] as const

const trustedIssuer = Type.Object({
  name: text('What its subjects are told apart by: they reach upstreams as `name|sub`. Letters, digits, `.`, `_` and `-`.', { format: 'issuer-name' }),
  issuer: text('`iss` of its tokens, letter for letter. https, or http on loopback; anything else needs `allowInsecure`.'),
  audience: Type.Unsafe<string | readonly string[]>({
    anyOf: [
      { type: 'string', minLength: 1 },
      { type: 'array', minItems: 1, items: { type: 'string', minLength: 1 } },
    ],
    description: 'What `aud` of its tokens must be, or hold; of a list, any one.',
  }),
  jwksUri: Type.Optional(text('Where its keys are. By default they are found by OpenID Connect Discovery, under `issuer`.')),
  algorithms: Type.Unsafe<readonly (typeof pairAlgorithms)[number][]>({
    type: 'array', minItems: 1, items: { type: 'string', enum: [...pairAlgorithms] }, default: [...pairAlgorithms],
    description: 'How its tokens may be signed. A key of it that names no algorithm serves the first of these that fits.',
  }),
  tokenTypes: Type.Unsafe<readonly TokenType[]>({
    type: 'array', minItems: 1, items: { type: 'string', enum: [...tokenTypes] }, default: ['at+jwt', 'JWT'],
    description: '`typ` of its tokens. `untyped`: tokens without one. ID tokens are refused by their marks (`nonce`, `at_hash`, …) unless `id-token` stands here too.',
  }),
  subject: word(['prefixed', 'as-is'] as const, { default: 'prefixed', description: '`as-is`: its subjects reach upstreams without the name before them. Whoever has the same subject elsewhere is then the same user.' }),
  roles: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { description: 'Only these of its roles are believed; all by default.' })),
  scopes: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { description: 'Only these of its scopes are believed; all by default.' })),
  allowInsecure: Type.Boolean({ default: false, description: 'Its keys may come over plain http from another machine, and its `issuer` need be no URL. Who is on the network in between can then write tokens.' }),
  keys: section('Its keys, as they are fetched and kept.', {
    refreshEvery: duration('10m', 'How often they are fetched, in the background: a key that the issuer takes away is believed for so long at most.'),
    staleFor: duration('24h', 'How long keys that were fetched serve while the issuer cannot be reached. After it 503.'),
    cooldown: duration('30s', 'A token of an unknown key has them fetched, but no more often than this.'),
    timeout: duration('5s', 'How long a fetch may take; for as long a request of an unknown key waits at most.'),
    file: Type.Optional(text('Where they are kept for a restart while the issuer is down. By default a file of the issuer’s name in `issuer-keys` beside the SQLite file; nowhere with PostgreSQL.', { format: 'path' })),
  }),
}, { additionalProperties: false, description: 'One whose tokens are accepted too.' })

export const algorithms = [
  'ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'HS256', 'HS384', 'HS512',
] as const

export const configSchema = Type.Object({
  listen: section('The public port.', {
    host: text('Address to bind.', { default: '127.0.0.1' }),
    port: port(8080, '0 takes a free one and logs it.'),
  }),
  admin: section('Health and metrics: never on the public port.', {
    host: text('Address to bind.', { default: '127.0.0.1' }),
    port: port(9090, '0 takes a free one and logs it.'),
  }),
  issuer: text('The public URL of this gateway: `iss` of its tokens, and the base of its metadata.', { format: 'issuer', default: 'http://localhost:8080' }),
  audience: text('`aud` of its tokens.', { default: 'api' }),
  storage: text('`sqlite:PATH`, relative to the folder the gateway is started in; or `postgres://user:password@host:5432/database`, for several replicas.', { format: 'storage', secret: true, default: 'sqlite:./data/gatewarden.db' }),
  storageOptions: section('Of PostgreSQL alone.', {
    password: Type.Optional(secret('Instead of one in the URL.')),
    listenUrl: Type.Optional(text('Where LISTEN connects, if `storage` leads to a pooler that hands out connections by transaction, such as PgBouncer.', { format: 'postgres-url', secret: true })),
    schema: text('Holds all tables; made at the first start.', { format: 'sql-name', default: 'gatewarden' }),
    poolSize: Type.Integer({ minimum: 1, maximum: 1_000, default: 10, description: 'Connections at most; two more are for LISTEN.' }),
    connectTimeout: duration('5s', 'For a connection, a free one of the pool included; and for a server that comes up while the gateway starts.'),
    statementTimeout: duration('5s', 'For one statement. What takes longer is answered 503.'),
    tls: section('The way to it.', {
      mode: Type.Optional(word(['off', 'verify', 'no-verify'] as const, { description: '`verify` where `ca` or `cert` is given, else as `sslmode` in the URL says, else `off`. `no-verify` keeps off who listens, not who stands in between.' })),
      ca: Type.Optional(text('PEM file of the authorities that are trusted, instead of those that Node trusts.', { format: 'path' })),
      cert: Type.Optional(text('PEM file of the certificate to show.', { format: 'path' })),
      key: Type.Optional(text('PEM file of its key.', { format: 'path' })),
    }),
  }),

  revocations: section('How ended sessions become known here that others have ended: another replica, the command line.', {
    blindAfter: duration('5s', 'Without word from the storage for so long, this gateway counts as blind.'),
    whenBlind: word(['serve', 'refuse'] as const, { default: 'serve', description: '`serve` goes on: an ended session then passes until its access token expires, at the longest. `refuse` answers 503 to every request with a token until there is word again.' }),
  }),

  accessToken: section('The short-lived JWT (RFC 9068).', {
    algorithm: word(algorithms, { default: 'ES256', description: 'How it is signed. Asymmetric, so that whoever can check cannot forge; HS… needs `secret`.' }),
    secret: Type.Optional(secret('For HS… alone: at least as many random bytes as its hash has (32, 48 or 64). The bytes of the text itself are the key.')),
    lifetime: duration('5m', 'How long it is valid. User attributes and roles that reach an upstream are never older than this.'),
    clockTolerance: duration('2s', 'How far clocks may differ.'),
    cacheSize: Type.Integer({ minimum: 0, default: 100_000, description: 'How many verified tokens are remembered.' }),
  }),
  refreshToken: section('The long-lived rotating token.', {
    lifetime: duration('30d', 'Of the session: absolute, no refresh moves it.'),
    graceWindow: duration('10s', 'For how long a used token still gets its successor. After it, a used token ends its session.'),
  }),
  keys: section('The signing keys.', {
    rotateEvery: duration('30d', 'Age at which the next key takes over.'),
    publishAhead: duration('10m', 'How long the next key stands in the JWKS before it signs.'),
    directory: Type.Optional(text('Folder of PEM files (PKCS #8) to sign with instead of keys in storage: the last name signs, all verify.', { format: 'path' })),
    masterKey: Type.Optional(secret('32 bytes in base64url that encrypt the keys in storage. `GATEWARDEN_MASTER_KEY` by default, else a file made beside the data.')),
  }),
  workers: Type.Unsafe<number | 'auto'>({
    anyOf: [{ type: 'integer', minimum: 1, maximum: 256 }, { type: 'string', enum: ['auto'] }],
    default: 1,
    description: 'Processes that serve the public port; `auto`: one a core. One more looks after them where there are several.',
  }),
  limits: section('What a client may send.', {
    body: size('1gb', 'Largest request body. Bodies stream; nothing is buffered.'),
    bodyRate: size('240b', 'Bytes a second that a request body has to come by, on average since its beginning; else 408. Time in which the gateway waits for the upstream does not count. `0b`: any.'),
    headers: size('16kb', 'Request line and headers together.'),
    connections: Type.Integer({ minimum: 1, default: 10_000, description: 'Open client connections.' }),
  }),
  timeouts: section('How long anything is waited for.', {
    connect: duration('3s', 'For a connection to an upstream.'),
    upstream: duration('30s', 'For the head of an answer from an upstream; a route may say otherwise.'),
    idle: duration('5m', 'Silence in the middle of an answer. Event streams are exempt.'),
    clientHeaders: duration('10s', 'For the head of a request.'),
    clientBody: duration('30s', 'Silence in the middle of a request body.'),
    clientBodyGrace: duration('5s', 'From the beginning of a request body until `limits.bodyRate` counts.'),
    keepAlive: duration('72s', 'For the next request on an idle client connection.'),
    drain: duration('10s', 'For requests under way at shutdown.'),
    tokenGrace: duration('2s', 'WebSockets and streams are closed this long after the token they came with has expired.'),
  }),

  credentials: Type.Array(Type.Union([storeSource, htpasswdSource, sqlSource, httpSource]), {
    minItems: 1,
    default: [{ type: 'store' }],
    description: 'Who is asked at a login, in order; the first that knows the user decides.',
  }),
  passwords: section('How passwords are kept and checked.', {
    memory: size('19mb', 'argon2id: memory of one hash.'),
    iterations: Type.Integer({ minimum: 1, maximum: 64, default: 2, description: 'argon2id: passes.' }),
    concurrency: Type.Integer({ minimum: 1, maximum: 64, default: 2, description: 'Hashes at a time: a login flood takes no more. Never more than there are cores.' }),
    queue: Type.Integer({ minimum: 0, default: 100, description: 'Hashes waiting; one more is answered 503.' }),
    queueTimeout: duration('5s', 'Longest wait in that queue; after it 503.'),
    minimumLength: Type.Integer({ minimum: 1, default: 8, description: 'Of a new password, in characters.' }),
    blockList: Type.Optional(Type.Object({
      file: text('Path of the file: UTF-8, one password a line. Case does not matter.', { format: 'path' }),
    }, { additionalProperties: false, description: 'More passwords that cannot be set, beside the common ones that are built in, rows of the keyboard, and the names of the user and of the gateway.' })),
  }),
  throttle: section('Failed logins.', {
    attempts: Type.Integer({ minimum: 1, default: 10, description: 'Failures of one account from strange addresses before each further one costs a delay that doubles.' }),
    attemptsPerAddress: Type.Integer({ minimum: 1, default: 50, description: 'Failures of one address (IPv6: /64) likewise.' }),
    attemptsInAll: Type.Integer({ minimum: 1, default: 1000, description: 'Failures of all accounts and all addresses together within a window, before each further one costs every login from a strange address a delay. Where a user has logged in before, this does not count.' }),
    delay: duration('1s', 'The first delay.'),
    maximumDelay: duration('15m', 'The longest delay of an account or an address.'),
    maximumDelayInAll: duration('5s', 'The longest delay of all together: shorter, since it delays everybody who is new.'),
    window: duration('15m', 'After so long without a failure the count starts anew.'),
  }),
  trustedIssuers: Type.Array(trustedIssuer, { default: [], description: 'Others whose tokens are accepted too. Their tokens are verified, never issued, refreshed or ended here.' }),
  clients: Type.Array(Type.Object({
    id: text('Becomes `client_id` of its tokens.'),
    secret: Type.Optional(secret('Makes it a confidential client (Basic or form). Only such a one may introspect.')),
  }, { additionalProperties: false }), { default: [], description: 'Who may use /oauth/*. None are needed for /auth/*.' }),
  identity: section('What an upstream is told about the caller.', {
    headers: identityHeaders('Header → claim or user attribute.', { default: { 'X-User-Id': 'sub', 'X-User-Roles': 'roles' } }),
    reservedPrefixes: Type.Array(Type.String({ format: 'header-name' }), { default: ['X-User-', 'X-Gatewarden-'], description: 'No header of a client whose name starts so, in any spelling, reaches an upstream.' }),
  }),
  trustedProxies: Type.Array(Type.String({ format: 'cidr' }), { default: [], description: 'Whose X-Forwarded-* and X-Request-Id are believed. None by default.' }),
  log: section('The log: JSON lines on standard output.', {
    level: word(['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const, { default: 'info', description: 'Least level that is written.' }),
    access: Type.Boolean({ default: false, description: 'A line for every request, not only for refused and failed ones.' }),
  }),
  routes: Type.Array(route, { minItems: 1, description: 'What is protected, for whom, and where it goes.' }),
}, { additionalProperties: false, title: 'Gatewarden configuration' })

/** The configuration once loaded: durations in milliseconds, sizes in bytes, secrets read, deeply frozen. */
export type Config = Static<typeof configSchema>
export type RouteConfig = Config['routes'][number]
export type AccessConfig = RouteConfig['access']
export type TrustedIssuerConfig = Config['trustedIssuers'][number]
export type Algorithm = Config['accessToken']['algorithm']
