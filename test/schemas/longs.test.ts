import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  MAX_TIMESTAMP_MS,
  readInt,
  readLong,
  readTimestamp,
  skipLong,
  writeLong,
  writeTimestamp,
} from '../../schemas/codec/bytes.ts'

/** Zigzag varint by the book. */
function zigzag(value: bigint): Buffer {
  const bytes: number[] = []
  let rest = value < 0n ? -2n * value - 1n : 2n * value
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

const edges = [6, 13, 20, 27, 30, 31, 34, 41, 48, 52, 53].flatMap((bits) =>
  [-1, 0, 1].flatMap((more) => [2 ** bits + more, -(2 ** bits) + more]),
)
const safe = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer(),
  fc.constantFrom(...edges.filter(Number.isSafeInteger)),
)

describe('integers on the wire', () => {
  it('are written and read by the book, over the whole range of safe integers', () => {
    const buffer = Buffer.alloc(24)
    fc.assert(
      fc.property(safe, fc.nat(9), (value, position) => {
        buffer.fill(0xff)
        const expected = zigzag(BigInt(value))
        const end = writeLong(buffer, position, value)
        assert.deepEqual(buffer.subarray(position, end), expected)
        assert.equal(readLong(buffer, position, end), value)
        assert.equal(skipLong(buffer, position, end), end)
        assert.equal(readInt(buffer, position, end), value === (value | 0) ? value : NaN)
        assert.equal(readLong(buffer, position, end - 1), NaN)
        assert.equal(skipLong(buffer, position, end - 1), -1)
      }),
      { numRuns: 2000 },
    )
  })

  it('are refused where a number could not tell them apart', () => {
    for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 60n, 2n ** 63n - 1n, -(2n ** 63n)]) {
      const bytes = zigzag(value)
      assert.equal(readLong(bytes, 0, bytes.length), NaN, String(value))
      assert.equal(skipLong(bytes, 0, bytes.length), bytes.length, 'what is not touched need not be read')
    }
  })

  it('end: a varint without an end is malformed', () => {
    const endless = Buffer.alloc(64, 0x80)
    assert.equal(readLong(endless, 0, 64), NaN)
    assert.equal(skipLong(endless, 0, 64), -1)
  })
})

describe('timestamps on the wire', () => {
  it('keep every microsecond between 1692 and 2248', () => {
    const buffer = Buffer.alloc(16)
    const max = MAX_TIMESTAMP_MS * 1000
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: -max, max }), fc.constantFrom(max, -max, max - 1, 1 - max, 0)),
        (micros) => {
          const end = writeTimestamp(buffer, 0, micros / 1000)
          assert.deepEqual(buffer.subarray(0, end), zigzag(BigInt(micros)))
          assert.equal(readTimestamp(buffer, 0, end), micros / 1000)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('outside of these years are refused', () => {
    const bytes = zigzag(BigInt(MAX_TIMESTAMP_MS * 1000) + 1n)
    assert.equal(readTimestamp(bytes, 0, bytes.length), NaN)
  })
})
