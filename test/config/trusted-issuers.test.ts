import t from 'tap'
import { pathText } from '../../src/config/fault.ts'
import { lintConfig } from '../../src/config/lint.ts'
import { createLoader, routes } from './load-text.ts'

const { faults, config } = createLoader(t)
const issuers = (...entries: string[]) => `trustedIssuers: [${entries.map((entry) => `{ ${entry} }`).join(', ')}]`
const corp = 'name: corp, issuer: "https://login.example.com", audience: my-client'
const entry = (rest: string) => `${issuers(`${corp}, ${rest}`)}\n${routes}`
const at = (issuer: string, rest = '') => `${issuers(`name: corp, issuer: ${JSON.stringify(issuer)}, audience: a${rest}`)}\n${routes}`

t.test('the example of the contract loads, with what it does not say', async (t) => {
  const [trusted] = config(entry('jwksUri: "https://login.example.com/keys", algorithms: [RS256], tokenTypes: [at+jwt, JWT]')).trustedIssuers
  t.match(trusted, { name: 'corp', algorithms: ['RS256'], subject: 'prefixed', allowInsecure: false, keys: { refreshEvery: 600_000, staleFor: 86_400_000, cooldown: 30_000, timeout: 5_000 } })
  const plain = config(`${issuers(corp)}\n${routes}`).trustedIssuers[0]
  t.strictSame(plain?.tokenTypes, ['at+jwt', 'JWT'])
  t.ok(plain?.algorithms.every((algorithm) => !algorithm.startsWith('HS')), 'none that is symmetric')
})

t.test('what is https, or http on loopback, is taken', async (t) => {
  for (const issuer of ['https://login.example.com/', 'https://login.example.com/realms/a', 'http://localhost:8000', 'http://127.0.0.1:9', 'http://[::1]:9', 'http://idp.localhost']) t.strictSame(faults(at(issuer)), [], issuer)
  t.strictSame(faults(at('http://idp.internal', ', allowInsecure: true')), [])
  t.strictSame(faults(at('accounts.example.com', ', allowInsecure: true, jwksUri: "https://accounts.example.com/keys"')), [])
})

t.test('each rule has its fault, at its place', async (t) => {
  const cases: [yaml: string, fault: RegExp][] = [
    [at('http://login.example.com'), /^c:1:\d+ trustedIssuers\[0\]\.issuer: must be https: over plain http/],
    [at('http://127.0.0.1.example.com'), /issuer: must be https/],
    [at('login.example.com'), /issuer: must be an https URL/],
    [at('login.example.com', ', allowInsecure: true'), /issuer: must be an https URL/],
    [at('ftp://login.example.com'), /issuer: must be an https URL/],
    [at('https://user:secret@login.example.com'), /issuer: must be an https URL, without a user/],
    [at('https://login.example.com/?tenant=1'), /issuer: must have no query/],
    [at('http://localhost:8080'), /issuer: is the gateway itself/],
    [at('HTTP://LOCALHOST:8080/'), /issuer: is the gateway itself/],
    [entry('jwksUri: "http://login.example.com/keys"'), /jwksUri: must be https/],
    [entry('jwksUri: /keys'), /jwksUri: must be an https URL/],
    [`${issuers(corp, 'name: Corp, issuer: "https://other.example.com", audience: a')}\n${routes}`, /trustedIssuers\[1\]\.name: stands twice; trustedIssuers\[0\] has it already/],
    [`${issuers(corp, 'name: other, issuer: "https://login.example.com/", audience: a')}\n${routes}`, /trustedIssuers\[1\]\.issuer: is that of trustedIssuers\[0\] too/],
    [`${issuers(`${corp}, keys: { file: keys.json }`, 'name: other, issuer: "https://other.example.com", audience: a, keys: { file: ./keys.json }')}\n${routes}`, /trustedIssuers\[1\]\.keys\.file: is that of trustedIssuers\[0\] too/],
    [entry('keys: { refreshEvery: 2h, staleFor: 1h }'), /keys\.staleFor: must not be shorter than keys\.refreshEvery/],
    [entry('keys: { cooldown: 0s }'), /keys\.cooldown: must be at least 1s/],
    [entry('keys: { refreshEvery: 0s }'), /keys\.refreshEvery: must be at least 1s/],
    [entry('keys: { timeout: 5m }'), /keys\.timeout: must be from 100ms to 30s/],
    [entry('algorithms: [HS256]'), /algorithms\[0\]: must be one of ES256/],
    [entry('algorithms: [none]'), /algorithms\[0\]: must be one of ES256/],
    [entry('algorithms: []'), /algorithms: must have at least one entry/],
    [entry('tokenTypes: [jwt]'), /tokenTypes\[0\]: must be one of at\+jwt, JWT/],
    [entry('subject: mapped'), /subject: must be one of prefixed, as-is/],
    [`${issuers('name: "a|b", issuer: "https://login.example.com", audience: a')}\n${routes}`, /name: must be at most 64 letters/],
    [`${issuers('name: ../a, issuer: "https://login.example.com", audience: a')}\n${routes}`, /name: must be at most 64 letters/],
    [`${issuers('name: corp, issuer: "https://login.example.com"')}\n${routes}`, /audience: is missing/],
  ]
  for (const [yaml, fault] of cases) t.match(faults(yaml), [fault], yaml)
})

t.test('what is dangerous is said', async (t) => {
  const warnings = (yaml: string) => lintConfig(config(yaml)).filter(({ path }) => path[0] === 'trustedIssuers').map(({ path, message }) => `${pathText(path)}: ${message}`)
  const route = (access: string, rest = '') => `routes: [{ path: /, upstream: "http://127.0.0.1:1", access: ${access}${rest} }]`
  t.strictSame(warnings(`${issuers(corp)}\n${route('authenticated')}`), [])
  t.strictSame(warnings(`${issuers(`${corp}, roles: [reader], scopes: []`)}\n${route('{ roles: [reader], scopes: [x] }')}`), [])
  const cases: [yaml: string, warning: RegExp][] = [
    [`${issuers(`${corp}, subject: as-is`)}\n${route('authenticated')}`, /^trustedIssuers\[0\]\.subject: A user of corp is the same to upstreams as a user of this gateway with the same subject/],
    [`${issuers(corp)}\n${route('{ roles: [admin] }')}`, /\.name: corp decides who has the roles that routes demand/],
    [`${issuers(corp)}\n${route('{ scopes: [admin] }')}`, /\.name: corp decides who has the scopes that routes demand/],
    [`${issuers(corp)}\n${route('{ claims: { tenant: a } }')}`, /\.name: The claims that routes demand are taken from corp as well/],
    [`${issuers(corp)}\n${route('authenticated', ', identity: { headers: { X-User-Mail: email } }')}`, /\.name: What upstreams are told as email is what corp says/],
    [`${issuers(`${corp}, allowInsecure: true`)}\n${route('authenticated')}`, /\.allowInsecure: Whoever is on the network/],
    [`${issuers(`${corp}, tokenTypes: [JWT, id-token]`)}\n${route('authenticated')}`, /\.tokenTypes: An ID token is made for a client/],
  ]
  for (const [yaml, warning] of cases) t.match(warnings(yaml), [warning], yaml)
  const two = warnings(`${issuers(`${corp}, subject: as-is`, 'name: other, issuer: "https://other.example.com", audience: a, subject: as-is')}\n${route('authenticated')}`)
  t.match(two, [/a user of this gateway, and as one of other with the same subject/, /and as one of corp with/])
})
