/** What a process has used so far, its threads and children included. Linux alone. */
import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ, which Linux fixes at 100 for everything it tells of in /proc. */
const ticksPerSecond = 100

/** Microseconds of CPU, user and system, of these processes and of all their living descendants. */
export function cpuMicroseconds (pids: readonly number[]): number {
  let ticks = 0
  for (const pid of withDescendants(pids)) {
    const fields = statOf(pid)
    if (fields !== null) ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / ticksPerSecond * 1_000_000
}

/** Megabytes of memory that these processes and their descendants have in RAM. */
export function residentMegabytes (pids: readonly number[]): number {
  let kilobytes = 0
  for (const pid of withDescendants(pids)) {
    try {
      kilobytes += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
    } catch {
      // It has ended.
    }
  }
  return kilobytes / 1024
}

function withDescendants (pids: readonly number[]): Set<number> {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const fields = /^\d+$/.test(name) ? statOf(Number(name)) : null
    if (fields !== null) parents.set(Number(name), Number(fields[1]))
  }
  const all = new Set(pids)
  for (let before = -1; before !== all.size;) {
    before = all.size
    for (const [pid, parent] of parents) if (all.has(parent)) all.add(pid)
  }
  return all
}

/** From `state` on, as proc(5) lists them: the name before it may hold spaces. */
function statOf (pid: number): readonly string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}
