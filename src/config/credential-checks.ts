/** What must hold between the credential sources, and what of them is allowed but dangerous. */
import type { CrossFault } from './cross-checks.ts'
import type { KeyPath } from './fault.ts'
import type { ConfigWarning } from './lint.ts'
import { isLoopback } from './loopback.ts'
import type { Config } from './schema.ts'

export function checkCredentials ({ credentials }: Config): CrossFault[] {
  const faults: CrossFault[] = []
  credentials.forEach((source, index) => {
    const name = source.name ?? source.type
    const first = credentials.findIndex((other) => (other.name ?? other.type).toLowerCase() === name.toLowerCase())
    if (first !== index) {
      faults.push({ path: ['credentials', index, source.name === undefined ? 'type' : 'name'], message: `credentials[${first}] is called ${JSON.stringify(name)} already; give each a \`name\` of its own: it tells their users apart` })
    }
    const bare = credentials.findIndex(hasBareIds)
    if (bare !== index && hasBareIds(source)) {
      faults.push({ path: ['credentials', index, source.type === 'store' ? 'type' : 'subject'], message: `credentials[${bare}] has bare ids already: one id could mean two people; \`subject: prefixed\` keeps them apart` })
    }
    if (source.type === 'http') faults.push(...checkNames(source.fields, ['credentials', index, 'fields']))
    if (source.type === 'http' && (source.tls.cert === undefined) !== (source.tls.key === undefined)) faults.push({ path: ['credentials', index, 'tls'], message: 'needs both cert and key, or neither' })
    if (source.type === 'sql') {
      faults.push(...checkNames(source.columns, ['credentials', index, 'columns']))
      if (!/\$1\b|\?/.test(source.query)) faults.push({ path: ['credentials', index, 'query'], message: 'must have the user name as its parameter: $1' })
      if (source.findQuery !== undefined && !/\$1\b|\?/.test(source.findQuery)) faults.push({ path: ['credentials', index, 'findQuery'], message: 'must have the id as its parameter: $1' })
      const missing = source.rehash === undefined ? [] : ['$1', '$2', '$3'].filter((parameter) => !new RegExp(`\\${parameter}\\b`).test(source.rehash ?? ''))
      if (missing.length > 0) faults.push({ path: ['credentials', index, 'rehash'], message: `must use $1 (the new hash), $2 (the id) and $3 (the old hash, which must still be there), as in: update users set password_hash = $1 where id = $2 and password_hash = $3; ${missing.join(' and ')} is missing` })
    }
  })
  return faults
}

/** One value may mean two things, as a login name that is the id too; not where it could then log nobody in, or end nothing. */
function checkNames (names: Readonly<Partial<Record<string, string>>>, path: KeyPath): CrossFault[] {
  return Object.entries(names).flatMap(([meaning, name]) => Object.entries(names).flatMap(([other, otherName]) => {
    if (meaning === other || name !== otherName) return []
    if (meaning === 'disabled') return [{ path, message: `disabled and ${other} are both ${JSON.stringify(name)}: whoever has ${other} would be refused` }]
    if (meaning === 'attributes' && other !== 'disabled') return [{ path, message: `attributes and ${other} are both ${JSON.stringify(name)}: an object is not ${other} too` }]
    if (meaning === 'version' && other === 'id') return [{ path, message: `version and id are both ${JSON.stringify(name)}: what never changes ends no session` }]
    return []
  }))
}

function hasBareIds (source: Config['credentials'][number]): boolean {
  return source.type === 'store' || ('subject' in source && source.subject === 'as-is')
}

export function lintCredentials ({ credentials }: Config): ConfigWarning[] {
  return credentials.flatMap((source, index) => {
    const warnings: ConfigWarning[] = []
    if (source.type === 'sql' && isPlainPostgres(source)) warnings.push({ path: ['credentials', index, 'url'], message: 'Password hashes cross the network in the clear. Use TLS: sslmode=verify-full in the URL, or `tls`.' })
    if (source.type === 'sql' && source.tls.mode === 'no-verify') warnings.push({ path: ['credentials', index, 'tls', 'mode'], message: 'Whoever is on the way can be the database, and let in whom they like. Name its CA in `tls.ca` instead.' })
    if (source.type === 'http') {
      const plain = ['url', 'findUrl'].find((key) => { const url = source[key as 'url' | 'findUrl']; return url?.startsWith('http:') === true && !isLoopback(new URL(url).hostname) })
      if (plain !== undefined) warnings.push({ path: ['credentials', index, plain], message: 'Names and passwords cross the network in the clear, and whoever is on the way can let in whom they like. Use https.' })
      if (source.secret === undefined && source.tls.cert === undefined) warnings.push({ path: ['credentials', index, 'url'], message: 'Whoever reaches this endpoint can try passwords there, without the throttle. Give it a `secret` or a client certificate to ask for.' })
      if (source.findUrl === undefined) warnings.push({ path: ['credentials', index, 'url'], message: 'Who is disabled there, or changed, stays as they were until their session ends. Give it a `findUrl`, or shorten refreshToken.lifetime.' })
    }
    return warnings
  })
}

function isPlainPostgres ({ url, tls }: Extract<Config['credentials'][number], { type: 'sql' }>): boolean {
  const host = /^postgres(?:ql)?:\/\/(?:[^/?#]*@)?(\[[^\]]*\]|[^:/?#]*)/.exec(url)?.[1] ?? ''
  if (host === '' || isLoopback(host) || tls.mode === 'verify' || tls.mode === 'no-verify' || tls.ca !== undefined || tls.cert !== undefined) return false
  return tls.mode === 'off' || !/[?&]sslmode=(?:require|verify-|no-verify)/.test(url)
}
