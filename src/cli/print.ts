/** How a command answers on stdout: lines, tables, JSON. */
import { once } from 'node:events'

export function print (line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printJson (value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

/** As printJson prints a list, a page of it at a time and as fast as it is read. */
export async function printJsonPages (pages: AsyncIterable<readonly unknown[]>): Promise<void> {
  let before = '['
  for await (const page of pages) {
    if (page.length === 0) continue
    await write(before + JSON.stringify(page, null, 2).slice('['.length, -'\n]'.length))
    before = ','
  }
  await write(before === '[' ? '[]\n' : '\n]\n')
}

/** Columns as wide as their widest cell. Cells lose what could move a terminal's cursor. */
export function printTable (head: readonly string[], rows: readonly (readonly string[])[]): void {
  for (const line of linesOf([head, ...rows], head.map(() => 0)).lines) print(line)
}

/** As printTable, a page at a time and as fast as it is read: a wider cell of a later page widens its column from there on. */
export async function printTablePages (head: readonly string[], pages: AsyncIterable<readonly (readonly string[])[]>): Promise<void> {
  let pending = [head]
  let widest: readonly number[] = head.map(() => 0)
  for await (const page of pages) {
    const { lines, widths } = linesOf([...pending, ...page], widest)
    pending = []
    widest = widths
    await write(lines.map((line) => `${line}\n`).join(''))
  }
  for (const line of linesOf(pending, widest).lines) print(line)
}

function linesOf (rows: readonly (readonly string[])[], atLeast: readonly number[]): { readonly lines: readonly string[], readonly widths: readonly number[] } {
  const all = rows.map((row) => row.map(plain))
  const widths = atLeast.map((width, column) => all.reduce((most, row) => Math.max(most, [...row[column] ?? ''].length), width))
  return { widths, lines: all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()) }
}

/** Resolves when more can be taken: what is printed faster than it is read would all be kept in memory. */
async function write (text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
}

function plain (text: string): string {
  return text.replace(/\p{C}/gu, '\ufffd')
}
