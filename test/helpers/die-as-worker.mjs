/**
 * For `node --import`: a worker ends itself, as by kill -9, before it has begun, if it is among the first of them: how many, stands
 * in the file that GATEWARDEN_DEATHS names. Each that begins is written into the file beside it, `….born`, with its fate.
 */
import cluster from 'node:cluster'
import { appendFileSync, readFileSync } from 'node:fs'

const file = process.env['GATEWARDEN_DEATHS'] ?? ''

if (cluster.isWorker) {
  const elders = readFileSync(`${file}.born`, 'utf8').split('\n').length - 1
  const fate = elders < Number(readFileSync(file, 'utf8')) ? 'dies' : 'lives'
  appendFileSync(`${file}.born`, `${process.pid} ${fate}\n`)
  if (fate === 'dies') process.kill(process.pid, 'SIGKILL')
}
