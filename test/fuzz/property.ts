/** A property over random values: FUZZ_SEED repeats a run, FUZZ_RUNS makes it longer; a failure comes with its smallest case. */
import { randomInt } from 'node:crypto'
import fc, { type Arbitrary } from 'fast-check'

/** Parts of tap's `t`. */
interface Test {
  comment (text: string): void
  pass (message: string): void
  fail (message: string): void
}

const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31))
const times = Number(process.env['FUZZ_RUNS'] ?? 1)

/**
 * `runs` without FUZZ_RUNS, so many times as many with it. `property` throws, or says in words what is wrong; undefined where
 * all is well.
 */
export async function holds<Value> (t: Test, claim: string, runs: number, values: Arbitrary<Value>, property: (value: Value) => string | undefined | Promise<string | undefined>): Promise<void> {
  const result = await fc.check(fc.asyncProperty(values, async (value) => {
    const fault = await property(value)
    if (fault !== undefined) throw new Error(fault)
  }), { seed, numRuns: runs * times })
  t.comment(`${claim}: seed ${seed}, ${result.numRuns} runs`)
  if (!result.failed) t.pass(claim)
  else t.fail(`${claim}: FUZZ_SEED=${seed}, ${JSON.stringify(result.counterexample)}: ${String(result.errorInstance)}`)
}

/** Any of these pieces in a row, and now and then any character at all. */
export function mixtureOf (pieces: readonly string[], { maxLength = 12 }: { maxLength?: number } = {}): Arbitrary<string> {
  const piece = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...pieces) }, { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 3 }) }, { weight: 1, arbitrary: fc.string({ maxLength: 3 }) })
  return fc.array(piece, { maxLength }).map((parts) => parts.join(''))
}

/** `text` with one to three slips: characters taken out, put in, doubled or exchanged. */
export function slipsOf (text: string, characters: readonly string[]): Arbitrary<string> {
  const slip = fc.tuple(fc.nat({ max: text.length }), fc.nat({ max: 4 }), fc.constantFrom(...characters))
  return fc.array(slip, { minLength: 1, maxLength: 3 }).map((slips) => slips.reduce((now, [place, length, put]) => {
    const at = Math.min(place, now.length)
    return now.slice(0, at) + put + now.slice(at + length)
  }, text))
}

/** Without half a surrogate pair: what has a form in UTF-8. */
export function isWellFormed (text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}
