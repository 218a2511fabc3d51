import t from 'tap'
import { closeFrame, createFrameTracker, maskedCloseFrame } from '../../src/gateway/websocket-frames.ts'

/** mulberry32: the same numbers for the same seed, so that a failure can be run again. */
function seeded (seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296
  }
}

interface Shape { readonly opcode: number, readonly length: number, readonly masked: boolean, readonly fin?: boolean }

function frame ({ opcode, length, masked, fin = true }: Shape, random: () => number): Buffer {
  const first = (fin ? 0x80 : 0) | opcode
  const maskBit = masked ? 0x80 : 0
  const size = length < 126
    ? Buffer.of(maskBit | length)
    : length < 65_536
      ? Buffer.of(maskBit | 126, length >> 8, length & 0xff)
      : Buffer.concat([Buffer.of(maskBit | 127), uint64(length)])
  const body = Buffer.alloc((masked ? 4 : 0) + length)
  // Payload that looks like headers of frames, close frames above all.
  for (let index = 0; index < body.length; index++) body[index] = random() < 0.5 ? 0x88 : Math.floor(random() * 256)
  return Buffer.concat([Buffer.of(first), size, body])
}

function uint64 (value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

t.test('a new tracker is at a boundary and has seen no close', async (t) => {
  const tracker = createFrameTracker()
  t.equal(tracker.isAtBoundary(), true)
  t.equal(tracker.hasClosed(), false)
})

t.test('finds the end of frames of every length form, whatever way the bytes are cut', async (t) => {
  const lengths = [0, 1, 2, 5, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537, 100_000]
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const pick = <Value> (values: readonly Value[]): Value => values[Math.floor(random() * values.length)] as Value
    const ends = new Set<number>([0])
    const frames: Buffer[] = []
    let total = 0
    for (let count = 1 + Math.floor(random() * 6); count > 0; count--) {
      const made = frame({ opcode: pick([0, 1, 2, 9, 10]), length: pick(lengths), masked: random() < 0.5, fin: random() < 0.7 }, random)
      frames.push(made)
      total += made.length
      ends.add(total)
    }
    const bytes = Buffer.concat(frames)
    const longest = pick([1, 3, 17, 1_000, 70_000])
    const tracker = createFrameTracker()
    let offset = 0
    while (offset < bytes.length) {
      const chunk = bytes.subarray(offset, offset + 1 + Math.floor(random() * (total < 5_000 ? longest : Math.max(longest, 1_000))))
      tracker.take(chunk)
      offset += chunk.length
      if (tracker.isAtBoundary() !== ends.has(offset)) t.fail(`seed ${seed}: wrong about byte ${offset}`)
    }
    if (tracker.hasClosed()) t.fail(`seed ${seed}: took payload for a close frame`)
  }
  t.pass()
})

t.test('stops at the end of the frame under way, and only there', async (t) => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const made = frame({ opcode: 2, length: Math.floor(random() * 70_000), masked: random() < 0.5 }, random)
    const following = Buffer.concat([frame({ opcode: 1, length: Math.floor(random() * 200), masked: false }, random), Buffer.of(0x81)])
    const bytes = Buffer.concat([made, following])
    const tracker = createFrameTracker()
    let offset = 1 + Math.floor(random() * (made.length - 1))
    tracker.take(bytes.subarray(0, offset))
    while (!tracker.isAtBoundary()) {
      const chunk = bytes.subarray(offset, offset + 1 + Math.floor(random() * 30_000))
      const length = tracker.takeRestOfFrame(chunk)
      offset += length
      if (length < chunk.length && !tracker.isAtBoundary()) t.fail(`seed ${seed}: stopped within the frame`)
    }
    if (offset !== made.length) t.fail(`seed ${seed}: stopped at ${offset} of ${made.length}`)
  }
  t.pass()
})

t.test('at a boundary nothing is taken as the rest of a frame', async (t) => {
  const tracker = createFrameTracker()
  t.equal(tracker.takeRestOfFrame(Buffer.from([0x81, 0x00])), 0)
  t.equal(tracker.isAtBoundary(), true)
})

t.test('a close frame counts when it is whole, masked or not, with or without a reason', async (t) => {
  for (const bytes of [Buffer.of(0x88, 0), closeFrame(1000, ''), closeFrame(4401, 'token expired'), maskedCloseFrame(1000, 'bye')]) {
    const tracker = createFrameTracker()
    tracker.take(bytes.subarray(0, -1))
    t.equal(tracker.hasClosed(), false)
    tracker.take(bytes.subarray(-1))
    t.equal(tracker.hasClosed(), true)
    t.equal(tracker.isAtBoundary(), true)
    tracker.take(Buffer.of(0x81, 0x01, 0x41))
    t.equal(tracker.hasClosed(), true, 'and stays so')
  }
})

t.test('a length beyond any connection never ends', async (t) => {
  const tracker = createFrameTracker()
  tracker.take(Buffer.of(0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
  tracker.take(Buffer.alloc(1_000_000))
  t.equal(tracker.isAtBoundary(), false)
})

t.test('close frames are control frames with code and reason', async (t) => {
  t.same(closeFrame(4401, 'over'), Buffer.from([0x88, 6, 0x11, 0x31, ...Buffer.from('over')]))
  const masked = maskedCloseFrame(4401, 'over')
  t.equal(masked[0], 0x88)
  t.equal(masked[1], 0x80 | 6)
  const key = masked.subarray(2, 6)
  const payload = masked.subarray(6).map((byte, index) => byte ^ (key[index % 4] ?? 0))
  t.same(Buffer.from(payload), Buffer.from([0x11, 0x31, ...Buffer.from('over')]))
  t.notSame(maskedCloseFrame(4401, 'over').subarray(2, 6), key, 'by another key each time')
})
