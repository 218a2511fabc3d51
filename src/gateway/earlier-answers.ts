/** A request behind others on its connection (RFC 9112 §9.3.2): how many there may be, and when an upgrade is answered. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/**
 * Calls `proceed` once nothing is due on the connection of an `upgrade` event, which may be at once; never if the
 * connection is over by then. Node emits the event as soon as it has read the handshake, also of one that was pipelined
 * behind requests (RFC 9112 §9.3.2): an answer written now would overtake theirs, and theirs end up among the frames.
 */
export function afterEarlierAnswers (socket: Duplex, proceed: () => void): void {
  // Node has taken its own listener off; an error that nobody hears ends the process.
  socket.off('error', destroyOnError).on('error', destroyOnError)
  afterAnswer(socket, () => {
    // The last answer has set the time for a next request, and there will be none.
    if (socket instanceof Socket) socket.setTimeout(0)
    proceed()
  })
}

/** Each is forwarded at once: without a bound, one connection of a client's opens thousands to an upstream. */
const LONGEST_LINE = 64

const waiting = new WeakMap<Socket, number>()

/** Whether more requests of its connection wait for an earlier answer than may. To be asked once a request. */
export function isOneTooMany ({ socket }: IncomingMessage, response: ServerResponse): boolean {
  // Node gives a response its socket when its turn has come: nearly always at once.
  if (response.socket !== null) return false
  const line = (waiting.get(socket) ?? 0) + 1
  if (line > LONGEST_LINE) return true
  waiting.set(socket, line)
  response.once('socket', () => { waiting.set(socket, (waiting.get(socket) ?? 1) - 1) })
  return false
}

function destroyOnError (this: Duplex): void {
  this.destroy()
}

function afterAnswer (socket: Duplex, proceed: () => void): void {
  const answer = answerUnderWay(socket)
  if (answer === null) {
    proceed()
    return
  }
  // This one too: an answer that waits for the socket would wait for ever.
  const onDrain = () => { answer.emit('drain') }
  socket.on('drain', onDrain)
  answer.once('close', () => {
    socket.off('drain', onDrain)
    if (socket.writable) afterAnswer(socket, proceed)
  })
}

/** Node keeps the response that a connection waits for here; nothing public tells. */
export function answerUnderWay (socket: Duplex): ServerResponse | null {
  return '_httpMessage' in socket ? socket._httpMessage as ServerResponse | null : null
}

/** Whether an answer, whose head is written, closes its connection. Kept by Node likewise. */
export function isLast (response: ServerResponse): boolean {
  return '_last' in response && response._last === true
}
