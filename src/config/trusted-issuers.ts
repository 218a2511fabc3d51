/** What must hold of the other issuers whose tokens are accepted, and what is allowed but dangerous about them. */
import type { CrossFault } from './cross-checks.ts'
import type { ConfigWarning } from './lint.ts'
import { isLoopback } from './loopback.ts'
import type { Config, TrustedIssuerConfig } from './schema.ts'

export function checkTrustedIssuers ({ issuer, trustedIssuers }: Config): CrossFault[] {
  return trustedIssuers.flatMap((trusted, index) => {
    const faults: CrossFault[] = []
    const fault = (key: keyof TrustedIssuerConfig, message: string) => { faults.push({ path: ['trustedIssuers', index, key], message }) }
    const earlier = trustedIssuers.slice(0, index)
    // In any case: it names a file, and two names that look alike are two users that do.
    const sameName = earlier.findIndex(({ name }) => name.toLowerCase() === trusted.name.toLowerCase())
    if (sameName >= 0) fault('name', `stands twice; trustedIssuers[${sameName}] has it already`)
    const sameIssuer = earlier.findIndex((other) => plain(other.issuer) === plain(trusted.issuer))
    if (sameIssuer >= 0) fault('issuer', `is that of trustedIssuers[${sameIssuer}] too; which rules hold could not be told`)
    if (plain(trusted.issuer) === plain(issuer)) fault('issuer', 'is the gateway itself; its own tokens need no entry')

    const wrongIssuer = trusted.issuer.includes('?') ? 'must have no query' : addressFault(trusted.issuer, trusted.allowInsecure)
    if (wrongIssuer !== null && !(trusted.allowInsecure && trusted.jwksUri !== undefined)) fault('issuer', wrongIssuer)
    const wrongKeys = trusted.jwksUri === undefined ? null : addressFault(trusted.jwksUri, trusted.allowInsecure)
    if (wrongKeys !== null) fault('jwksUri', wrongKeys)

    const { refreshEvery, staleFor, cooldown, timeout } = trusted.keys
    const keysFault = (key: keyof typeof trusted.keys, message: string) => { faults.push({ path: ['trustedIssuers', index, 'keys', key], message }) }
    const sameFile = earlier.findIndex(({ keys }) => keys.file !== undefined && keys.file === trusted.keys.file)
    if (sameFile >= 0) keysFault('file', `is that of trustedIssuers[${sameFile}] too; each would write over the other`)
    if (refreshEvery < 1_000) keysFault('refreshEvery', 'must be at least 1s')
    if (cooldown < 1_000) keysFault('cooldown', 'must be at least 1s: whoever sends tokens of unknown keys would have the issuer asked as often')
    if (timeout < 100 || timeout > 30_000) keysFault('timeout', 'must be from 100ms to 30s')
    if (staleFor < refreshEvery) keysFault('staleFor', 'must not be shorter than keys.refreshEvery: the keys would be gone between two fetches')
    return faults
  })
}

/** As two spellings of one place are the same to people, and to lax libraries. */
function plain (issuer: string): string {
  const url = URL.canParse(issuer) ? new URL(issuer).href : issuer
  return url.replace(/\/$/, '')
}

function addressFault (text: string, allowInsecure: boolean): string | null {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol) || /[@#\s]/.test(text) || url.hostname === '') return 'must be an https URL, without a user and without a fragment, as in https://login.example.com'
  if (url.protocol === 'https:' || isLoopback(url.hostname) || allowInsecure) return null
  return 'must be https: over plain http, whoever is on the network in between can write tokens. Where that network is trusted, say allowInsecure: true'
}

export function lintTrustedIssuers ({ trustedIssuers, storage, identity, routes }: Config): ConfigWarning[] {
  const headers = [identity.headers, ...routes.flatMap((route) => route.identity === undefined ? [] : [route.identity.headers])]
  const told = [...new Set(headers.flatMap((mapping) => Object.values(mapping)))].filter((claim) => !['sub', 'roles', 'scope', 'iss', 'exp', 'iat'].includes(claim))
  const demandsRoles = routes.some(({ access }) => typeof access === 'object' && access.roles !== undefined)
  const demandsScopes = routes.some(({ access }) => typeof access === 'object' && access.scopes !== undefined)
  const demandsClaims = routes.some(({ access }) => typeof access === 'object' && access.claims !== undefined)
  return trustedIssuers.flatMap((trusted, index) => {
    const warnings: ConfigWarning[] = []
    const warn = (key: keyof TrustedIssuerConfig, message: string) => { warnings.push({ path: ['trustedIssuers', index, key], message }) }
    const { name } = trusted
    if (trusted.allowInsecure) warn('allowInsecure', `Whoever is on the network between here and ${name} can write tokens of it. Use https.`)
    if (trusted.subject === 'as-is') {
      const others = trustedIssuers.filter((other) => other !== trusted && other.subject === 'as-is').map((other) => other.name)
      warn('subject', `A user of ${name} is the same to upstreams as ${['a user of this gateway', ...others.map((other) => `one of ${other}`)].join(', and as ')} with the same subject. Leave it out, unless they are the same people.`)
    }
    if (demandsRoles && trusted.roles === undefined) warn('name', `${name} decides who has the roles that routes demand. Name those that it may give in roles.`)
    if (demandsScopes && trusted.scopes === undefined) warn('name', `${name} decides who has the scopes that routes demand. Name those that it may give in scopes.`)
    if (demandsClaims) warn('name', `The claims that routes demand are taken from ${name} as well. Demand iss too, where they are to be of one issuer.`)
    if (told.length > 0) warn('name', `What upstreams are told as ${told.join(', ')} is what ${name} says, in words of its users perhaps. An upstream must know people by sub alone.`)
    if (trusted.tokenTypes.includes('id-token')) warn('tokenTypes', 'An ID token is made for a client to read, and reaches places that an access token does not. Have the issuer make access tokens.')
    if (!storage.startsWith('sqlite:') && trusted.keys.file === undefined) warnings.push({ path: ['trustedIssuers', index, 'keys'], message: `A restart while ${name} is down begins without its keys. Name a keys.file that outlives the process.` })
    return warnings
  })
}
