/** A real OpenID provider (oauth2-mock-server) on a real socket, and a hand on that socket: to count, to be away, to misbehave. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server'

export interface OidcServer {
  /** The issuer's URL. */
  readonly url: string
  readonly issuer: OAuth2Issuer
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[]
  /** How often the keys were asked for. */
  keyFetches (): number
  /** A token of the newest key, for `subject`; `changes` go over the claims, and over the header where they are for it. */
  token (subject: string, changes?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
  /** A new key signs from now on. → its kid. */
  rotate (algorithm?: string): Promise<string>
  /** Takes away every key but the newest. */
  forgetOldKeys (): void
  /** Answers everything from now on; null: the provider itself does again. */
  misbehave (listener: RequestListener | null): void
  /** Closes the port, and all connections. */
  goAway (): Promise<void>
  /** On the same port again. */
  comeBack (): Promise<void>
}

interface Test {
  teardown (handler: () => Promise<void> | void): void
}

export const oidcAudience = 'my-client'

export async function startOidcServer (t: Test, { algorithm = 'ES256' }: { algorithm?: string } = {}): Promise<OidcServer> {
  const issuer = new OAuth2Issuer()
  const service = new OAuth2Service(issuer)
  const kids: string[] = []
  const hidden = new Set<string>()
  const asked: string[] = []
  let misbehaviour: RequestListener | null = null
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    if (misbehaviour !== null) misbehaviour(request, response)
    else if (request.url === '/jwks') response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: issuer.keys.toJSON().filter(({ kid }) => !hidden.has(kid)) }))
    else service.requestHandler(request, response)
  })
  const listen = async (port: number) => { await new Promise<void>((resolve, reject) => { server.once('error', reject).listen(port, '127.0.0.1', resolve) }) }
  await listen(0)
  const { port } = server.address() as AddressInfo
  issuer.url = `http://127.0.0.1:${port}`

  async function rotate (of = algorithm): Promise<string> {
    const { kid } = await issuer.keys.generate(of)
    kids.push(kid)
    return kid
  }

  async function goAway (): Promise<void> {
    if (!server.listening) return
    await new Promise<void>((resolve) => {
      server.close(() => { resolve() })
      server.closeAllConnections()
    })
  }

  await rotate()
  t.teardown(goAway)
  return {
    url: issuer.url,
    issuer,
    asked,
    keyFetches: () => asked.filter((path) => path === '/jwks').length,
    async token (subject, changes = {}, header = {}) {
      return await issuer.buildToken({
        kid: kids.at(-1),
        scopesOrTransform: (writtenHeader, payload) => {
          Object.assign(writtenHeader, header)
          Object.assign(payload, { sub: subject, aud: oidcAudience }, changes)
        },
      })
    },
    rotate,
    forgetOldKeys () {
      for (const kid of kids.slice(0, -1)) hidden.add(kid)
    },
    misbehave (listener) {
      misbehaviour = listener
    },
    goAway,
    comeBack: () => listen(port),
  }
}
