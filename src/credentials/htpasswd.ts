/** An Apache htpasswd file as a credential source: reread when it changes, and kept as it was when that fails. */
import { readFileSync, statSync } from 'node:fs'
import { StartupFault } from '../errors.ts'
import type { CredentialSource, Subject } from './credential-source.ts'
import { kindOf, type PasswordHasher } from './password-hash.ts'
import { nameKey } from './user-name.ts'

export interface HtpasswdOptions {
  readonly file: string
  /** Of every user of this file. */
  readonly roles: readonly string[]
  readonly hasher: PasswordHasher
  readonly warn: (message: string) => void
}

interface Entry { readonly name: string, readonly hash: string }

interface Content {
  readonly entries: ReadonlyMap<string, Entry>
  /** The hash that takes longest: what a decoy is like. */
  readonly slowest: string | undefined
  /** Lines that were passed over. */
  readonly faults: number
  /** What tells one state of the file from another. */
  readonly version: string
}

/** Throws a StartupFault when the file cannot be read at the start. */
export function openHtpasswd ({ file, roles, hasher, warn }: HtpasswdOptions): CredentialSource {
  let content = first()
  /** The version that could not be taken: said once, and not at each login. */
  let broken: string | null = null

  function first (): Content {
    try {
      return read(versionOf(file))
    } catch (error) {
      throw new StartupFault(`the htpasswd file cannot be read: ${file}; it must be there, and readable for this user`, { cause: error })
    }
  }

  /** `version` is older than what is read, if anything: then the next look reads again. */
  function read (version: string): Content {
    return { ...parse(readFileSync(file, 'utf8'), (fault) => { warn(`${file}: ${fault}`) }), version }
  }

  function keep (version: string, why: string): void {
    if (broken !== version) warn(`${file} ${why}; the users before stay as they were`)
    broken = version
  }

  function current (): Content {
    let version = 'missing'
    try {
      version = versionOf(file)
      if (version === content.version || version === broken) return content
      const next = read(version)
      // An empty file has no users; one with lines, but none that is a user, is no htpasswd file.
      if (next.entries.size === 0 && next.faults > 0) keep(version, 'has no line that is a user')
      else {
        content = next
        broken = null
      }
    } catch {
      keep(version, 'cannot be read')
    }
    return content
  }

  const subjectOf = (key: string, { name }: Entry): Subject => ({ id: `htpasswd:${key}`, name, roles, scopes: [], attributes: {} })

  return {
    name: `htpasswd:${file}`,
    async check ({ username, password }) {
      const { entries, slowest } = current()
      const key = nameKey(username)
      const entry = entries.get(key)
      if (entry === undefined) {
        await hasher.decoy(password, slowest)
        return { outcome: 'unknown' }
      }
      // As typed: the file was made by other tools, and they hash the bytes that they are given.
      const { matches } = await hasher.verify(password, entry.hash)
      if (matches) return { outcome: 'accepted', subject: subjectOf(key, entry) }
      // A cheaper hash than that of an unknown user would tell that this one is known.
      if (slowest !== undefined && cost(entry.hash) < cost(slowest)) await hasher.decoy(password, slowest)
      return { outcome: 'refused', reason: 'the password does not match' }
    },
    async decoy (password) {
      await hasher.decoy(password, current().slowest)
    },
    async find (subjectId) {
      const key = subjectId.replace(/^htpasswd:/, '')
      const entry = current().entries.get(key)
      return entry === undefined ? null : subjectOf(key, entry)
    },
    async close () {},
  }
}

function versionOf (file: string): string {
  const { mtimeNs, ctimeNs, size, ino } = statSync(file, { bigint: true })
  return `${mtimeNs} ${ctimeNs} ${size} ${ino}`
}

function parse (text: string, warn: (fault: string) => void): Omit<Content, 'version'> {
  const entries = new Map<string, Entry>()
  let faults = 0
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return
    const colon = line.indexOf(':')
    const [name, hash] = [line.slice(0, colon), line.slice(colon + 1).trim()]
    if (colon < 1 || kindOf(hash) === null) {
      faults++
      warn(`line ${index + 1} is passed over: it needs a name, a colon, and a hash of bcrypt, apr1, {SHA} or argon2 (crypt and plain text are not taken)`)
      return
    }
    if (entries.has(nameKey(name))) warn(`line ${index + 1} is passed over: the name stands above already`)
    else entries.set(nameKey(name), { name, hash })
  })
  return { entries, faults, slowest: [...entries.values()].map(({ hash }) => hash).sort((one, other) => cost(other) - cost(one))[0] }
}

/** Only their order counts. */
function cost (hash: string): number {
  switch (kindOf(hash)) {
    case 'argon2id': return 50
    case 'bcrypt': return 2 ** Number(hash.slice(4, 6))
    case 'apr1': return 2
    case 'sha1': return 1
    case null: return 0
  }
}
