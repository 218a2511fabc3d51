/** Where a password comes from: typed twice and unseen at a terminal, else from standard input. Never from an argument. */
import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { StartupFault } from '../errors.ts'
import { UsageFault, type Io } from './io.ts'

/** Throws a UsageFault where nobody can be asked, and a StartupFault for an answer that will not do. */
export async function readPassword (io: Pick<Io, 'stdin' | 'stderr'>, from: 'stdin' | 'terminal'): Promise<string> {
  if (from === 'stdin') return await readAll(io.stdin)
  if (io.stdin.isTTY !== true) throw new UsageFault('there is no terminal to ask for the password at; send it to standard input, with --password-stdin')
  return await askTwice(io)
}

/** Without the newline that echo and files put at its end. */
async function readAll (stdin: Io['stdin']): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stdin as AsyncIterable<Buffer | string>) chunks.push(Buffer.from(chunk))
  const bytes = Buffer.concat(chunks)
  const password = bytes.toString('utf8').replace(/\r?\n$/, '')
  if (!Buffer.from(bytes.toString('utf8')).equals(bytes)) throw new StartupFault('the password on standard input is not UTF-8')
  if (password === '') throw new StartupFault('there is no password on standard input')
  return password
}

async function askTwice ({ stdin, stderr }: Pick<Io, 'stdin' | 'stderr'>): Promise<string> {
  // In raw mode readline does the echoing, and this is where it goes.
  const nowhere = new Writable({ write (_chunk, _encoding, done) { done() } })
  const lines = createInterface({ input: stdin, output: nowhere, terminal: true, historySize: 0 })
  try {
    const password = await ask(lines, stderr, 'Password: ')
    if (password === '') throw new StartupFault('there is no password without characters')
    if (await ask(lines, stderr, 'Again: ') !== password) throw new StartupFault('the two passwords differ; nothing was changed')
    return password
  } finally {
    lines.close()
  }
}

async function ask (lines: Interface, stderr: Writable, question: string): Promise<string> {
  stderr.write(question)
  try {
    return await new Promise<string>((resolve, reject) => {
      const stop = () => { reject(new StartupFault('no password was given; nothing was changed')) }
      lines.once('SIGINT', stop).once('close', stop).once('line', (line) => {
        lines.off('SIGINT', stop).off('close', stop)
        resolve(line)
      })
    })
  } finally {
    stderr.write('\n')
  }
}
