/**
 * Requests at a steady rate, whatever the answers take: an open loop, so that a pause is seen by everybody who would have come
 * meanwhile. URL TOKEN RATE SECONDS → one JSON line of milliseconds: {count, errors, p50, p99, p999, max}.
 */
import { Agent, request } from 'node:http'

const [url, token, rate, seconds] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 256 })
const headers = token === '-' ? {} : { authorization: `Bearer ${token}` }
const times = []
let errors = 0
let sent = 0
let open = 0
const began = performance.now()
const total = Number(rate) * Number(seconds)

function send (due) {
  open++
  const done = (failed) => {
    open--
    if (failed) errors++
    else times.push(performance.now() - due)
    if (sent === total && open === 0) report()
  }
  const sending = request(url, { agent, headers }, (response) => {
    response.resume()
    response.once('end', () => { done(response.statusCode !== 200) })
  })
  sending.once('error', () => { done(true) })
  sending.end()
}

function tick () {
  const now = performance.now() - began
  // Due times, not sending times: a client that was late itself must not hide it.
  while (sent < total && sent / Number(rate) * 1_000 <= now) send(began + sent++ / Number(rate) * 1_000)
  if (sent === total) return
  // The last millisecond awake, for timers come late; the rest asleep, for the upstream and the flood are on this core too.
  const wait = sent / Number(rate) * 1_000 - (performance.now() - began)
  if (wait > 1.5) setTimeout(tick, wait - 1)
  else setImmediate(tick)
}

function report () {
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? null
  process.stdout.write(`${JSON.stringify({ count: times.length, errors, p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) })}\n`)
  process.exit(0)
}
tick()
