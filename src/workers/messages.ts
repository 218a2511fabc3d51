/** What the first process and its workers say to each other over the channel that Node gives them. */
import type { Config } from '../config/schema.ts'

/** To a worker. Each is answered, by its number. */
export type Order =
  | { readonly order: 'start' | 'reload', readonly config: Config }
  | { readonly order: 'drain' }
  | { readonly order: 'metrics' }
  | { readonly order: 'check', readonly check: string }

export interface Started {
  readonly host: string
  readonly port: number
  readonly url: string
  readonly masterKeyCreated: string | null
}

export type Answer =
  | { readonly number: number, readonly result: unknown }
  /** `expected`: a StartupFault, whose message is for the operator. */
  | { readonly number: number, readonly error: string, readonly expected: boolean }

/** To everybody else: sessions that have ended here. */
export interface Ended {
  readonly ended: readonly string[]
}

/** What is sent to a worker that does not listen yet is lost: it says when it does. */
export interface Listening {
  readonly listening: true
}

export type ToWorker = (Order & { readonly number: number }) | Ended
export type FromWorker = Answer | Ended | Listening
