/**
 * `tsx scripts/run-tests.ts [--long] [--timeout=SECONDS] [PATH…]`: every test file in a process of its own, some at a time.
 * A path is a folder of tests or the beginning of a file's name; without one, all. Those named `*.long.test.ts` run with
 * --long alone. What each said stands beside its bundle, in TAP; what failed is printed too.
 *
 * tap's own runner starts each file with hooks for coverage and mocks, which took longer than most of the tests.
 */
import { execFile, spawn } from 'node:child_process'
import { createWriteStream, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs, promisify } from 'node:util'
import { bundleTests } from './bundle-tests.ts'

interface Outcome {
  readonly passed: number
  readonly failed: number
}

const root = resolve(import.meta.dirname, '..')
const { values: options, positionals: paths } = parseArgs({
  allowPositionals: true,
  options: { long: { type: 'boolean', default: false }, timeout: { type: 'string', default: '150' } },
})

// A test of yesterday's build would prove nothing.
const [bundled] = await Promise.all([bundleTests(), promisify(execFile)(process.execPath, ['--import', 'tsx', 'scripts/build.ts'], { cwd: root })])
// The largest first: a long one that begins last would be waited for alone.
const files = bundled
  .filter((file) => file.endsWith('.long.test.ts') === options.long && (paths.length === 0 || paths.some((path) => `test/${file}`.startsWith(path))))
  .sort((a, b) => statSync(resolve(root, 'test', b)).size - statSync(resolve(root, 'test', a)).size)
if (files.length === 0) throw new Error(`no test file under test/ is meant by ${JSON.stringify(process.argv.slice(2))}`)

const started = performance.now()
const waiting = [...files]
const total = { passed: 0, failed: 0 }
const notRun: string[] = []
await Promise.all(Array.from({ length: availableParallelism() + 1 }, async () => {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const { passed, failed } = await run(file)
    total.passed += passed
    total.failed += failed
  }
}))
for (const line of notRun) process.stdout.write(`!! ${line}\n`)
process.stdout.write(`\n${files.length} files in ${seconds(started)}\n${total.passed} assertions passed, ${total.failed} failed\n`)
process.exitCode = total.failed === 0 ? 0 : 1

async function run (file: string): Promise<Outcome> {
  const began = performance.now()
  const said = resolve(root, '.test-bundle', file.replace(/\.ts$/, '.tap'))
  const record = createWriteStream(said)
  const child = spawn(process.execPath, [resolve(root, '.test-bundle', file.replace(/\.ts$/, '.js'))], {
    cwd: root,
    // tap in the child tells by itself what it waits for when this is over.
    env: { ...process.env, TAP: '1', TAP_TIMEOUT: options.timeout },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let afterTheEnd: NodeJS.Timeout | undefined
  const ended = new Promise<string>((resolve) => child.once('close', (code, signal) => { resolve(signal ?? String(code)) }))

  let outcome: Outcome | null = null
  let planned = false
  let failure = false
  for await (const line of createInterface({ input: child.stdout })) {
    record.write(`${line}\n`)
    // Of the whole file's own last lines; those of a subtest are indented.
    if (/^1\.\.\d+/.test(line)) planned = true
    const counts = /^# \{ total: \d+(?:, pass: (\d+))?(?:, fail: (\d+))?/.exec(line)
    if (counts !== null) {
      outcome = { passed: Number(counts[1] ?? 0), failed: Number(counts[2] ?? 0) }
      // Something of it is still open: its end is not 0, and it has failed.
      afterTheEnd = setTimeout(() => child.kill('SIGKILL'), 30_000)
    }
    const left = /^ *ok \d+ - (NOT RUN .*)$|^ *ok .*# (?:SKIP|TODO)/.exec(line)
    if (left !== null) notRun.push(left[1] ?? `test/${file}: ${line.trim()}`)
    // An assertion that failed, with its diagnosis.
    if (/^ *not ok /.test(line)) failure = true
    else if (/^ *(?:ok|# Subtest)/.test(line)) failure = false
    if (failure) process.stdout.write(`${line}\n`)
  }
  const end = await ended
  clearTimeout(afterTheEnd)
  record.end()
  const { passed, failed } = outcome ?? { passed: 0, failed: 0 }
  const holds = end === '0' && planned && passed > 0 && failed === 0
  process.stdout.write(`${holds ? 'ok    ' : 'FAILED'} test/${file} ${holds ? '' : `(ended by ${end}; ${said}) `}${passed} in ${seconds(began)}\n`)
  return { passed, failed: holds ? 0 : Math.max(1, failed) }
}

function seconds (since: number): string {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`
}
