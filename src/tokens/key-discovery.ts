/** Where an issuer keeps its keys: the configured jwksUri, or the one of its own metadata (OpenID Connect Discovery 1.0 §4). */
import { readKeySet, type KeySet } from './issuer-key-set.ts'
import { readStrictJson } from './strict-json.ts'
import type { TrustedIssuerConfig } from '../config/schema.ts'

export type KeyFault = 'unreachable' | 'timeout' | 'redirect' | 'status' | 'too_large' | 'invalid' | 'wrong_issuer'

/** `detail` is for the log: what happened, and nothing that the other side wrote. */
export type Failed = { readonly fault: KeyFault, readonly detail: string }
export type FetchedDocument = { readonly bytes: Uint8Array } | Failed

/** Never rejects. Follows no redirect; the signal bounds its time. */
export type FetchDocument = (url: URL, signal: AbortSignal) => Promise<FetchedDocument>

/** Characters. It is written to the log. */
const longestAddress = 2048

/** Never rejects, whatever the other side says. */
export async function fetchKeySet (trusted: TrustedIssuerConfig, fetchDocument: FetchDocument, signal: AbortSignal): Promise<KeySet | Failed> {
  const place = trusted.jwksUri === undefined ? await discover(trusted, fetchDocument, signal) : new URL(trusted.jwksUri)
  if ('fault' in place) return place
  const fetched = await fetchDocument(place, signal)
  if ('fault' in fetched) return { ...fetched, detail: `${place.href} ${fetched.detail}` }
  const json = readStrictJson(fetched.bytes)
  if ('fault' in json) return { fault: 'invalid', detail: `${place.href} is ${json.fault}` }
  const set = await readKeySet(json.value, trusted.algorithms)
  return 'fault' in set ? { fault: 'invalid', detail: `${place.href} ${set.fault}` } : set
}

async function discover ({ issuer, allowInsecure }: TrustedIssuerConfig, fetchDocument: FetchDocument, signal: AbortSignal): Promise<URL | Failed> {
  // §4: a slash at the end of the issuer is taken away before the path is added.
  const metadata = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const fetched = await fetchDocument(metadata, signal)
  if ('fault' in fetched) return { ...fetched, detail: `${metadata.href} ${fetched.detail}` }
  const json = readStrictJson(fetched.bytes)
  if ('fault' in json) return { fault: 'invalid', detail: `${metadata.href} is ${json.fault}` }
  const { issuer: named, jwks_uri: jwksUri } = (json.value ?? {}) as Record<string, unknown>
  // §4.3: MUST be the same, letter for letter; else one issuer's metadata would lend its keys to another (mix-up).
  if (named !== issuer) return { fault: 'wrong_issuer', detail: `${metadata.href} is the metadata of another issuer` }
  const place = typeof jwksUri === 'string' && jwksUri.length <= longestAddress && URL.canParse(jwksUri) ? new URL(jwksUri) : null
  if (place === null || place.username !== '' || place.password !== '') return { fault: 'invalid', detail: `${metadata.href} names no usable jwks_uri` }
  if (!isSafe(place, metadata, allowInsecure)) return { fault: 'invalid', detail: `${metadata.href} names a jwks_uri that is not https` }
  return place
}

/** https; http only where the issuer itself is allowed it, and on this machine: metadata cannot send us around the network. */
function isSafe (place: URL, metadata: URL, allowInsecure: boolean): boolean {
  if (place.protocol === 'https:') return true
  return place.protocol === 'http:' && metadata.protocol === 'http:' && (allowInsecure || loopback.test(place.hostname))
}

/** A host as URL writes it: every other spelling of 127.0.0.1 has become this one. */
const loopback = /^(?:localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/
