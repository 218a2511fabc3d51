/** A small JSON API that knows nothing of login: it believes X-User-Id, as only the gateway can reach it. */
import { createServer } from 'node:http'

const orders = [
  { id: 1, of: 'somebody', item: 'a lantern' },
  { id: 2, of: 'somebody', item: 'a rope' },
]

const pages = {
  'GET /public/hello': () => ({ hello: 'world' }),
  'GET /api/orders': ({ userId }) => ({ orders: orders.map((order) => ({ ...order, of: userId })) }),
  'POST /api/orders': ({ userId, body }) => ({ created: { id: 3, of: userId, item: body?.item ?? null } }),
  'GET /admin/report': ({ userId }) => ({ report: 'all is well', for: userId }),
}

const server = createServer((request, response) => {
  answer(request).then(
    ({ status, content }) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(content)}\n`)
    },
    () => { response.destroy() }
  )
})

async function answer (request) {
  const body = await readJson(request)
  const { pathname } = new URL(request.url, 'http://api')
  const page = pages[`${request.method} ${pathname}`]
  if (page === undefined) return { status: 404, content: { error: `no ${request.method} ${pathname} here` } }
  const userId = request.headers['x-user-id'] ?? null
  // What it saw, so that one sees what the gateway sends.
  return { status: 200, content: { ...page({ userId, body }), saw: request.headers } }
}

async function readJson (request) {
  let text = ''
  for await (const chunk of request) text += chunk
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

const { HOST: host = '127.0.0.1', PORT: port = '3000' } = process.env
server.listen(Number(port), host, () => {
  console.log(JSON.stringify({ listening: `http://${host}:${server.address().port}` }))
})
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => { server.close(); server.closeAllConnections() })
