/** dist/cli.js as a process that dies, as by kill -9, at a step of its own; or one that notes the steps it passes. */
import { once } from 'node:events'
import type { Step } from '../../src/steps.ts'
import { launch } from '../cli/built-cli.ts'
import { within } from '../helpers/within.ts'
import { orderedDeath, type Fate } from './ordered-death.ts'

export type Ending = 'killed' | 'lived'

export interface Doomed {
  /** A command, to its end. Throws where it fails by itself. */
  command (args: readonly string[], input?: string): Promise<Ending>
  /** `start`, until it is ready. */
  start (): Promise<Ending>
  /** A gateway that is up, and dies in what `act` asks of it. */
  gateway (act: (url: string) => Promise<void>): Promise<Ending>
  /** What was recorded, in order. */
  passed (): Step[]
}

/** `folder`: with a config.yaml. */
export function doomed (folder: string, fate: Fate): Doomed {
  const death = orderedDeath(folder)

  function spawn (args: readonly string[]) {
    const { child, output } = launch(args, { cwd: folder, ...death.launched })
    // Whoever is dead reads no password.
    child.stdin.on('error', () => {})
    const closed = once(child, 'close').then(([code, signal]) => {
      if (signal !== 'SIGKILL' && code !== 0) throw new Error(`${args.join(' ')} failed by itself: ${output.stderr}${output.stdout}`)
      return signal === 'SIGKILL' ? 'killed' as const : 'lived' as const
    })
    const end = async () => {
      child.kill('SIGKILL')
      await closed.catch(() => {})
    }
    return { child, output, closed, end }
  }

  /** The gateway's address once it is ready; null where it dies before. */
  async function readyUrl ({ child, output, closed }: ReturnType<typeof spawn>): Promise<string | null> {
    const ready = new Promise<string>((resolve) => {
      child.stdout.on('data', () => {
        const line = output.stdout.split('\n').find((line) => line.endsWith('"msg":"ready"}'))
        if (line !== undefined) resolve((JSON.parse(line) as { public: string }).public)
      })
    })
    return await within(60_000, Promise.race([ready, closed.then(() => null)]))
  }

  async function isAlive (url: string): Promise<boolean> {
    return await fetch(`${url}/.well-known/jwks.json`).then(({ ok }) => ok, () => false)
  }

  return {
    async command (args, input = '') {
      death.order(fate)
      const process = spawn(args)
      process.child.stdin.end(input)
      try {
        return await within(60_000, process.closed)
      } finally {
        await process.end()
      }
    },
    async start () {
      death.order(fate)
      const process = spawn(['start'])
      try {
        const url = await readyUrl(process)
        death.callOff()
        return url !== null && await isAlive(url) ? 'lived' : 'killed'
      } finally {
        await process.end()
      }
    },
    async gateway (act) {
      const process = spawn(['start'])
      try {
        const url = await readyUrl(process)
        if (url === null) throw new Error('killed before it was to be')
        death.order(fate)
        await act(url)
        death.callOff()
        return await isAlive(url) ? 'lived' : 'killed'
      } finally {
        await process.end()
      }
    },
    passed: death.passed,
  }
}
