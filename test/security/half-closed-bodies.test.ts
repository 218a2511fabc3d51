/**
 * A client announces a body, sends some of it, and ends its side of the connection. The body can never become whole, but the
 * gateway used to wait for `timeouts.clientBody` all the same (30 s by default), and kept a connection of the upstream's pool
 * open for it: with no more than a packet each, one client could hold as many upstream connections as it liked, long after it
 * had gone. Found by `gatewarden attack`, whose own shutdown had to wait for it.
 */
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { within } from '../helpers/within.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startTestGateway(t, {
  timeouts: { clientBody: '30s' },
  routes: [{ path: '/', upstream: upstream.url, access: 'public' }],
})

const halves: Record<string, string> = {
  'a counted body': 'Content-Length: 100\r\n\r\nhalf',
  'a chunked body': 'Transfer-Encoding: chunked\r\n\r\n64\r\nhalf',
  'a chunked body between two chunks': 'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
  'a chunked body before its last line': 'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n',
  'a body behind a whole request': 'Content-Length: 2\r\n\r\nhiPOST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf',
}

for (const [what, rest] of Object.entries(halves)) {
  t.test(`${what} that its client ends in the middle lets go of client and upstream at once`, async (t) => {
    const half = new Promise<IncomingMessage>((resolve) => {
      const watch = (request: IncomingMessage) => {
        request.once('data', (chunk: Buffer) => {
          if (chunk.toString() === 'half') resolve(request)
        })
      }
      upstream.server.on('request', watch)
      t.teardown(() => { upstream.server.off('request', watch) })
    })
    const client = connect(gateway.port, '127.0.0.1').resume()
    client.on('error', () => {})
    client.write(`POST /first HTTP/1.1\r\nHost: a\r\n${rest}`)
    const request = await within(5_000, half)
    const closed = Promise.all([closeOf(request), closeOf(client)])
    client.end()
    await within(5_000, closed)
    t.notOk(request.complete)
  })
}

async function closeOf (stream: IncomingMessage | Socket): Promise<void> {
  await new Promise<void>((resolve) => { stream.once('close', resolve).on('error', () => {}) })
}
