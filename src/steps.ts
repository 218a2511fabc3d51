/** The steps at which a crash would show: told to whoever listens, which is a test that kills the process there. None on a proxied request's way. */
import { channel } from 'node:diagnostics_channel'

/** All there are. What happens more than once in one operation is told of each time. */
export const allSteps = [
  'login: attempt counted', 'login: password checked', 'login: attempt taken back',
  'login: session written', 'login: user looked at again', 'login: to be answered',
  'refresh: session found', 'refresh: user found', 'refresh: rotated', 'refresh: found rotated before', 'refresh: to be answered',
  'session: ended', 'sessions of a user: ended',
  'user: changed',
  'keys: planned', 'keys: key made', 'keys: ring taken', 'keys: dead ones deleted', 'keys: times moved', 'keys: next key written', 'keys: committed',
  'master key: draft written', 'master key: in place',
  'migration: one begun', 'migration: one applied', 'migration: all committed',
  'import: all checked', 'import: batch written', 'import: all written', 'import: committed',
  'copy: table written', 'copy: committed',
  'storage: transaction begun', 'storage: write sent', 'storage: statement done', 'storage: commit sent', 'storage: committed',
] as const

export type Step = typeof allSteps[number]

const steps = channel('gatewarden.step')

/** Whether anybody listens: fixed by then, where something is made for that alone. */
export const areStepsWatched = (): boolean => steps.hasSubscribers

export function step (name: Step): void {
  if (steps.hasSubscribers) steps.publish(name)
}
