/**
 * What is promised to clients of several replicas, stated once and held against a recorded history: no fork of a session's chain of
 * refresh tokens, no session lost, no ended session alive. Whatever was not answered may have happened, or not.
 */

/** Times of one clock, in milliseconds. */
interface Span { readonly began: number, readonly ended: number }

export type Event = Span & { readonly session: string } & (
  /** `got`: the successor, where there is one. */
  | { readonly kind: 'refresh', readonly sent: string, readonly outcome: 'given', readonly got: string }
  | { readonly kind: 'refresh', readonly sent: string, readonly outcome: 'refused' | 'unanswered' }
  | { readonly kind: 'logout', readonly outcome: 'done' | 'unanswered' }
  /** With an access token that has not expired. */
  | { readonly kind: 'request', readonly outcome: 'passed' | 'refused' | 'unanswered' }
)

export interface History {
  readonly events: readonly Event[]
  /** While some replica or the database was being restarted. */
  readonly disturbances: readonly Span[]
}

/** How long an ended session may pass elsewhere: when all is well, and after a disturbance. */
export interface Bounds { readonly lag: number, readonly recovery: number }

/** A sentence for each promise that was broken. */
export function violationsIn ({ events, disturbances }: History, { lag, recovery }: Bounds): string[] {
  const bySession = new Map<string, Event[]>()
  for (const event of events) bySession.set(event.session, [...bySession.get(event.session) ?? [], event])
  return [...bySession].flatMap(([session, own]) => {
    const logouts = own.filter(({ kind }) => kind === 'logout')
    const asked = Math.min(...logouts.map(({ began }) => began))
    const done = Math.min(...logouts.filter(({ outcome }) => outcome === 'done').map(({ ended }) => ended))
    const successors = new Map<string, string>()
    const origins = new Map<string, string>()
    return own.flatMap((event) => {
      const found: string[] = []
      const broken = (what: string) => { found.push(`${session}: ${what} (${event.kind} ${event.outcome}, from ${Math.round(event.began)} to ${Math.round(event.ended)}; logout asked ${Math.round(asked)}, done ${Math.round(done)})`) }
      if (event.outcome === 'refused' && asked > event.ended) broken('refused, though nobody had asked for its end')
      if (event.kind === 'refresh' && event.outcome === 'given') {
        if (event.began > done) broken('a refresh token of an ended session bought a successor')
        if ((successors.get(event.sent) ?? event.got) !== event.got) broken('a fork: one refresh token has two successors')
        if ((origins.get(event.got) ?? event.sent) !== event.sent) broken('one refresh token follows on two')
        successors.set(event.sent, event.got)
        origins.set(event.got, event.sent)
      }
      if (event.kind === 'request' && event.outcome === 'passed' && event.began > lastWord(done, disturbances, { lag, recovery })) broken('an ended session still passes')
      return found
    })
  })
}

/** Until when some replica may not have heard of what was done then: a disturbance that lies in between starts the waiting anew. */
function lastWord (done: number, disturbances: readonly Span[], { lag, recovery }: Bounds): number {
  let until = done + lag
  for (const { began, ended } of [...disturbances].sort((one, other) => one.began - other.began)) {
    if (began <= until && ended + recovery > done) until = Math.max(until, ended + recovery)
  }
  return until
}
