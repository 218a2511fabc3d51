/** A verifier that trusts other issuers, with its cache, over real fetches; time is the test's. */
import { once, EventEmitter } from 'node:events'
import type { TrustedIssuerConfig } from '../../src/config/schema.ts'
import { askPatiently } from '../../src/errors.ts'
import { createDocumentFetcher, largestDocument } from '../../src/remote/fetch-document.ts'
// Loaded beforehand: a first fetch has its time for the fetch alone.
import '../../src/remote/http-client.ts'
import type { Identity } from '../../src/tokens/identity.ts'
import { createKeyKeeper } from '../../src/tokens/issuer-key-keeper.ts'
import { openTrustedIssuers, type TrustedIssuers } from '../../src/tokens/trusted-issuers.ts'
import { createVerifierCache } from '../../src/tokens/verifier-cache.ts'
import { createVerifier } from '../../src/tokens/verifier.ts'
import { oidcAudience } from './oidc-server.ts'
import { within } from './within.ts'
import { audience, issuer, keyRingOf, makeKey, type TestKey } from './tokens.ts'

export interface TrustingVerifier {
  /** As a request does: waits for keys that are being fetched. */
  verify (token: string): Promise<Identity>
  /** `GW_…`, or the subject of a token that is taken. */
  outcome (token: string): Promise<string>
  readonly trusted: TrustedIssuers
  readonly own: TestKey
  /** Moves time on, in milliseconds. */
  later (milliseconds: number): void
  /** `issuer outcome` of each fetch. */
  readonly fetches: readonly string[]
  /** Resolves when a fetch is over that began after the call. */
  nextFetch (): Promise<void>
  /** Resolves when the last fetch ended with this. */
  fetchedSo (outcome: string): Promise<void>
  /** Messages and fields of the log, as text. */
  readonly log: readonly string[]
  /** Writes what is to be kept, and closes. */
  close (): Promise<void>
}

interface Test {
  teardown (handler: () => Promise<void> | void): void
}

export const macKey = Buffer.alloc(32, 7)

export function trusting (changes: Partial<Omit<TrustedIssuerConfig, 'keys'>> & { issuer: string, keys?: Partial<TrustedIssuerConfig['keys']> }): TrustedIssuerConfig {
  return {
    name: 'corp',
    audience: oidcAudience,
    algorithms: ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'],
    tokenTypes: ['at+jwt', 'JWT'],
    subject: 'prefixed',
    allowInsecure: false,
    ...changes,
    keys: { refreshEvery: 600_000, staleFor: 86_400_000, cooldown: 30_000, timeout: 15_000, ...changes.keys },
  }
}

export async function openTrustingVerifier (t: Test, trustedIssuers: readonly TrustedIssuerConfig[], { folder = null, start = true, ca }: { folder?: string | null, start?: boolean, ca?: string } = {}): Promise<TrustingVerifier> {
  let offset = 0
  const now = () => Date.now() + offset
  const events = new EventEmitter()
  const log: string[] = []
  const write = (fields: Readonly<Record<string, unknown>>, message: string) => { log.push(`${message} ${JSON.stringify(fields)}`) }
  const fetches: string[] = []
  const documents = createDocumentFetcher({ largest: largestDocument, ...(ca === undefined ? {} : { ca }) })
  const keeper = createKeyKeeper({ folder, macKey, warn: write })
  const trusted = await openTrustedIssuers({
    trustedIssuers,
    clockTolerance: 2_000,
    fetchDocument: documents.fetchDocument,
    keeper,
    now,
    log: { info: write, warn: write },
    onFetch (name, outcome) {
      fetches.push(`${name} ${outcome}`)
      // After the keys that it brought are in place.
      setImmediate(() => { events.emit('fetch') })
    },
  })
  const own = await makeKey('ES256')
  const cache = createVerifierCache(
    createVerifier({ keyRing: keyRingOf(own), issuer, audience, clockTolerance: 2_000, now, foreignReader: trusted.readerOf }),
    { size: 1_000, clockTolerance: 2_000, isEnded: () => false, now }
  )
  trusted.onLoss(cache.clear)
  const verify = async (token: string) => await askPatiently(cache.verify, token)
  const close = async () => {
    trusted.close()
    await keeper.flush()
    await documents.close()
  }
  t.teardown(close)
  if (start) trusted.start()
  return {
    verify,
    async outcome (token) {
      try {
        return (await verify(token)).subject
      } catch (error) {
        return error instanceof Error && 'code' in error ? String(error.code) : String(error)
      }
    },
    trusted,
    own,
    later (milliseconds) {
      offset += milliseconds
    },
    fetches,
    async nextFetch () {
      // The first may have begun before.
      const enough = fetches.length + 2
      while (fetches.length < enough) await within(10_000, once(events, 'fetch'))
    },
    async fetchedSo (outcome) {
      while (fetches.at(-1) !== outcome) await within(10_000, once(events, 'fetch'))
    },
    log,
    close,
  }
}
