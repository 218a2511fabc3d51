/** Notices when a configuration's files have changed: by looking, as a Kubernetes volume swaps links under them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

export interface ConfigWatch {
  /** From now on these files. */
  follow (files: readonly string[]): void
  close (): void
}

/**
 * Calls back after the content of a file has changed and stayed the same for one look. fs.watch would see the first swap of a
 * ConfigMap's `..data` link, and miss the second: it goes on watching a folder that is gone.
 */
export function watchFiles (files: readonly string[], onChange: () => void, interval = 1_000): ConfigWatch {
  let followed = files
  let known = contentHash(followed)
  let pending: string | null = null
  const timer = setInterval(() => {
    const content = contentHash(followed)
    if (content === known) {
      pending = null
    } else if (content === pending) {
      known = content
      pending = null
      onChange()
    } else {
      // Perhaps half written still: believed when the next look sees the same.
      pending = content
    }
  }, interval)
  timer.unref()
  return {
    follow (next) {
      followed = next
      known = contentHash(followed)
      pending = null
    },
    close () { clearInterval(timer) },
  }
}

function contentHash (files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) {
    hash.update(file).update('\0')
    try {
      hash.update(readFileSync(file))
    } catch {
      hash.update('\0missing')
    }
  }
  return hash.digest('base64')
}
