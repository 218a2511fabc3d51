/** Others whose tokens the configuration takes, as an attack runs them: their rules as configured, their keys made anew and served from loopback. */
import type { KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TrustedIssuerConfig } from '../config/schema.ts'
import { shapes, type AsymmetricAlgorithm } from '../tokens/algorithms.ts'
import { generatePrivateKey, materialOf } from '../tokens/key-material.ts'
import type { PublicJwk } from '../tokens/key-ring.ts'
import { loopback } from './loopback.ts'
import type { Pen } from './pen.ts'

export interface OwnIssuer {
  readonly trusted: TrustedIssuerConfig
  /** One for each algorithm that is taken of it. */
  readonly keys: readonly OwnIssuerKey[]
}

export interface OwnIssuerKey {
  readonly pen: Pen
  readonly publicJwk: PublicJwk
}

export async function openOwnIssuers (configured: readonly TrustedIssuerConfig[]): Promise<{ readonly issuers: readonly OwnIssuer[], close (): Promise<void> }> {
  const made = await Promise.all(configured.map(async (trusted, index) => ({ trusted, keys: await keysFor(trusted.algorithms, `attack-issuer-${index}`) })))
  const server = createServer((request, response) => {
    const issuer = made[Number(request.url?.slice(1))]
    response.setHeader('Content-Type', 'application/json')
    response.end(JSON.stringify({ keys: issuer?.keys.map(({ publicJwk }) => publicJwk) ?? [] }))
  })
  await once(server.listen(0, loopback), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    issuers: made.map(({ trusted, keys }, index) => ({ trusted: trusting(trusted, `http://${loopback}:${port}/${index}`), keys })),
    async close () {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/** `jwksUri` always: without it the keys are looked for under `issuer`, which is elsewhere. Their file holds theirs, and would be written over. */
function trusting (trusted: TrustedIssuerConfig, jwksUri: string): TrustedIssuerConfig {
  const { file: _, ...keys } = trusted.keys
  return { ...trusted, keys, jwksUri }
}

async function keysFor (algorithms: readonly AsymmetricAlgorithm[], name: string): Promise<OwnIssuerKey[]> {
  // One for all RSA algorithms, each under its own kid: it takes long to make, and so it is only the kid that tells them apart.
  const rsa = algorithms.some(isRsa) ? await generatePrivateKey('RS256') : null
  return await Promise.all(algorithms.map(async (algorithm) => await keyOf(rsa !== null && isRsa(algorithm) ? rsa : await generatePrivateKey(algorithm), algorithm, `${name}-${algorithm}`)))
}

function isRsa (algorithm: AsymmetricAlgorithm): boolean {
  return shapes[algorithm].kind === 'rsa'
}

async function keyOf (privateKey: KeyObject, algorithm: AsymmetricAlgorithm, kid: string): Promise<OwnIssuerKey> {
  const { publicJwk } = await materialOf(privateKey, algorithm, 'others-too')
  return { pen: { algorithm, key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), kid }, publicJwk: { ...publicJwk, kid } }
}
