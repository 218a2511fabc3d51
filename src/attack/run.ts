/** All attacks, one class after the other, and what is told of them. Throws a StartupFault where the gateway does not start. */
import type { Config } from '../config/schema.ts'
import { startGateway } from '../server.ts'
import { isHeld, runClass, type AttackClass, type ClassResult } from './attack.ts'
import { endpointUsers } from './endpoint-users.ts'
import { foreignTokens } from './foreign-tokens.ts'
import { framing } from './framing.ts'
import { identityHeaders, overridingHeaders } from './header-spellings.ts'
import { hosts } from './hosts.ts'
import { login } from './login.ts'
import { guardLoopback } from './loopback.ts'
import { methods } from './methods.ts'
import { openRange } from './range.ts'
import { refresh } from './refresh.ts'
import { paths } from './paths.ts'
import { splitting } from './splitting.ts'
import { forgedTokens, roles, withoutToken } from './token-attacks.ts'

export interface AttackReport {
  /** Nothing got through, and it was shown. */
  readonly held: boolean
  readonly classes: readonly (ClassResult & { readonly ok: boolean })[]
  /** Where the gateway listened, and all that was dialled: this machine alone. */
  readonly bound: readonly string[]
  readonly dialled: readonly string[]
  /** Addresses off this machine that something tried to reach, in vain. */
  readonly strangers: readonly string[]
  /** What of the configuration took no part. */
  readonly leftOut: readonly string[]
  readonly milliseconds: number
}

export interface AttackOptions {
  /** Another gateway than ours: for the test that attacks which succeed are noticed. */
  readonly start?: typeof startGateway
  readonly classes?: readonly AttackClass[]
  /** Asked between classes. */
  readonly isStopped?: () => boolean
}

/** In this order: the last ones move the clock, and use up what a login throttle allows. */
export const attackClasses: readonly AttackClass[] = [withoutToken, paths, hosts, identityHeaders, overridingHeaders, splitting, framing, methods, roles, forgedTokens, foreignTokens, login, endpointUsers, refresh]

export async function runAttacks (config: Config, { start = startGateway, classes = attackClasses, isStopped = () => false }: AttackOptions = {}): Promise<AttackReport> {
  const startedAt = performance.now()
  const guard = guardLoopback()
  try {
    const range = await openRange(config, { start })
    const results: (ClassResult & { ok: boolean })[] = []
    try {
      for (const one of classes) {
        if (isStopped()) break
        const result = await runClass(one, range)
        results.push({ ...result, ok: isHeld(result) })
      }
    } finally {
      await range.close()
    }
    const strangers = guard.strangers()
    return {
      held: results.every(({ ok }) => ok) && results.length === classes.length && strangers.length === 0,
      classes: results,
      bound: guard.bound(),
      dialled: guard.dialled(),
      strangers,
      leftOut: [...range.leftOut, ...results.flatMap(({ name, leftOut }) => leftOut.map((what) => `${name}: ${what}`))],
      milliseconds: Math.round(performance.now() - startedAt),
    }
  } finally {
    guard.close()
  }
}
