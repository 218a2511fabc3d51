/** What one writes in an hour: fastify, @fastify/http-proxy, fast-jwt, lru-cache, as their READMEs show them. */
import { readFileSync } from 'node:fs'
import httpProxy from '@fastify/http-proxy'
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import { LRUCache } from 'lru-cache'

const { PUBLIC_KEY, ALGORITHM, ISSUER, AUDIENCE, UPSTREAM, PORT } = process.env
const verify = createVerifier({
  key: readFileSync(PUBLIC_KEY), algorithms: [ALGORITHM], allowedIss: ISSUER, allowedAud: AUDIENCE, requiredClaims: ['exp', 'iat', 'iss', 'aud', 'sub'],
})
const cache = new LRUCache({ max: 100_000 })

const app = Fastify()
app.register(httpProxy, {
  upstream: UPSTREAM,
  prefix: '/api',
  rewritePrefix: '/api',
  async preHandler (request, reply) {
    const token = request.headers.authorization?.replace(/^Bearer /, '')
    if (token === undefined) return reply.code(401).send({ error: 'unauthorized' })
    let payload = cache.get(token)
    if (payload === undefined || payload.exp * 1_000 < Date.now()) {
      try {
        payload = verify(token)
      } catch {
        return reply.code(401).send({ error: 'invalid_token' })
      }
      cache.set(token, payload)
    }
    request.user = payload
  },
  replyOptions: {
    rewriteRequestHeaders: (request, { authorization, ...headers }) => ({ ...headers, 'x-user-id': request.user.sub }),
  },
})
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
