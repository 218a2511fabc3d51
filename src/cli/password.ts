/** Where a new password comes from: standard input when told so, a hidden prompt on a terminal, never the command line. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { UsageFault } from './failure.ts'

/** Throws a UsageFault when there is nobody to ask. */
export async function readPassword (options: { readonly passwordStdin?: true }): Promise<string> {
  if (options.passwordStdin === true) return withoutLineEnd(await readStdin())
  if (!process.stdin.isTTY || !process.stderr.isTTY) throw new UsageFault('error: there is no terminal to ask for the password on; pipe it in, and say --password-stdin')
  const [password, again] = await ask('Password: ', 'Again: ')
  if (password === undefined || again === undefined) throw new UsageFault('error: no password was given; nothing was changed')
  if (password !== again) throw new UsageFault('error: the two passwords differ; nothing was changed')
  return password
}

/** Throws a UsageFault for bytes that are no UTF-8: what they would be taken for, nobody could type at a login. */
export async function readStdin (): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new UsageFault('error: what came on standard input is not UTF-8')
  }
}

/** `echo` and files end a line that is no part of what they hold. */
export function withoutLineEnd (text: string): string {
  return text.replace(/\r?\n$/, '')
}

/** A line each, fewer after Ctrl-C or Ctrl-D. On stderr, so that stdout holds the answer alone; what is typed is not shown. */
async function ask (...questions: readonly string[]): Promise<string[]> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => { done() } })
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 })
  terminal.once('SIGINT', () => { terminal.close() })
  const lines = terminal[Symbol.asyncIterator]()
  const answers: string[] = []
  try {
    for (const question of questions) {
      process.stderr.write(question)
      const line = await lines.next()
      process.stderr.write('\n')
      if (line.done === true) break
      answers.push(line.value)
    }
  } finally {
    terminal.close()
  }
  return answers
}
