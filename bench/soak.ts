/**
 * What the gateway keeps in memory over millions of requests, while tokens and connections come and go.
 *   npm run bench -- soak --requests 10000000
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gatewarden } from './contenders.ts'
import { load } from './load.ts'
import { residentMegabytes } from './process-cpu.ts'
import type { Bench } from './run.ts'
import { createIssuing } from './tokens.ts'

export interface Soak {
  readonly requests: number
  readonly seconds: number
  readonly newTokensPerPart: number
  readonly requestsPerConnection: number
  /** One after the other. */
  readonly parts: readonly Part[]
}

interface Part {
  readonly requests: number
  /** No 2xx, or no answer within ten seconds. */
  readonly failed: number
  /** Megabytes resident, looked at twice a second. */
  readonly least: number
  readonly median: number
  readonly most: number
}

const parts = 10
/** Half of what the cache holds: from the third part on each new one pushes out an old one. */
const newTokensPerPart = 50_000
const requestsPerConnection = 20

export async function soak ({ folder, upstream, script, requests, seconds, connections, note }: Bench): Promise<Soak> {
  const issuing = await createIssuing(folder, 'ES256')
  const running = await gatewarden.start({ folder, upstream, issuing })
  const done: Part[] = []
  const began = Date.now()
  try {
    const tokens = join(folder, 'tokens')
    for (let part = 0; part < parts; part++) {
      const lines: string[] = []
      for (let count = 0; count < newTokensPerPart; count++) lines.push(await issuing.token(part * newTokensPerPart + count))
      writeFileSync(tokens, `${lines.join('\n')}\n`)
      const resident: number[] = []
      const timer = setInterval(() => { resident.push(residentMegabytes(running.pids)) }, 500)
      let answered = 0
      let failed = 0
      try {
        while (answered < requests / parts) {
          const { requests: more, errors } = await load({ url: `${running.url}/api/x`, seconds: 5 * seconds, connections, tokens, requestsPerConnection }, running.pids, script)
          answered += more
          failed += errors
        }
      } finally {
        clearInterval(timer)
      }
      resident.sort((a, b) => a - b)
      const kept = { requests: answered, failed, least: resident[0] ?? NaN, median: resident[resident.length >> 1] ?? NaN, most: resident.at(-1) ?? NaN }
      done.push(kept)
      note(`${answered} requests, ${failed} of them failed: ${kept.least.toFixed(0)}, ${kept.median.toFixed(0)}, ${kept.most.toFixed(0)} MB resident: least, median, most`)
    }
    return { requests: done.reduce((sum, { requests }) => sum + requests, 0), seconds: (Date.now() - began) / 1_000, newTokensPerPart, requestsPerConnection, parts: done }
  } finally {
    await running.stop()
  }
}
