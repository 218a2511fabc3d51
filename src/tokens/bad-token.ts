/** A token that is refused, and whether another look at it later could end otherwise. */
import { Refusal, type RefusalCode } from '../errors.ts'

/**
 * `forGood`: nothing that time or a new key brings can make this token valid, so it may be remembered as bad.
 * The reason is for the log; it names the rule that was broken, never a part of the token.
 */
export class BadToken extends Refusal {
  readonly forGood: boolean

  constructor (reason: string, options: { code?: RefusalCode, forGood: boolean, cause?: unknown }) {
    super(options.code ?? 'GW_TOKEN_INVALID', { reason, ...(options.cause === undefined ? {} : { cause: options.cause }) })
    this.forGood = options.forGood
  }
}

/** Refused now and whenever it comes again. */
export function badForGood (reason: string): BadToken {
  return new BadToken(reason, { forGood: true })
}

/** Refused now; a later clock or a key yet to be learned of may let it in. */
export function badForNow (reason: string): BadToken {
  return new BadToken(reason, { forGood: false })
}
