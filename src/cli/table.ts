/** Rows as aligned lines, for people. Programs get --json. */

export function table (head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const printable = [head, ...rows].map((row) => row.map((cell) => cell === '' ? '-' : cell))
  const widths = head.map((_, column) => Math.max(...printable.map((row) => width(row[column]))))
  return printable.map((row) => row.map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - width(cell))).join('  ').trimEnd())
}

function width (cell = ''): number {
  return [...cell].length
}
