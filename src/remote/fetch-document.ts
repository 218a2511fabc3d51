/** One small document from another server: GET, no redirects, certificates verified, bounded in size by this file and in time by the caller. */
import type { Agent } from 'undici'
import type { FetchDocument, FetchedDocument } from '../tokens/key-discovery.ts'

/** Bytes. A JWKS has a few thousand. */
export const largestDocument = 512 * 1024

export interface DocumentFetcher {
  readonly fetchDocument: FetchDocument
  close (): Promise<void>
}

export interface DocumentFetcherOptions {
  /** Bytes of a document; what is longer is refused, and not read to its end. */
  readonly largest: number
  /** Certificates (PEM) that are trusted beside those that Node knows. */
  readonly ca?: string
}

export function createDocumentFetcher ({ largest, ca }: DocumentFetcherOptions): DocumentFetcher {
  /** Loaded with the first document: most gateways never ask for one. */
  let opened: Promise<Agent> | null = null
  const open = async (): Promise<Agent> => {
    const { Agent } = await import('./http-client.ts')
    return new Agent({
      connect: { rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) },
      maxHeaderSize: 16_384,
      maxResponseSize: largest,
      pipelining: 0,
    })
  }

  async function fetchDocument (url: URL, signal: AbortSignal): Promise<FetchedDocument> {
    try {
      opened ??= open()
      const agent = await opened
      // A redirect is an answer like others: undici follows none unless it is told to.
      const { statusCode, headers, body } = await agent.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: 'GET',
        signal,
        reset: true,
        headers: { 'accept': 'application/json', 'accept-encoding': 'identity', 'user-agent': 'gatewarden' },
      })
      // Whoever drops a body must listen: an error of one that nobody reads would end the process.
      body.on('error', () => {})
      const refused = headFault(statusCode, headers)
      if (refused !== null) {
        body.destroy()
        return refused
      }
      const chunks: Buffer[] = []
      let length = 0
      for await (const chunk of body as AsyncIterable<Buffer>) {
        length += chunk.length
        if (length > largest) return tooLarge
        chunks.push(chunk)
      }
      return { bytes: Buffer.concat(chunks) }
    } catch (error) {
      return faultOf(error, signal)
    }
  }

  return {
    fetchDocument,
    async close () {
      await (await opened)?.destroy()
    },
  }
}

const tooLarge: FetchedDocument = { fault: 'too_large', detail: 'the document is too large' }

function headFault (status: number, headers: Readonly<Record<string, string | string[] | undefined>>): FetchedDocument | null {
  // Followed, it would let the place that is named decide nothing, and whoever holds an open redirect there everything.
  if (status >= 300 && status < 400) return { fault: 'redirect', detail: `answered ${status}; redirects are not followed` }
  if (status !== 200) return { fault: 'status', detail: `answered ${status}` }
  const coding = headers['content-encoding']
  return coding === undefined || coding === 'identity' ? null : { fault: 'invalid', detail: 'answered in a coding that was not asked for' }
}

/** The code of the fault; never the message of a library, which may hold anything. */
function faultOf (error: unknown, signal: AbortSignal): FetchedDocument {
  if (signal.aborted) return { fault: 'timeout', detail: 'gave no answer in time' }
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown fault'
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return tooLarge
  if (/TIMEOUT|TIMEDOUT/.test(code)) return { fault: 'timeout', detail: code }
  return { fault: 'unreachable', detail: code }
}
