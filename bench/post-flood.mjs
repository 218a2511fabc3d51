/**
 * POSTs for as long as is told. `refresh`: CONCURRENCY clients, each with a chain of its own, as fast as they are answered.
 * `login`: CONCURRENCY clients, as fast as they are answered; `logins`: RATE a second, whatever the answers take; of the users in
 * turn. URL KIND CONCURRENCY|RATE SECONDS, users and password or refresh tokens as JSON on standard input → {ok, refused, busy,
 * perSecond}.
 */
import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'

const [url, kind, many, seconds] = process.argv.slice(2)
const { users = [], password = '', tokens = [] } = JSON.parse(await text(process.stdin))
const agent = new Agent({ keepAlive: true, maxSockets: 512 })
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

function count (status) {
  if (status === 200) counts.ok++
  else if (status === 503 || status === 429) counts.busy++
  else counts.refused++
}

async function chain (token) {
  while (performance.now() < until) {
    const { status, answer } = await post('/auth/refresh', { refresh_token: token })
    count(status)
    if (status === 200) token = JSON.parse(answer).refresh_token
  }
}

async function closedLoop (_, client) {
  for (let sent = client; performance.now() < until; sent++) {
    const { status } = await post('/auth/login', { username: users[sent % users.length], password })
    count(status)
  }
}

async function openLoop (rate) {
  const underWay = []
  for (let sent = 0; performance.now() < until; sent++) {
    underWay.push(post('/auth/login', { username: users[sent % users.length], password }).then(({ status }) => { count(status) }))
    const due = began + (sent + 1) / rate * 1_000 - performance.now()
    if (due > 0) await new Promise((resolve) => { setTimeout(resolve, due) })
  }
  await Promise.all(underWay)
}

if (kind === 'logins') await openLoop(Number(many))
else if (kind === 'login') await Promise.all(Array.from({ length: Number(many) }, closedLoop))
else await Promise.all(tokens.slice(0, Number(many)).map(chain))
const took = (performance.now() - began) / 1_000
process.stdout.write(`${JSON.stringify({ ...counts, perSecond: counts.ok / took })}\n`)
process.exit(0)
