/**
 * The upstream of every contender: as little work as an HTTP/1.1 answer takes, so that core 1 is not what is measured.
 * GET / a hundred bytes; GET /1mb one megabyte; POST /anything reads the body and says how long it was. Not for the open.
 */
import { createServer } from 'node:net'

const json = JSON.stringify({ id: 1, name: 'a small answer', text: 'x'.repeat(60) })
const small = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`)
const megabyte = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${2 ** 20}\r\n\r\n`), Buffer.alloc(2 ** 20, 'x')])

const server = createServer((socket) => {
  socket.setNoDelay(true)
  let head = ''
  /** Bytes of a counted body still to come; Infinity within a chunked one. */
  let body = 0
  let end = ''
  let answer = small
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    let at = 0
    while (at < chunk.length || (body === 0 && head.endsWith('\r\n\r\n'))) {
      if (body > 0) {
        if (body === Infinity) {
          end = (end + chunk.toString('latin1', at)).slice(-5)
          at = chunk.length
          if (end !== '0\r\n\r\n') return
          body = 0
        } else {
          const taken = Math.min(body, chunk.length - at)
          body -= taken
          at += taken
          if (body > 0) return
        }
        socket.write(answer)
        continue
      }
      const till = chunk.indexOf('\r\n\r\n', at, 'latin1')
      if (till < 0) {
        head += chunk.toString('latin1', at)
        return
      }
      head += chunk.toString('latin1', at, till)
      at = till + 4
      answer = head.startsWith('GET /1mb') ? megabyte : small
      if (head.startsWith('GET ')) {
        body = 0
      } else if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
        body = Infinity
        end = ''
      } else {
        body = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      }
      head = ''
      if (body === 0) socket.write(answer)
    }
  })
})
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => { process.stdout.write(`${server.address().port}\n`) })
