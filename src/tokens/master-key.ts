/** The one secret above the database: where it comes from, the keys derived from it, and what is sealed under those. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, fsyncSync, linkSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { StartupFault } from '../errors.ts'
import { step } from '../steps.ts'

export interface MasterKey {
  /** Where it was found, in an operator's words: for the fault that says it does not fit. */
  readonly source: string
  /** A key for one purpose (HKDF-SHA256, RFC 5869): one tells nothing of another. `length` in bytes, 32 by default. */
  derive (purpose: string, length?: number): Buffer
}

export interface OpenedMasterKey {
  readonly masterKey: MasterKey
  /** The file that was made just now; null when there was a key already. */
  readonly created: string | null
  /** What is allowed but unwise about it; for the log. */
  readonly warning: string | null
}

const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const remedy = 'make one with: node -p "crypto.randomBytes(32).toString(\'base64url\')"'

/**
 * The configured key, or that of the file beside the data, which the first start makes. Two processes that start at the same
 * time end up with the same file. Throws a StartupFault for a key of the wrong form and for a file that others may read.
 */
export function openMasterKey (options: { configured: string | undefined, fileBesideData: string | null }): OpenedMasterKey {
  const { configured, fileBesideData } = options
  if (configured !== undefined) {
    const source = 'keys.masterKey (GATEWARDEN_MASTER_KEY)'
    return { masterKey: masterKeyOf(parseKey(configured, source), source), created: null, warning: null }
  }
  if (fileBesideData === null) {
    throw new StartupFault(`There is no master key, and no folder of data to keep one beside: set keys.masterKey or GATEWARDEN_MASTER_KEY; ${remedy}`)
  }
  const present = readKeyFile(fileBesideData)
  if (present !== null) {
    removeDrafts(fileBesideData)
    return { ...present, created: null }
  }
  const ours = createKeyFile(fileBesideData)
  const made = readKeyFile(fileBesideData)
  if (made === null) throw new StartupFault(`The master key file ${fileBesideData} vanished while it was being made: start again, with one process at a time removing files there`)
  return { ...made, created: ours ? fileBesideData : null }
}

/** AES-256-GCM; base64url of nonce ‖ ciphertext ‖ tag. What the associated data says is part of the seal. */
export function seal (key: Buffer, plaintext: string, associatedData: string): string {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
  cipher.setAAD(Buffer.from(associatedData))
  return Buffer.concat([nonce, cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

/** The plaintext, or null when key, associated data or a single bit of it is not what it was sealed with. */
export function open (key: Buffer, sealed: string, associatedData: string): string | null {
  const bytes = Buffer.from(sealed, 'base64url')
  if (bytes.length < nonceBytes + tagBytes) return null
  // A shorter tag would be easier to forge (CVE-class of truncated GCM tags): its length is fixed on both sides.
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(associatedData))
  decipher.setAuthTag(bytes.subarray(-tagBytes))
  try {
    return decipher.update(bytes.subarray(nonceBytes, -tagBytes), undefined, 'utf8') + decipher.final('utf8')
  } catch {
    return null
  }
}

function masterKeyOf (key: Buffer, source: string): MasterKey {
  return {
    source,
    derive: (purpose, length = keyBytes) => Buffer.from(hkdfSync('sha256', key, 'gatewarden', `gatewarden/v1/${purpose}`, length)),
  }
}

function parseKey (text: string, source: string): Buffer {
  const written = text.trim()
  const key = Buffer.from(written, 'base64url')
  // Node skips what is not in the alphabet; a key that was cut or garbled must not pass for another one.
  if (key.toString('base64url') !== written.replace(/=$/, '')) throw new StartupFault(`${source} is not base64url: it must be 32 bytes in base64url (43 characters of A–Z a–z 0–9 - _); ${remedy}`)
  if (key.length !== keyBytes) throw new StartupFault(`${source} holds ${key.length} bytes: it must be 32 bytes in base64url (43 characters); ${remedy}`)
  return key
}

function readKeyFile (path: string): { masterKey: MasterKey, warning: string | null } | null {
  const source = `the master key file ${path}`
  const file = openExisting(path)
  if (file === null) return null
  try {
    const { mode, size } = fstatSync(file)
    if (size > 1024) throw new StartupFault(`${source} holds ${size} bytes: it must be 32 bytes in base64url (43 characters)`)
    const posix = process.platform !== 'win32'
    if (posix && (mode & 0o007) !== 0) {
      throw new StartupFault(`${source} is open to every user of this machine (mode ${octal(mode)}): run chmod 600 ${path}, and if others work here, consider its keys known to them`)
    }
    // Kubernetes gives the group of a volume (`fsGroup`) access to every file at each mount: a reason to say so, not to stay down.
    const warning = posix && (mode & 0o070) !== 0 ? `${source} is open to its group (mode ${octal(mode)}): it should be 0600` : null
    const text = Buffer.alloc(size)
    const read = readSync(file, text, 0, size, 0)
    return { masterKey: masterKeyOf(parseKey(text.toString('latin1', 0, read), source), source), warning }
  } finally {
    closeSync(file)
  }
}

/** Writes elsewhere first and links it into place: a half-written key is never seen, and of two processes one wins. */
function createKeyFile (path: string): boolean {
  const draft = `${path}.${process.pid}.${randomBytes(6).toString('hex')}`
  try {
    const file = openSync(draft, 'wx', 0o600)
    try {
      writeSync(file, `${randomBytes(keyBytes).toString('base64url')}\n`)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    step('master key: draft written')
    try {
      linkSync(draft, path)
    } catch (error) {
      // Another process was quicker; if it has removed this draft already, all the more.
      if (['EEXIST', 'ENOENT'].includes(codeOf(error))) return false
      throw error
    } finally {
      rmSync(draft, { force: true })
    }
    removeDrafts(path)
    syncFolder(dirname(path))
    step('master key: in place')
    return true
  } catch (error) {
    throw new StartupFault(`The master key file ${path} cannot be made (${codeOf(error)}): make its folder writable, on a file system with hard links, or set GATEWARDEN_MASTER_KEY`, { cause: error })
  }
}

/** A process that died while it made the key leaves its draft, and that may be the key itself. To be called when there is a key. */
function removeDrafts (path: string): void {
  const isDraft = (file: string) => file.startsWith(`${basename(path)}.`) && /\.\d+\.[0-9a-f]{12}$/.test(file)
  try {
    for (const file of readdirSync(dirname(path)).filter(isDraft)) rmSync(join(dirname(path), file), { force: true })
  } catch {
    // A folder that takes no writes now is no reason to stay down; a later start tries again.
  }
}

/** A key that is lost by a power cut loses everything sealed under it, so its name must be on the disk too. */
function syncFolder (folder: string): void {
  if (process.platform === 'win32') return
  const handle = openSync(folder, constants.O_RDONLY)
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function openExisting (path: string): number | null {
  try {
    return openSync(path, constants.O_RDONLY)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw new StartupFault(`The master key file ${path} cannot be read (${codeOf(error)}): give it to the user that the gateway runs as`, { cause: error })
  }
}

function octal (mode: number): string {
  return `0${(mode & 0o777).toString(8)}`
}

function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown error'
}
