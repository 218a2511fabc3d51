/**
 * For `node --import`: ends its own process, as by kill -9, at the n-th passing of a step. Which, stands in the file that
 * GATEWARDEN_DEATH names, as `STEP\nN`; where it says `record`, each step is written into the file beside it, `….passed`. While
 * there is none, nothing is counted. Whoever dies takes the file along, as `….of.PID`: so of several processes one does, and is known.
 */
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync, readFileSync, renameSync } from 'node:fs'

const file = process.env['GATEWARDEN_DEATH'] ?? ''
let passed = 0

subscribe('gatewarden.step', (name) => {
  const [aim, nth] = read().split('\n')
  if (aim === 'record') appendFileSync(`${file}.passed`, `${name}\n`)
  if (aim !== name || ++passed !== Number(nth)) return
  // What is said to be sent is under way only at the end of this turn of the loop: then SQLite's thread has been told.
  if (name.endsWith(' sent')) setImmediate(die)
  else die()
})

function die () {
  try {
    renameSync(file, `${file}.of.${process.pid}`)
  } catch {
    // Another process was faster, the next order counts anew.
    passed = 0
    return
  }
  process.kill(process.pid, 'SIGKILL')
}

function read () {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
