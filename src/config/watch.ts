/** Notices when a configuration's files have changed: by looking, as a Kubernetes volume swaps links under them. */
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
  let known = contentOf(followed)
  let pending: Content | null = null
  const timer = setInterval(() => {
    const content = contentOf(followed)
    if (isSame(content, known)) {
      pending = null
    } else if (pending !== null && isSame(content, pending)) {
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
      known = contentOf(followed)
      pending = null
    },
    close () { clearInterval(timer) },
  }
}

/** null for a file that is not there. */
type Content = readonly (Buffer | null)[]

function contentOf (files: readonly string[]): Content {
  return files.map((file) => {
    try {
      return readFileSync(file)
    } catch {
      return null
    }
  })
}

function isSame (one: Content, other: Content): boolean {
  return one.length === other.length && one.every((file, index) => {
    const twin = other[index] ?? null
    return file === null || twin === null ? file === twin : file.equals(twin)
  })
}
