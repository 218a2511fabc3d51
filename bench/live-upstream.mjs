/**
 * The upstream of connections that stay open. A WebSocket is sent back what it sends. A GET is an event stream; each POST of the same
 * path sends an event to all of its streams, with its number and the moment it was written at, and answers how many they were.
 */
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

/** By path. */
const channels = new Map()

const server = createServer((request, response) => {
  const channel = channels.get(request.url) ?? { streams: new Set(), events: 0 }
  channels.set(request.url, channel)
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.flushHeaders()
    channel.streams.add(response)
    response.once('close', () => { channel.streams.delete(response) })
    return
  }
  request.resume()
  channel.events++
  for (const stream of channel.streams) stream.write(event(channel.events))
  response.end(String(channel.streams.size))
})

/** Of a hundred bytes. The clock is the machine's, which is the same for every process. */
function event (number) {
  const head = `data: {"number":${number},"written":${process.hrtime.bigint()},"text":"`
  return `${head.padEnd(96, 'x')}"}\n\n`
}

new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', (message, isBinary) => { socket.send(message, { binary: isBinary }) })
})
server.listen(0, '127.0.0.1', () => { process.stdout.write(`${server.address().port}\n`) })
