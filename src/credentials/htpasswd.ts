/** An Apache htpasswd file as a credential source: reread when it changes, and kept as it was when that fails. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { StartupFault } from '../errors.ts'
import type { CredentialSource, Subject } from './credential-source.ts'
import { kindOf, readHash } from './hash-kinds.ts'
import type { PasswordHasher } from './password-hash.ts'
import { nameKey } from './user-name.ts'

export interface HtpasswdOptions {
  /** Stands before the users' ids. */
  readonly name?: string
  readonly file: string
  /** Of every user of this file. */
  readonly roles: readonly string[]
  readonly hasher: PasswordHasher
  readonly warn: (message: string) => void
  readonly now: () => number
}

/** Milliseconds that whoever writes into the file itself may take for it. */
const SETTLING = 500

interface Entry { readonly name: string, readonly hash: string }

interface Content {
  readonly entries: ReadonlyMap<string, Entry>
  /** The hash that takes longest: what a decoy is like. */
  readonly slowest: string | undefined
  /** The lines that were passed over, and why. */
  readonly faults: readonly string[]
  readonly version: Version
}

interface Version {
  /** What tells one state of the file from another. */
  readonly text: string
  readonly inode: bigint
  /** Milliseconds. */
  readonly modifiedAt: number
}

/** Throws a StartupFault when the file cannot be read at the start. */
export function openHtpasswd ({ name: sourceName = 'htpasswd', file, roles, hasher, warn, now }: HtpasswdOptions): CredentialSource {
  let content = first()
  /** The state that could not be taken: said once, and not at each login. */
  let broken: string | null = null

  function first (): Content {
    try {
      return taken(read(versionOf(file)))
    } catch (error) {
      throw new StartupFault(`the htpasswd file cannot be read: ${file}; it must be there, and readable for this user`, { cause: error })
    }
  }

  /** `version` is older than what is read, if anything: then the next look reads again. */
  function read (version: Version): Content {
    return { ...parse(readFileSync(file, 'utf8')), version }
  }

  function taken (next: Content): Content {
    for (const fault of next.faults) warn(`${file}: ${fault}`)
    return next
  }

  /**
   * Tools that write into the file itself, and not beside it, empty it first: whoever refreshed just then would be taken for
   * removed, and their session ended for good. What was put in its place as a whole is taken at once.
   */
  function mayBeHalfWritten ({ version: { inode, modifiedAt }, entries }: Content): boolean {
    const age = now() - modifiedAt
    return inode === content.version.inode && age >= 0 && age < SETTLING && [...content.entries.keys()].some((key) => !entries.has(key))
  }

  function keep (state: string, why: string): void {
    if (broken !== state) warn(`${file} ${why}; the users before stay as they were`)
    broken = state
  }

  function current (): Content {
    let state = 'missing'
    try {
      const version = versionOf(file)
      state = version.text
      if (state === content.version.text || state === broken) return content
      const next = read(version)
      if (mayBeHalfWritten(next)) return content
      // An empty file has no users; one with lines, but none that is a user, is no htpasswd file.
      if (next.entries.size === 0 && next.faults.length > 0) keep(state, 'has no line that is a user')
      else {
        content = taken(next)
        broken = null
      }
    } catch {
      keep(state, 'cannot be read')
    }
    return content
  }

  const subjectOf = (key: string, { name, hash }: Entry): Subject => ({
    id: `${sourceName}:${key}`,
    name,
    roles,
    scopes: [],
    attributes: {},
    credentialTag: createHash('sha256').update(hash).digest('base64url'),
  })

  return {
    name: sourceName,
    assertRoom: hasher.assertRoom,
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
      if (!subjectId.startsWith(`${sourceName}:`)) return null
      const key = subjectId.slice(sourceName.length + 1)
      const entry = current().entries.get(key)
      return entry === undefined ? null : subjectOf(key, entry)
    },
    async close () {},
  }
}

function versionOf (file: string): Version {
  const { mtimeNs, mtimeMs, ctimeNs, size, ino } = statSync(file, { bigint: true })
  return { text: `${mtimeNs} ${ctimeNs} ${size} ${ino}`, inode: ino, modifiedAt: Number(mtimeMs) }
}

function parse (text: string): Omit<Content, 'version'> {
  const entries = new Map<string, Entry>()
  const faults: string[] = []
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return
    const colon = line.indexOf(':')
    const [name, hash] = [line.slice(0, colon), line.slice(colon + 1).trim()]
    if (colon < 1 || kindOf(hash) === null) {
      faults.push(`line ${index + 1} is passed over: it needs a name, a colon, and a hash of bcrypt, sha-crypt, apr1, {SHA} or argon2 (DES crypt and plain text are not taken)`)
      return
    }
    if (entries.has(nameKey(name))) faults.push(`line ${index + 1} is passed over: the name stands above already`)
    else entries.set(nameKey(name), { name, hash })
  })
  return { entries, faults, slowest: [...entries.values()].map(({ hash }) => hash).sort((one, other) => cost(other) - cost(one))[0] }
}

function cost (hash: string): number {
  const read = readHash(hash)
  return 'fault' in read ? 0 : read.cost
}
