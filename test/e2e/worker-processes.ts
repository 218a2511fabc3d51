/** What an operator sees of a gateway's workers. */
import { execFileSync } from 'node:child_process'
import type { Running } from '../cli/running-cli.ts'

export function workersOf ({ child }: Running): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(child.pid)], { encoding: 'utf8' }).trim().split('\n').map(Number)
  } catch {
    // None: pgrep ends with 1.
    return []
  }
}

export const isDeath = ({ msg }: Record<string, unknown>): boolean => msg === 'a worker has died; another takes its place'

/** All lines of a kind, as soon as there are so many. */
export async function lines (running: Running, isOne: (line: Record<string, unknown>) => boolean, count: number): Promise<Record<string, unknown>[]> {
  await running.line(() => running.log.filter(isOne).length >= count)
  return running.log.filter(isOne)
}
