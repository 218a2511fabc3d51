/** Keeps other issuers' public keys for a reload and for a restart during an outage: in memory, and in a file each that nobody else can write. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { TrustedIssuerConfig } from '../config/schema.ts'
import { readStrictJson } from './strict-json.ts'

export interface KeptKeys {
  readonly issuer: string
  /** As configured: keys that came from another place are not taken up. */
  readonly jwksUri: string | null
  /** Milliseconds since the epoch. */
  readonly fetchedAt: number
  /** JWKs, public members alone. */
  readonly keys: readonly unknown[]
}

export interface KeyKeeper {
  /** Null for none, and for a file that is not as it was written. Never rejects. */
  kept (trusted: TrustedIssuerConfig): Promise<KeptKeys | null>
  keep (kept: KeptKeys): void
  /** Resolves when all that was to be kept has been written. */
  flush (): Promise<void>
}

export interface KeyKeeperOptions {
  /** Folder beside the data; null where there is none. */
  readonly folder: string | null
  /** What a file is signed with: whoever can write the folder, and does not have this, can plant no key. */
  readonly macKey: Buffer
  readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void
}

const largestFile = 512 * 1024

/** Beside the SQLite file; a database elsewhere has no folder here. */
export function issuerKeyFolder (storage: string): string | null {
  return storage.startsWith('sqlite:') ? join(dirname(storage.slice('sqlite:'.length)), 'issuer-keys') : null
}

export function createKeyKeeper ({ folder, macKey, warn }: KeyKeeperOptions): KeyKeeper {
  const memory = new Map<string, KeptKeys>()
  const files = new Map<string, string>()
  let writing: Promise<void> = Promise.resolve()

  function fileOf ({ name, keys }: TrustedIssuerConfig): string | null {
    return keys.file ?? (folder === null ? null : join(folder, `${name}.json`))
  }

  function macOf (content: string): Buffer {
    return createHmac('sha256', macKey).update(content).digest()
  }

  async function read (file: string): Promise<KeptKeys | null> {
    const text = await readSmall(file)
    if (text === null) return null
    const json = readStrictJson(text)
    const { mac, ...content } = ('value' in json ? json.value ?? {} : {}) as Record<string, unknown>
    // An object's members keep their order, so this is the text that was signed.
    const sound = typeof mac === 'string' && isSame(Buffer.from(mac, 'base64url'), macOf(JSON.stringify(content)))
    if (!sound) {
      warn({ file }, 'the kept keys of a trusted issuer are not as they were written, and are passed over')
      return null
    }
    // A cast: only our own hand writes under this signature.
    return content as unknown as KeptKeys
  }

  async function readOrWarn (file: string | null): Promise<KeptKeys | null> {
    if (file === null) return null
    try {
      return await read(file)
    } catch (error) {
      warn({ file, cause: error }, 'the kept keys of a trusted issuer cannot be read')
      return null
    }
  }

  return {
    async kept (trusted) {
      const { issuer, jwksUri = null } = trusted
      const file = fileOf(trusted)
      if (file !== null) files.set(issuer, file)
      const found = memory.get(issuer) ?? await readOrWarn(file)
      return found?.issuer === issuer && found.jwksUri === jwksUri ? found : null
    },
    keep (kept) {
      memory.set(kept.issuer, kept)
      const file = files.get(kept.issuer)
      if (file === undefined) return
      const content = JSON.stringify(kept)
      const text = JSON.stringify({ ...kept, mac: macOf(content).toString('base64url') })
      writing = writing.then(() => write(file, text)).catch((error: unknown) => {
        warn({ file, cause: error }, 'the keys of a trusted issuer cannot be kept: a restart while it is down would begin without them')
      })
    },
    flush: () => writing,
  }
}

async function readSmall (file: string): Promise<Buffer | null> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  })
  if (handle === null) return null
  try {
    const { size } = await handle.stat()
    if (size > largestFile) return null
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

/** Elsewhere first, then into place: a half-written file is never seen. */
async function write (file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${process.pid}.${randomBytes(6).toString('hex')}`
  try {
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(draft, file)
  } catch (error) {
    await unlink(draft).catch(() => {})
    throw error
  }
}

function isSame (one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}
