/**
 * LISTEN on a connection of its own, that tells when it no longer hears: twice a second a word is sent to it, and what was committed
 * before a word that came has come before it. Lost, it is tried again for as long as it takes.
 *
 * The word goes over a second connection. Sent over the first it would come back with the answer, and so also through a pooler
 * (PgBouncer in transaction mode) that keeps every other word to itself.
 */
import { randomBytes } from 'node:crypto'
import { connectClient } from './postgres-connections.ts'
import type { PostgresAddress } from './postgres-url.ts'

export interface ChannelOptions {
  readonly address: PostgresAddress
  readonly connectTimeout: number
  /** As in NOTIFY. */
  readonly name: string
  readonly onPayload: (payload: string) => void
  /** It hears, from now on: whatever was committed before is to be read. */
  readonly onUp: () => void
  /** It hears nothing: called when that is found out, and each second for as long as it lasts. */
  readonly onDown: () => void
}

export interface Channel {
  /** What was committed before has been told: a time of `performance.now()`; -Infinity where it has never heard anything. */
  heardUntil (): number
  close (): Promise<void>
}

/** Milliseconds. */
const BEAT = 500
/** Of a word that has not come back. */
const SILENCE = 2_000
const FIRST_DELAY = 100
const LONGEST_DELAY = 5_000

export function openChannel ({ address, connectTimeout, name, onPayload, onUp, onDown }: ChannelOptions): Channel {
  let heard = -Infinity
  let up = false
  let closed = false
  const closing = new AbortController()
  let wake = () => {}

  const whileDown = setInterval(() => { if (!up) onDown() }, 1_000).unref()

  function setUp (now: boolean): void {
    if (up === now || closed) return
    up = now
    if (up) onUp()
    else onDown()
  }

  /** Returns when it hears nothing any more. Throws where it could not begin. */
  async function hold (): Promise<void> {
    const connect = async () => await connectClient(address, { statementTimeout: null, connectTimeout, answerTimeout: SILENCE, signal: closing.signal })
    const listener = await connect()
    const sender = await connect().catch((error: unknown) => {
      listener.destroy()
      throw error
    })
    const destroy = () => {
      listener.destroy()
      sender.destroy()
    }
    const own = `gatewarden_beat_${randomBytes(8).toString('hex')}`
    const sent = new Map<string, number>()
    let count = 0
    let answered = true
    const gone = new Promise<void>((resolve) => {
      listener.onEnd(resolve)
      sender.onEnd(resolve)
    })
    listener.onNotification((payload) => {
      if (!payload.startsWith(own)) {
        onPayload(payload)
        return
      }
      heard = Math.max(heard, sent.get(payload) ?? -Infinity)
      sent.delete(payload)
      setUp(true)
    })
    const beat = () => {
      const time = performance.now()
      const [oldest = time] = sent.values()
      if (time - oldest > SILENCE) {
        destroy()
        return
      }
      // A connection has one query at a time; a further word would wait in the driver and tell nothing sooner.
      if (!answered) return
      const word = `${own} ${++count}`
      sent.set(word, time)
      answered = false
      // A fault ends the connection, or the word does not come back.
      sender.query('select pg_notify($1, $2)', [own, word]).then(() => { answered = true }, () => {})
    }
    let beats: NodeJS.Timeout | undefined
    try {
      await listener.query(`listen "${own}"; listen "${name}"`)
      beat()
      beats = setInterval(beat, BEAT)
      await gone
    } finally {
      clearInterval(beats)
      destroy()
    }
  }

  const running = (async () => {
    for (let delay = FIRST_DELAY; !closed;) {
      const began = performance.now()
      await hold().catch(() => {})
      setUp(false)
      if (closed) return
      if (performance.now() - began > 10_000) delay = FIRST_DELAY
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, delay * (0.5 + Math.random() / 2)).unref()
        wake = () => { clearTimeout(timer); resolve() }
      })
      delay = Math.min(LONGEST_DELAY, delay * 2)
    }
  })()

  return {
    heardUntil: () => heard,
    async close () {
      closed = true
      clearInterval(whileDown)
      wake()
      closing.abort()
      await running
    },
  }
}
