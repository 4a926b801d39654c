import assert from 'node:assert/strict'
import fc from 'fast-check'
import { partitionFor } from '../../log/partitioner.ts'

/** With as many partitions as the hash has values, the partition is the hash. */
const HASHES = 2 ** 31

describe('partitionFor', () => {
  it("agrees with Kafka's murmur2 on Kafka's own test vectors", () => {
    const vectors: [string, number][] = [
      ['21', -973932308],
      ['foobar', -790332482],
      ['a-little-bit-long-string', -985981536],
      ['a-little-bit-longer-string', -1486304829],
      ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
      ['abc', 479470107],
    ]
    for (const [text, hash] of vectors) {
      assert.equal(partitionFor(Buffer.from(text), HASHES), hash & 0x7fffffff, text)
    }
  })

  it('is a partition that exists, the same for the same bytes wherever they stand', () => {
    fc.assert(
      fc.property(
        fc.uint8Array(),
        fc.integer({ min: 1, max: 1_000 }),
        fc.nat(9),
        (key, partitions, shift) => {
          const partition = partitionFor(key, partitions)
          assert(Number.isInteger(partition) && partition >= 0 && partition < partitions)
          const moved = Buffer.alloc(key.length + shift, 0xff)
          moved.set(key, shift)
          assert.equal(partitionFor(moved.subarray(shift), partitions), partition)
        },
      ),
    )
  })

  it('spreads keys evenly', () => {
    const counts = new Array<number>(8).fill(0)
    for (let i = 0; i < 8_000; i++) counts[partitionFor(Buffer.from(`customer-${i}`), 8)]!++
    for (const count of counts) assert(count > 800 && count < 1_200, counts.join(' '))
  })
})
