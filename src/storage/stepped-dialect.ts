/** A dialect that tells of each step of its statements and transactions, where somebody listens; else the dialect as it is. */
import type { CompiledQuery, DatabaseConnection, Dialect, Driver, TransactionSettings } from 'kysely'
import { areStepsWatched, step } from '../steps.ts'

export function stepped (dialect: Dialect): Dialect {
  if (!areStepsWatched()) return dialect
  return {
    createAdapter: () => dialect.createAdapter(),
    createDriver: () => steppedDriver(dialect.createDriver()),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createQueryCompiler: () => dialect.createQueryCompiler(),
  }
}

interface SteppedConnection extends DatabaseConnection {
  readonly inner: DatabaseConnection
  inTransaction: boolean
}

function steppedDriver (driver: Driver): Driver {
  // Kysely hands back what it was given.
  const own = (connection: DatabaseConnection) => connection as SteppedConnection
  return {
    init: async () => { await driver.init() },
    async acquireConnection () {
      const inner = await driver.acquireConnection()
      const connection: SteppedConnection = {
        inner,
        inTransaction: false,
        async executeQuery<Row> (query: CompiledQuery) {
          const running = inner.executeQuery<Row>(query)
          // On its way, and answered by nobody yet: it may be done, or not.
          if (!connection.inTransaction && query.query.kind !== 'SelectQueryNode') step('storage: write sent')
          const result = await running
          step('storage: statement done')
          return result
        },
        streamQuery: (query, size) => inner.streamQuery(query, size),
      }
      return connection
    },
    async releaseConnection (connection) { await driver.releaseConnection(own(connection).inner) },
    async beginTransaction (connection, settings: TransactionSettings) {
      await driver.beginTransaction(own(connection).inner, settings)
      own(connection).inTransaction = true
      step('storage: transaction begun')
    },
    async commitTransaction (connection) {
      const running = driver.commitTransaction(own(connection).inner)
      step('storage: commit sent')
      await running
      own(connection).inTransaction = false
      step('storage: committed')
    },
    async rollbackTransaction (connection) {
      own(connection).inTransaction = false
      await driver.rollbackTransaction(own(connection).inner)
    },
    async destroy () { await driver.destroy() },
  }
}
