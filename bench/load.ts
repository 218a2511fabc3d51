/** Load by wrk, from core 1: requests, their times, and what the contender used meanwhile. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { otherCore } from './machine.ts'
import { cpuMicroseconds } from './process-cpu.ts'

export interface Load {
  readonly url: string
  readonly seconds: number
  readonly connections: number
  /** A file with one token a line; they are taken in turn. None: no Authorization. */
  readonly tokens: string | null
  /** The first that is taken, counted from 0. */
  readonly startAt?: number
  readonly method?: string
  readonly body?: string
  /** After each so many requests a connection is closed, and another takes its place. None: all are kept. */
  readonly requestsPerConnection?: number
}

export interface Measured {
  readonly requests: number
  readonly perSecond: number
  /** Microseconds of CPU of the contender for one request. */
  readonly cpu: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly p999: number
  /** Answers that were no 2xx or 3xx, and connections that failed. */
  readonly errors: number
}

const script = `
local tokens, at, sent = {}, 0, 0
local method, path, body, perConnection
function init(args)
  method, path, perConnection = args[2], args[3], tonumber(args[4])
  if args[1] ~= "-" then for line in io.lines(args[1]) do tokens[#tokens + 1] = "Bearer " .. line end end
  at = tonumber(args[6])
  if tonumber(args[5]) > 0 then body = string.rep("x", tonumber(args[5])) end
  wrk.headers["Accept"] = "application/json"
  wrk.headers["User-Agent"] = "wrk"
  if body then wrk.headers["Content-Type"] = "application/json" end
  if #tokens == 1 then wrk.headers["Authorization"] = tokens[1] end
  if perConnection == 1 then wrk.headers["Connection"] = "close" end
  if #tokens <= 1 and perConnection <= 1 then fixed = wrk.format(method, path, nil, body) end
end
function request()
  if fixed then return fixed end
  if #tokens > 0 then
    at = at % #tokens + 1
    wrk.headers["Authorization"] = tokens[at]
  end
  if perConnection > 1 then
    sent = sent + 1
    wrk.headers["Connection"] = sent % perConnection == 0 and "close" or nil
  end
  return wrk.format(method, path, nil, body)
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"p50":%d,"p99":%d,"p999":%d,"status":%d,"failed":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.status, e.connect + e.read + e.write + e.timeout))
end
`

export async function writeScript (folder: string): Promise<string> {
  const { writeFile } = await import('node:fs/promises')
  const { join } = await import('node:path')
  const file = join(folder, 'load.lua')
  await writeFile(file, script)
  return file
}

/** `pids`: whose CPU counts. */
export async function load ({ url, seconds, connections, tokens, startAt = 0, method = 'GET', body = '', requestsPerConnection = 0 }: Load, pids: readonly number[], scriptFile: string): Promise<Measured> {
  const { origin, pathname } = new URL(url)
  const before = cpuMicroseconds(pids)
  const { stdout } = await promisify(execFile)('taskset', [
    '-c', String(otherCore), 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', scriptFile, origin,
    '--', tokens ?? '-', method, pathname, String(requestsPerConnection), String(body.length), String(startAt),
  ])
  const used = cpuMicroseconds(pids) - before
  const line = /^\{.*\}$/m.exec(stdout)?.[0]
  if (line === undefined) throw new Error(`wrk said: ${stdout}`)
  const { requests, us, p50, p99, p999, status, failed } = JSON.parse(line) as Record<'requests' | 'us' | 'p50' | 'p99' | 'p999' | 'status' | 'failed', number>
  if (requests === 0) throw new Error(`nothing was answered: ${line}`)
  return {
    requests,
    perSecond: requests / (us / 1_000_000),
    cpu: used / requests,
    p50: p50 / 1_000,
    p99: p99 / 1_000,
    p999: p999 / 1_000,
    errors: status + failed,
  }
}

/** Until V8 has compiled what runs often: after so many requests, or seconds, on a machine at a third of its speed. */
export async function warm (how: Load, pids: readonly number[], scriptFile: string): Promise<void> {
  let answered = 0
  for (const until = Date.now() + 15_000; answered < 100_000 && Date.now() < until;) answered += (await load(how, pids, scriptFile)).requests
}

/** Until each of so many tokens has been sent. Throws where one is refused. */
export async function sendEach (many: number, how: Load, pids: readonly number[], scriptFile: string): Promise<void> {
  for (let sent = 0; sent < many;) {
    const { requests, errors } = await load({ ...how, startAt: sent }, pids, scriptFile)
    if (errors > 0) throw new Error(`${errors} answers of ${requests} are no 2xx`)
    // At the end a connection may still wait for its answer; what it asked last is asked again.
    sent += Math.max(requests - how.connections, 0)
  }
}
