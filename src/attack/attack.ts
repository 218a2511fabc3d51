/** What an attack is, how one is judged, and what is told of it. */
import type { Outcome, SendOptions } from './exchange.ts'
import type { Range } from './range.ts'

/** Null when it held; else what is wrong. */
export type Judge = (outcome: Outcome) => string | null

export interface Failure {
  readonly attack: string
  readonly why: string
  /** The exact bytes, Latin-1. */
  readonly sent: string
  readonly answered: string
  /** The requests that the upstream saw of it, each its bytes. */
  readonly upstreamSaw: readonly string[]
}

/** A group of attacks of one kind, and the legitimate requests without which "refused" would mean nothing. */
export interface AttackClass {
  readonly name: string
  /** What holds if it holds. */
  readonly claim: string
  readonly run: (range: Range, score: Score) => Promise<void>
}

export interface Score {
  /** Sends and judges. An upstream that saw bytes which are not one clean request is a failure whatever the judge says. */
  attack (name: string, bytes: string, judge: Judge, options?: SendOptions): Promise<Outcome>
  /** A legitimate request that must pass. */
  control (name: string, bytes: string, judge: Judge, options?: SendOptions): Promise<Outcome>
  /** For what took more than one exchange: `why` is null when it held. */
  note (name: string, why: string | null, sent: string): void
  noteControl (name: string, why: string | null, sent: string): void
  /** What this configuration gives no occasion to show, for the report. */
  leaveOut (what: string): void
}

export interface ClassResult {
  readonly name: string
  readonly claim: string
  readonly controls: number
  readonly cases: number
  readonly held: number
  readonly failures: readonly Failure[]
  /** Legitimate requests that did not pass: nothing was shown. */
  readonly failedControls: readonly Failure[]
  readonly leftOut: readonly string[]
}

export function isHeld ({ failures, failedControls, controls, cases }: ClassResult): boolean {
  return failures.length === 0 && failedControls.length === 0 && (cases === 0 || controls > 0)
}

export async function runClass ({ name, claim, run }: AttackClass, range: Range): Promise<ClassResult> {
  const failures: Failure[] = []
  const failedControls: Failure[] = []
  const leftOut: string[] = []
  let controls = 0
  let cases = 0
  const judged = async (what: string, bytes: string, judge: Judge, options: SendOptions | undefined, failed: Failure[]) => {
    const outcome = await range.send(bytes, options)
    const why = outcome.seen.find(({ fault }) => fault !== null)?.fault ?? judge(outcome)
    if (why !== null) failed.push({ attack: what, why, sent: bytes + (options?.then ?? ''), answered: outcome.text, upstreamSaw: outcome.seen.map(({ raw }) => raw) })
    return outcome
  }
  await run(range, {
    async attack (what, bytes, judge, options) {
      cases++
      return await judged(what, bytes, judge, options, failures)
    },
    async control (what, bytes, judge, options) {
      controls++
      return await judged(what, bytes, judge, options, failedControls)
    },
    note (what, why, sent) {
      cases++
      if (why !== null) failures.push({ attack: what, why, sent, answered: '', upstreamSaw: [] })
    },
    noteControl (what, why, sent) {
      controls++
      if (why !== null) failedControls.push({ attack: what, why, sent, answered: '', upstreamSaw: [] })
    },
    leaveOut (what) {
      leftOut.push(what)
    },
  })
  return { name, claim, controls, cases, held: cases - failures.length, failures, failedControls, leftOut }
}

/** Nothing came to the upstream, and the gateway said no. A connection that is closed without a word says no too. */
export const refused: Judge = ({ answer, seen }) => {
  if (seen.length > 0) return 'it reached the upstream'
  return answer.status === 0 || (answer.status >= 400 && answer.status < 500) ? null : `it was answered ${answer.status}`
}

/** As `refused`, with one of these statuses. */
export function refusedAs (...statuses: readonly number[]): Judge {
  return (outcome) => refused(outcome) ?? (statuses.includes(outcome.answer.status) ? null : `it was answered ${outcome.answer.status}, not ${statuses.join(' or ')}`)
}

/** The upstream may have seen the request; of the marker it saw nothing. */
export function nothingOf (marker: string): Judge {
  return ({ seen }) => seen.some(({ raw }) => raw.toLowerCase().includes(marker.toLowerCase())) ? 'the upstream saw it' : null
}

/** One request came to the upstream, to this target, and its answer went back. */
export function served (target?: string): Judge {
  return ({ answer, seen }) => {
    const [first] = seen
    if (answer.status !== 200) return `it was answered ${answer.status}`
    if (first === undefined || seen.length !== 1) return `the upstream saw ${seen.length} requests`
    return target === undefined || first.target === target ? null : `the upstream saw ${first.target}`
  }
}

/** All must hold; the first that does not says why. */
export function both (...judges: readonly Judge[]): Judge {
  return (outcome) => judges.reduce<string | null>((why, judge) => why ?? judge(outcome), null)
}
