/** Tells a caller the time, over a WebSocket or as server-sent events; who the caller is, X-User-Id says. */
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const server = createServer((request, response) => {
  const user = request.headers['x-user-id']
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const timer = setInterval(() => { response.write(`data: ${JSON.stringify({ user, time: new Date() })}\n\n`) }, 1_000)
  response.on('close', () => { clearInterval(timer) })
})

new WebSocketServer({ server }).on('connection', (socket, request) => {
  const user = request.headers['x-user-id']
  const timer = setInterval(() => { socket.send(JSON.stringify({ user, time: new Date() })) }, 1_000)
  socket.on('close', () => { clearInterval(timer) })
  socket.on('message', (data) => { socket.send(JSON.stringify({ user, said: data.toString() })) })
})

const { HOST: host = '127.0.0.1', PORT: port = '3002' } = process.env
server.listen(Number(port), host, () => {
  console.log(JSON.stringify({ listening: `http://${host}:${server.address().port}` }))
})
