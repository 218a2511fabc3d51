/** A second process on the same storage; its words are those of writing.process.ts. */
import { spawn, type ChildProcess } from 'node:child_process'
import { processFile } from '../helpers/process-file.ts'

export function anotherProcess (...words: string[]): ChildProcess & { readonly firstLine: Promise<string>, readonly exit: Promise<number | null> } {
  const child = spawn(process.execPath, [processFile('sessions/writing.process'), ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = new Promise<number | null>((resolve) => { child.on('exit', resolve) })
  const firstLine = new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\n')) resolve(text.split('\n')[0] ?? '')
    })
    void exit.then(() => { reject(new Error('it ended without a line')) })
  })
  firstLine.catch(() => {})
  return Object.assign(child, { firstLine, exit })
}
