/** A file system of its own, small enough to be filled: a tmpfs, for which one must be root, or may become it by sudo without a password. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, rmdirSync, writeSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

export interface SmallDisk {
  readonly folder: string
  /** To the last byte. */
  fill (): void
  empty (): void
  /** Only while nobody has a file of it open for writing. */
  setReadOnly (readOnly: boolean): void
}

interface Test {
  teardown (handler: () => Promise<void> | void): void
}

/** null where nobody may mount. Gone with the test; `inSize`: as of `mount`. */
export function mountSmallDisk (t: Test, inSize: string): SmallDisk | null {
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-disk-'))
  try {
    asRoot('mount', '-t', 'tmpfs', '-o', `size=${inSize},mode=0777`, 'gatewarden-test', folder)
  } catch {
    rmdirSync(folder)
    return null
  }
  const unmount = () => {
    asRoot('umount', '--lazy', folder)
    rmdirSync(folder)
  }
  // A runner that ends this process early leaves no mount behind.
  process.on('exit', unmount)
  t.teardown(() => {
    process.removeListener('exit', unmount)
    unmount()
  })
  const ballast = join(folder, 'ballast')
  return {
    folder,
    fill () {
      const file = openSync(ballast, 'a')
      try {
        for (const size of [65_536, 1_024, 1]) fillBy(file, size)
      } finally {
        closeSync(file)
      }
    },
    empty () { rmSync(ballast) },
    setReadOnly (readOnly) { asRoot('mount', '-o', `remount,${readOnly ? 'ro' : 'rw'}`, folder) },
  }
}

function fillBy (file: number, size: number): void {
  try {
    while (writeSync(file, Buffer.alloc(size)) > 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}

function asRoot (command: string, ...args: readonly string[]): void {
  const [file = command, ...rest] = userInfo().uid === 0 ? [command, ...args] : ['sudo', '-n', command, ...args]
  execFileSync(file, rest, { stdio: 'pipe' })
}
