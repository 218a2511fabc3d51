/** The key ring read from a folder of PEM files, such as a mounted Kubernetes Secret: the last name signs, all verify. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFile, readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { StartupFault } from '../errors.ts'
import type { AsymmetricAlgorithm } from './algorithms.ts'
import { algorithmFor, materialOf, type KeyMaterial } from './key-material.ts'
import type { KeyRing, SigningKey } from './key-ring.ts'

interface Keys {
  readonly signing: SigningKey
  readonly byKid: ReadonlyMap<string, KeyMaterial>
}

/** Names that are read. Certificates (`tls.crt`, `ca.crt`) are not: the key of a CA must never verify a token. */
const keyFile = /^[^.].*\.(?:pem|key|pub)$|^[^.]+$/
const largestFile = 64 * 1024

/** Throws a StartupFault, with the file's name, for whatever is not a key of a usable type. */
export async function openKeyDirectory (options: { algorithm: AsymmetricAlgorithm, directory: string }): Promise<KeyRing> {
  const { algorithm, directory } = options
  const listeners = new Set<() => void>()
  let keys = await readKeys(directory, algorithm)
  let readings = 0
  let latest = 0

  async function reload (): Promise<void> {
    const reading = ++readings
    const found = await readKeys(directory, algorithm)
    if (reading < latest) return
    latest = reading
    const same = found.signing.kid === keys.signing.kid && found.byKid.size === keys.byKid.size && [...found.byKid.keys()].every((kid) => keys.byKid.has(kid))
    if (same) return
    keys = found
    for (const listener of listeners) listener()
  }

  return {
    signingKey: () => keys.signing,
    verifyingKey: (kid) => keys.byKid.get(kid)?.verifying,
    publicKeys () {
      return [...keys.byKid.values()]
        .sort((one, other) => Number(other.kid === keys.signing.kid) - Number(one.kid === keys.signing.kid))
        .map((key) => key.publicJwk)
    },
    list () {
      return [...keys.byKid.values()].map((key) => ({
        kid: key.kid,
        algorithm: key.algorithm,
        state: key.kid === keys.signing.kid ? 'signing' as const : 'retired' as const,
        createdAt: null,
        activatesAt: null,
        expiresAt: null,
      }))
    },
    async rotate () {
      throw new StartupFault(`The keys are the files of ${directory}: put a PEM file there whose name sorts after the others, and remove the old one when the last access token has expired`)
    },
    maintain: reload,
    reload,
    onChange (listener) {
      listeners.add(listener)
    },
    close () {
      listeners.clear()
    },
  }
}

async function readKeys (directory: string, algorithm: AsymmetricAlgorithm): Promise<Keys> {
  const files = await readFiles(directory)
  const byKid = new Map<string, KeyMaterial>()
  let signer: { file: string, material: KeyMaterial } | null = null
  for (const { file, text } of files) {
    const key = parseKey(file, text)
    const served = algorithmFor(key, algorithm)
    if ('fault' in served) throw new StartupFault(`${file} ${served.fault}`)
    const material = await materialOf(key, served.algorithm, 'others-too')
    if (material.signing !== null) signer = { file, material }
    // The pair of a key wins over its public half, which may lie beside it.
    if (material.signing !== null || !byKid.has(material.kid)) byKid.set(material.kid, material)
  }
  if (signer === null) throw new StartupFault(`${directory} holds no private key: put a PEM file (PKCS #8) there, named *.pem or *.key`)
  const { file, material } = signer
  if (material.signing === null || material.algorithm !== algorithm) {
    throw new StartupFault(`${file} is the last private key by name, so it signs, but it is a key for ${material.algorithm} and accessToken.algorithm is ${algorithm}: change one of them`)
  }
  return { signing: material.signing, byKid }
}

/** In the order of their names (by code unit, the same everywhere). */
async function readFiles (directory: string): Promise<{ file: string, text: string }[]> {
  try {
    // Kubernetes swaps the link `..data`: read through it once, and all files are of one version.
    const folder = await realpath(join(directory, '..data')).catch(() => directory)
    const entries = await readdir(folder, { withFileTypes: true })
    const names = entries.filter((entry) => keyFile.test(entry.name) && !entry.isDirectory()).map((entry) => entry.name).sort()
    return await Promise.all(names.map(async (name) => {
      const file = join(directory, name)
      const text = await readFile(join(folder, name), 'latin1')
      if (text.length > largestFile) throw new StartupFault(`${file} holds ${text.length} bytes: it is no PEM key`)
      return { file, text }
    }))
  } catch (error) {
    if (error instanceof StartupFault) throw error
    throw new StartupFault(`keys.directory ${directory} cannot be read: ${error instanceof Error ? error.message : 'unknown error'}`, { cause: error })
  }
}

/** Exactly one key a file; certificates beside it are passed over (cert-manager's `tls-combined.pem`). */
function parseKey (file: string, text: string): KeyObject {
  const blocks = [...text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s:,-]*?-----END \1-----/g)]
    .map((match) => ({ label: match[1] ?? '', pem: match[0] }))
    .filter(({ label }) => label !== 'CERTIFICATE' && label !== 'EC PARAMETERS')
  const [block] = blocks
  if (block === undefined) throw new StartupFault(`${file} holds no key in PEM form: put a PKCS #8 private key or a public key there, or move the file elsewhere`)
  if (blocks.length > 1) throw new StartupFault(`${file} holds ${blocks.length} keys: put each into a file of its own`)
  if (block.label === 'ENCRYPTED PRIVATE KEY' || block.pem.includes('Proc-Type:')) {
    throw new StartupFault(`${file} is encrypted with a passphrase: decrypt it with openssl pkcs8 -topk8 -nocrypt, and guard it by its mode`)
  }
  try {
    if (block.label.endsWith('PRIVATE KEY')) return createPrivateKey(block.pem)
    if (block.label.endsWith('PUBLIC KEY')) return createPublicKey(block.pem)
  } catch (error) {
    // The library's message is dropped: it may quote the file.
    throw new StartupFault(`${file} holds a ${block.label} that cannot be read`, { cause: error })
  }
  throw new StartupFault(`${file} holds a ${block.label}: put a PKCS #8 private key or a public key there`)
}
