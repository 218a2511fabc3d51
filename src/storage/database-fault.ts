/** Why a database that is not the gateway's own gave no answer. */

/** `unavailable` may heal by itself; a `query` that is wrong does not; of an `input` the database can make nothing. */
export class DatabaseFault extends Error {
  readonly kind: 'unavailable' | 'query' | 'input'

  constructor (kind: DatabaseFault['kind'], cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.kind = kind
  }
}
