import t from 'tap'
import { createLogDestination } from '../../src/ops/log-destination.ts'

/** `room`: bytes that the disk still takes. */
function start () {
  const disk = { room: Infinity, text: '' }
  const lost: number[] = []
  const { write } = createLogDestination({
    write (bytes) {
      if (disk.room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      const taken = Math.min(disk.room, bytes.length)
      disk.text += bytes.toString('utf8', 0, taken)
      disk.room -= taken
      return taken
    },
    onLost: (lines) => { lost.push(lines) },
  })
  return { disk, lost, write }
}

t.test('each line is written at once', async (t) => {
  const { disk, write } = start()
  write('one\n')
  t.equal(disk.text, 'one\n')
  write('two\n')
  t.equal(disk.text, 'one\ntwo\n')
})

t.test('what finds no room follows when there is some, and a line that was begun goes on where it stopped', async (t) => {
  const { disk, lost, write } = start()
  disk.room = 6
  for (const line of ['one\n', 'two\n', 'three\n']) write(line)
  t.equal(disk.text, 'one\ntw')
  disk.room = Infinity
  write('four\n')
  t.equal(disk.text, 'one\ntwo\nthree\nfour\n')
  t.strictSame(lost, [])
})

t.test('beyond a bound lines are lost, and their number is told once', async (t) => {
  const { disk, lost, write } = start()
  const line = `${'x'.repeat(1_023)}\n`
  disk.room = 0
  for (let number = 0; number < 100; number++) write(line)
  disk.room = Infinity
  write('the next\n')
  t.equal(disk.text, `${line.repeat(64)}the next\n`)
  t.strictSame(lost, [36])
  write('and the one after\n')
  t.strictSame(lost, [36])
})

t.test('a line longer than the bound is written where there is room', async (t) => {
  const { disk, write } = start()
  const line = `${'x'.repeat(100_000)}\n`
  write(line)
  t.equal(disk.text, line)
})
