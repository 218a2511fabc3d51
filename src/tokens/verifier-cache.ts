/** The same Verify, remembered until the token expires, a key changes or its session ends. */
import { LRUCache } from 'lru-cache'
import { Refusal } from '../errors.ts'
import { BadToken } from './bad-token.ts'
import type { Identity, Verify } from './identity.ts'
import { longestToken } from './strict-jwt.ts'
import { hasExpired } from './verifier.ts'

export interface CachedVerify {
  readonly verify: Verify
  /** Counts since the start: `misses` were not among the good ones, `refused` ended in a refusal. `size` is how many good ones are remembered. */
  stats (): { hits: number, misses: number, refused: number, size: number }
  /** To be called whenever a key changes (`keyRing.onChange`): all is checked anew. */
  clear (): void
}

export interface VerifierCacheOptions {
  /** Good tokens that are remembered; none with 0. */
  readonly size: number
  /** Milliseconds; the same that `verify` was made with. */
  readonly clockTolerance: number
  /** Asked on every call. */
  readonly isEnded: (sessionId: string) => boolean
  readonly now: () => number
}

/** The token is `head` and `rest`. */
interface Remembered {
  /** Its first part, which is the same in all that one key has signed: one text for them all. */
  readonly head: string
  readonly rest: string
  readonly identity: Identity
}

/** Characters at a token's end that it is looked up by: 258 bits of its signature, whatever the algorithm. */
const tailLength = 43
/** Bytes that an entry is reckoned at beside its token: the claims, and what the cache itself keeps. */
const entryOverhead = 1024
/** First parts that are held at once. There are as many as keys, unless another issuer writes something of each token into them. */
const mostHeads = 100
/** Tokens that are known to be bad: few, for each is worth one check of a signature, and nobody is owed that they are kept. */
const badTokens = 1000

/**
 * A good token is looked up by its end, for to hash all of it costs more than the rest of a hit, and then compared as a whole, as
 * it came: nothing that could collide proves anything, and of two with one end the later is remembered. Two spellings of one
 * token, such as the two signatures that ECDSA allows for one key and payload, are two entries that prove the same identity.
 */
export function createVerifierCache (verify: Verify, { size, clockTolerance, isEnded, now }: VerifierCacheOptions): CachedVerify {
  // Bound by number and by bytes: a token may be 8 KiB long, and typical ones are far below 1 KiB.
  const good = size === 0 ? null : createCache<Remembered>(size, Math.max(size * 2, 32) * entryOverhead, ({ head, rest }) => head.length + rest.length)
  // Apart from the good ones: a flood of bad tokens must not push out what honest callers use.
  const bad = size === 0 ? null : createCache<BadToken>(badTokens, badTokens * 2 * entryOverhead, (_, token) => token.length)
  const heads = new Map<string, string>()
  let hits = 0
  let misses = 0
  let refused = 0

  function examine (token: string): Identity {
    misses++
    const known = bad?.get(token)
    if (known !== undefined) throw refuse(known)
    try {
      const identity = verify(token)
      remember(token, identity)
      return identity
    } catch (error) {
      if (error instanceof BadToken && error.forGood && token.length <= longestToken) bad?.set(token, error)
      throw refuse(error)
    }
  }

  function remember (token: string, identity: Identity): void {
    const end = token.indexOf('.')
    const rest = copyOf(token.slice(end))
    good?.set(rest.slice(-tailLength), { head: oneText(token.slice(0, end)), rest, identity })
  }

  function oneText (head: string): string {
    const known = heads.get(head)
    if (known !== undefined) return known
    if (heads.size === mostHeads) heads.clear()
    const own = copyOf(head)
    heads.set(own, own)
    return own
  }

  function refuse (error: unknown): unknown {
    refused++
    return error
  }

  return {
    verify (token) {
      const remembered = good?.get(token.slice(-tailLength))
      let identity: Identity
      if (remembered === undefined || !isOf(remembered, token)) {
        identity = examine(token)
      } else {
        identity = remembered.identity
        hits++
        if (hasExpired(identity, now(), clockTolerance)) throw refuse(new BadToken('expired', { code: 'GW_TOKEN_EXPIRED', forGood: false }))
      }
      if (identity.sessionId !== null && isEnded(identity.sessionId)) throw refuse(new Refusal('GW_SESSION_ENDED', { reason: 'the session has ended' }))
      return identity
    },
    stats: () => ({ hits, misses, refused, size: good?.size ?? 0 }),
    clear () {
      good?.clear()
      bad?.clear()
      heads.clear()
    },
  }
}

function isOf ({ head, rest }: Remembered, token: string): boolean {
  return token.length === head.length + rest.length && token.slice(head.length) === rest && token.slice(0, head.length) === head
}

/** What is cut out of a header or a form would keep all of that in memory. Of a token that is good: ASCII. */
function copyOf (text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}

/**
 * At most `entries`, and at most `bytes`. lru-cache sets room aside for all that `max` allows, megabytes before the first token came;
 * so each entry weighs at least its share of the bytes, which comes to the same bound.
 */
function createCache<Value extends object> (entries: number, bytes: number, lengthOf: (value: Value, key: string) => number): LRUCache<string, Value> {
  const share = Math.floor(bytes / entries)
  return new LRUCache({ maxSize: bytes, sizeCalculation: (value, key) => Math.max(share, lengthOf(value, key) + entryOverhead) })
}
