/** A query that Kysely writes once and that is then asked with other values: writing it anew was two fifths of a refresh's calls. */
import type { Compilable, QueryResult } from 'kysely'
import type { Database } from './database.ts'

/** Stands where a value will be. */
class Place {
  readonly name: string
  constructor (name: string) {
    this.name = name
  }
}

/** `within`: the transaction that it is a part of. */
export type PreparedQuery<Values, Row> = (values: Values, within?: Database) => Promise<QueryResult<Row>>

/** `build` gets a function that names the values: `value('id')` where `id` will stand. */
export function prepareQuery<Values extends object, Row> (
  db: Database,
  build: (value: <Name extends keyof Values & string>(name: Name) => Values[Name]) => Compilable<Row>
): PreparedQuery<Values, Row> {
  // Kysely passes on what it does not know as a parameter, and never looks into it.
  const query = build((name) => new Place(name) as never).compile()
  const places = query.parameters.map((parameter) => parameter instanceof Place ? parameter.name : null)
  return async function ask (values, within = db) {
    const parameters = places.map((name, index) => name === null ? query.parameters[index] : values[name as keyof Values])
    return await within.executeQuery({ ...query, parameters })
  }
}
