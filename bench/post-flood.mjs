/**
 * As many POSTs at a time as are told, for as long as is told: logins (each of another user name) or refreshes (each client its
 * own chain). URL KIND CONCURRENCY SECONDS, passwords or refresh tokens as JSON on standard input → {ok, refused, busy, perSecond}.
 */
import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'

const [url, kind, concurrency, seconds] = process.argv.slice(2)
const { users = [], password = '', tokens = [] } = JSON.parse(await text(process.stdin))
const agent = new Agent({ keepAlive: true, maxSockets: Number(concurrency) })
const counts = { ok: 0, refused: 0, busy: 0 }
const began = performance.now()
const until = began + Number(seconds) * 1_000

function post (path, body) {
  return new Promise((resolve, reject) => {
    const sending = request(`${url}${path}`, { agent, method: 'POST', headers: { 'content-type': 'application/json' } }, async (response) => {
      const answer = await text(response)
      resolve({ status: response.statusCode, answer })
    })
    sending.once('error', reject)
    sending.end(JSON.stringify(body))
  })
}

async function client (number) {
  let token = tokens[number]
  for (let turn = 0; performance.now() < until; turn++) {
    const { status, answer } = kind === 'login'
      ? await post('/auth/login', { username: users[(number + turn * Number(concurrency)) % users.length], password })
      : await post('/auth/refresh', { refresh_token: token })
    if (status === 200) {
      counts.ok++
      if (kind === 'refresh') token = JSON.parse(answer).refresh_token
    } else if (status === 503 || status === 429) {
      counts.busy++
    } else {
      counts.refused++
    }
  }
}
await Promise.all(Array.from({ length: Number(concurrency) }, (_, number) => client(number)))
const took = (performance.now() - began) / 1_000
process.stdout.write(`${JSON.stringify({ ...counts, perSecond: counts.ok / took })}\n`)
process.exit(0)
