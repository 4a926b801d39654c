import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ResponseFrames } from '../../../../log/kafkajs/hardening/copied-responses.ts'

function framed(bodies: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    bodies.flatMap((body) => {
      const length = Buffer.alloc(4)
      length.writeInt32BE(body.length)
      return [length, body]
    }),
  )
}

/** As a socket reads: never more than there is room for. */
function readInto(frames: ResponseFrames, bytes: Buffer, atMost: () => number): void {
  for (let at = 0; at < bytes.length;) {
    const count = bytes.copy(frames.room, 0, at, Math.min(bytes.length, at + atMost()))
    frames.advance(count)
    at += count
  }
}

describe('responses on a socket', () => {
  const bodies = fc.array(
    fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 300, size: 'max' }),
      fc.integer({ min: 50_000, max: 200_000 }).map((size) => new Uint8Array(size).fill(size % 251)),
    ),
    { maxLength: 6 },
  )

  it('come whole and in order, however they are cut on their way', () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1 }), (sent, cuts) => {
        const bytes = framed(sent)
        let cut = 0
        const next = (): number => cuts[cut++ % cuts.length]!
        const read: Buffer[] = []
        readInto(new ResponseFrames((frame) => read.push(frame)), bytes, next)
        assert.deepEqual(
          read,
          sent.map((body) => Buffer.from(body)),
        )
        const taken: Buffer[] = []
        const frames = new ResponseFrames((frame) => taken.push(frame))
        for (let at = 0; at < bytes.length;) {
          const end = Math.min(bytes.length, at + next())
          frames.take(bytes.subarray(at, end))
          at = end
        }
        assert.deepEqual(taken, read)
      }),
      { numRuns: 60 },
    )
  })

  it('a large one is read into the memory that is handed over, not copied there', () => {
    let given: Buffer | null = null
    const frames = new ResponseFrames((frame) => (given = frame))
    const bytes = framed([Buffer.alloc(1_000_000, 7)])
    bytes.copy(frames.room, 0, 0, 100)
    frames.advance(100)
    const { room } = frames
    assert.equal(room.length, 1_000_000 - 96, 'all that is missing, and no more')
    bytes.copy(room, 0, 100)
    frames.advance(room.length)
    assert.equal(given!.buffer, room.buffer)
  })

  for (const length of [-1, 0, 3, 0x48545450 /* HTTP */]) {
    it(`a length that cannot be (${length}) is refused before memory is made for it`, () => {
      const frames = new ResponseFrames(() => assert.fail('no frame'))
      const bytes = Buffer.alloc(8)
      bytes.writeInt32BE(length)
      assert.throws(() => frames.take(bytes), /what answers is no Kafka/)
    })
  }
})
