/**
 * A server that goes away between its first "ready" and the first query: of PostgreSQL's restart that is one packet, which holds both
 * (seen in test/e2e/replicas, one run of ten: the gateway ended). The real one can't be made to write it so, hence one that speaks
 * the protocol (PostgreSQL, "Message Formats") just so far.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { openPool } from '../../src/storage/postgres-connections.ts'
import { openUserDatabase } from '../../src/storage/user-database.ts'

const message = (type: string, ...fields: Buffer[]): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(4 + Buffer.concat(fields).length)
  return Buffer.concat([Buffer.from(type, 'latin1'), length, ...fields])
}
const authenticationOk = message('R', Buffer.alloc(4))
const readyForQuery = message('Z', Buffer.from('I'))
const goesAway = message('E', Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'))

/** Its address, and how many have come. */
async function leavingServer (t: Test): Promise<{ port: number, connections: Socket[] }> {
  const connections: Socket[] = []
  const server = createServer((socket) => {
    connections.push(socket)
    socket.on('error', () => {})
    socket.once('data', () => { socket.end(Buffer.concat([authenticationOk, readyForQuery, goesAway])) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of connections) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, connections }
}

t.test('of the storage: the query says so, the process goes on, and the connection is not used again', async (t) => {
  const { port, connections } = await leavingServer(t)
  const pool = await openPool(
    { host: '127.0.0.1', port, user: 'postgres', password: undefined, database: 'postgres', ssl: false },
    { size: 2, answerTimeout: 1_000, statementTimeout: null, connectTimeout: 1_000 }
  )
  t.teardown(async () => { await pool.end() })
  for (const count of [1, 2]) {
    const client = await pool.connect()
    await t.rejects(client.query('select 1', []))
    client.release()
    t.equal(connections.length, count)
  }
})

t.test("of the operator's users: unavailable, and the process goes on", async (t) => {
  const { port, connections } = await leavingServer(t)
  const database = await openUserDatabase({ url: `postgres://postgres@127.0.0.1:${port}/users`, timeout: 1_000, connections: 2, writable: false, tls: {} })
  t.teardown(async () => { await database.close() })
  for (const count of [1, 2]) {
    t.match(await database.query('select 1', 'ann').catch((error: unknown) => error), { kind: 'unavailable' })
    t.equal(connections.length, count)
  }
})
