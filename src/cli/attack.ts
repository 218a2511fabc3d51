/** `gatewarden attack`: the operator's own configuration, started on loopback before a recorder, against every attack that is known. */
import { runAttacks, type AttackReport } from '../attack/run.ts'
import type { ClassResult, Failure } from '../attack/attack.ts'
import { StartupFault } from '../errors.ts'
import { loadOrThrow, type ConfigOption } from './config-option.ts'
import { print, printJson, printTable } from './print.ts'

export interface AttackCommandOptions extends ConfigOption {
  readonly json?: true
}

/** Failures of a class that are printed in full; all are in the JSON. */
const SHOWN = 5

export async function attack ({ config: file, json }: AttackCommandOptions): Promise<void> {
  const { config } = loadOrThrow(file)
  const stop = onSignal()
  try {
    const report = await runAttacks(config, { isStopped: stop.hasCome })
    if (json === true) printJson(report)
    else printReport(file, report)
    if (stop.hasCome()) throw new StartupFault('stopped by a signal: not every attack was run')
    if (!report.held) throw new StartupFault(verdict(report))
  } finally {
    stop.forget()
  }
}

function printReport (file: string, report: AttackReport): void {
  const { classes, dialled, bound, leftOut, milliseconds } = report
  for (const one of classes) [...one.failedControls.slice(0, SHOWN).map((failure) => ['control', failure] as const), ...one.failures.slice(0, SHOWN).map((failure) => ['attack', failure] as const)].forEach(([kind, failure]) => { printFailure(one, kind, failure) })
  printTable(['class', 'controls', 'cases', 'held', 'failed', ''], classes.map((one) => [one.name, String(one.controls), String(one.cases), String(one.held), String(one.failures.length), verdictOf(one)]))
  for (const line of leftOut) print(`left out: ${line}`)
  const cases = classes.reduce((sum, one) => sum + one.cases, 0)
  print(`${file}: ${cases} attacks in ${(milliseconds / 1000).toFixed(1)} s, on loopback alone (${bound.length} ports bound, ${dialled.length} dialled)${report.held ? ': nothing got through' : ''}`)
}

function verdictOf ({ ok, cases, failedControls }: AttackReport['classes'][number]): string {
  if (failedControls.length > 0) return 'NOT SHOWN: what is legitimate did not pass'
  if (cases === 0) return 'nothing to attack'
  return ok ? 'held' : 'GOT THROUGH'
}

function printFailure ({ name }: ClassResult, kind: 'control' | 'attack', { attack, why, sent, answered, upstreamSaw }: Failure): void {
  print(`${kind === 'attack' ? 'GOT THROUGH' : 'NOT SHOWN'}  ${name}: ${attack}`)
  print(`  why            ${visible(why)}`)
  print(`  sent           ${visible(sent)}`)
  if (answered !== '') print(`  answered       ${visible(answered)}`)
  for (const raw of upstreamSaw) print(`  upstream saw   ${visible(raw)}`)
  print('')
}

/** Bytes as they are written in a test; of very many, both ends. */
function visible (bytes: string): string {
  // eslint-disable-next-line no-control-regex -- what a terminal might obey is what is escaped
  const text = bytes.replace(/[\u0000-\u001f\u007f-\uffff\\]/g, (character) => JSON.stringify(character).length > 3 ? JSON.stringify(character).slice(1, -1) : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return text.length <= 4_000 ? text : `${text.slice(0, 2_000)} … ${text.length - 4_000} more … ${text.slice(-2_000)}`
}

function verdict ({ classes, strangers }: AttackReport): string {
  const through = classes.filter(({ failures }) => failures.length > 0).map(({ name, failures }) => `${name} (${failures.length})`)
  const notShown = classes.filter(({ ok, failures }) => !ok && failures.length === 0).map(({ name }) => name)
  return [
    ...through.length > 0 ? [`something got through: ${through.join(', ')}`] : [],
    ...notShown.length > 0 ? [`not shown, for what is legitimate did not pass: ${notShown.join(', ')}`] : [],
    ...strangers.length > 0 ? [`something was to be reached off this machine: ${strangers.join(', ')}`] : [],
  ].join('; ')
}

/** The attack ends between two classes, and takes its files along. */
function onSignal (): { hasCome (): boolean, forget (): void } {
  let come = false
  const listener = () => { come = true }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, listener)
  return {
    hasCome: () => come,
    forget () { for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, listener) },
  }
}
