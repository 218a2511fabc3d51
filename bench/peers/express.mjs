/** express, express-jwt, http-proxy-middleware, as their READMEs show them. They are installed by `npm run bench:peers`. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(`${process.env.PEERS}/package.json`)
const express = require('express')
const { expressjwt } = require('express-jwt')
const { createProxyMiddleware } = require('http-proxy-middleware')
const { Agent } = require('node:http')

const { PUBLIC_KEY, ALGORITHM, ISSUER, AUDIENCE, UPSTREAM, PORT } = process.env
const app = express()
app.use('/api', expressjwt({ secret: readFileSync(PUBLIC_KEY, 'utf8'), algorithms: [ALGORITHM], issuer: ISSUER, audience: AUDIENCE }))
app.use(createProxyMiddleware({
  target: UPSTREAM,
  agent: new Agent({ keepAlive: true }),
  on: { proxyReq (proxyRequest, request) { if (request.auth) proxyRequest.setHeader('x-user-id', request.auth.sub) } },
}))
app.listen(Number(PORT), '127.0.0.1')
