/** What is wrong in a configuration, where it stands, and what would be right. Never with a value that could be a secret. */

/** Keys and indices from the top of the file. */
export type KeyPath = readonly (string | number)[]

export interface ConfigFault {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly column: number
  /** As in `routes[0].access`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
}

export function pathText (path: KeyPath): string {
  return path.map((part, index) => typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`).join('')
}

export function faultText ({ file, line, column, path, message }: ConfigFault): string {
  return `${file}:${line}:${column} ${path === '' ? '' : `${path}: `}${message}`
}

/** The candidate that a slip of the pen away from `word`; undefined when none is near. */
export function nearest (word: string, candidates: readonly string[]): string | undefined {
  const distances = candidates.map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
  const [best] = distances.sort((one, other) => one.distance - other.distance)
  return best !== undefined && best.distance <= Math.max(1, Math.floor(word.length / 3)) ? best.candidate : undefined
}

/** Optimal string alignment: two neighbours that changed places are one slip, not two. */
function editDistance (one: string, other: string): number {
  const rows: number[][] = [Array.from({ length: other.length + 1 }, (_, index) => index)]
  const at = (i: number, j: number) => rows[i]?.[j] ?? Infinity
  for (let i = 1; i <= one.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= other.length; j++) {
      const replaced = at(i - 1, j - 1) + (one[i - 1] === other[j - 1] ? 0 : 1)
      const swapped = one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1] ? at(i - 2, j - 2) + 1 : Infinity
      row.push(Math.min(replaced, swapped, at(i - 1, j) + 1, at(i, j - 1) + 1))
    }
  }
  return at(one.length, other.length)
}
