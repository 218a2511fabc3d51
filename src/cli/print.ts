/** How a command answers on stdout: lines, tables, JSON. */

export function print (line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printJson (value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

/** Columns as wide as their widest cell. Cells lose what could move a terminal's cursor. */
export function printTable (head: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [head, ...rows].map((row) => row.map(plain))
  const widths = head.map((_, column) => Math.max(...all.map((row) => [...row[column] ?? ''].length)))
  for (const row of all) print(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd())
}

function plain (text: string): string {
  return text.replace(/\p{C}/gu, '\ufffd')
}
