import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import zlib from 'node:zlib'
import fc from 'fast-check'
import { testScale } from '../../../../config/test-scale.ts'
import { LogError } from '../../../../log/errors.ts'
import { decodeRecords, type DecodedRecords } from '../../../../log/kafkajs/record-batch/decode.ts'
import { RecordBatchError } from '../../../../log/kafkajs/record-batch/errors.ts'
import {
  CONTROL,
  decode,
  encode,
  handwritten,
  headerNamesOf,
  marker,
  plainRecords,
  recordsOf,
  sealed,
  stored,
  textRecord,
  valuesOf,
  type PlainRecord,
  type ReadRecord,
} from './support.ts'

const codec = fc.constantFrom('none', 'gzip', 'snappy', 'lz4', 'zstd')
const runs = { numRuns: testScale.propertyRuns }

/** Two batches and a mark, and what is in them. */
function fetchOf(
  records: readonly PlainRecord[],
  compression: 'none',
): { bytes: Buffer; read: ReadRecord[] } {
  const first = encode(records, { compression })
  const second = stored(encode(records), { baseOffset: records.length })
  const bytes = Buffer.concat([first, second, marker('commit', 1, 2 * records.length)])
  return { bytes, read: recordsOf(decode(bytes).batches, headerNamesOf(records)) }
}

/** What came of it: records, or the error that says where. Anything else that is thrown fails the test. */
function outcome(run: () => DecodedRecords): DecodedRecords | RecordBatchError {
  try {
    return run()
  } catch (error) {
    assert.ok(error instanceof RecordBatchError, String((error as Error).stack))
    assert.ok(error instanceof LogError)
    assert.equal(error.topic, 't')
    assert.equal(error.partition, 0)
    assert.match(error.message, /^t-0, offset \d+: /)
    return error
  }
}

describe('damaged bytes', () => {
  it('cut anywhere, give the whole batches before the cut, and nothing else', () => {
    fc.assert(
      fc.property(plainRecords, codec, fc.nat(1_000), (records, compression, at) => {
        const { bytes, read } = fetchOf(records, compression as 'none')
        const cut = Math.floor((at / 1_000) * bytes.length)
        const result = outcome(() => decode(bytes.subarray(0, cut)))
        const firstBatch = 12 + bytes.readInt32BE(8)
        if (cut > 0 && cut < firstBatch) assert.ok(result instanceof RecordBatchError)
        if (result instanceof RecordBatchError) return
        const got = recordsOf(result.batches, headerNamesOf(records))
        assert.deepEqual(got, read.slice(0, got.length))
        assert.equal(got.length % records.length, 0)
        assert.equal(
          result.nextOffset,
          got.length === read.length && cut === bytes.length ? got.length + 1 : got.length,
        )
      }),
      runs,
    )
  })

  it('with a bit flipped under the checksum are refused', () => {
    fc.assert(
      fc.property(plainRecords, codec, fc.nat(), fc.nat(7), (records, compression, byte, bit) => {
        const { bytes } = fetchOf(records, compression as 'none')
        const end = 12 + bytes.readInt32BE(8)
        const at = 17 + (byte % (end - 17))
        bytes[at]! ^= 1 << bit
        assert.ok(outcome(() => decode(bytes)) instanceof RecordBatchError)
      }),
      runs,
    )
  })

  it('with a bit flipped anywhere give an error or the same records, but for offsets, which no checksum covers', () => {
    fc.assert(
      fc.property(plainRecords, codec, fc.nat(), fc.nat(7), (records, compression, byte, bit) => {
        const { bytes, read } = fetchOf(records, compression as 'none')
        const at = byte % bytes.length
        bytes[at]! ^= 1 << bit
        const result = outcome(() => decode(bytes))
        if (result instanceof RecordBatchError) return
        const names = headerNamesOf(records)
        const withoutOffset = (all: ReadRecord[]): unknown[] =>
          all.map((record) => ({ ...record, offset: 0 }))
        const got = recordsOf(result.batches, names)
        assert.deepEqual(withoutOffset(got), withoutOffset(read).slice(0, got.length))
        got.forEach(({ offset }, i) => assert.ok(i === 0 || offset > got[i - 1]!.offset))
      }),
      runs,
    )
  })

  it('whose checksum was made to fit them never lead out of their batch', () => {
    fc.assert(
      fc.property(
        plainRecords,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (records, changes) => {
          const batch = encode(records)
          for (const [byte, value] of changes) batch[21 + (byte % (batch.length - 21))] = value
          // What lies around it must never be read.
          const around = Buffer.concat([Buffer.alloc(500, 0x7f), sealed(batch), Buffer.alloc(500, 0x7f)])
          const result = outcome(() => decode(around.subarray(500, 500 + batch.length)))
          if (result instanceof RecordBatchError) return
          for (const { buffer, positions, count } of result.batches) {
            assert.ok(count <= batch.length)
            for (const position of positions) assert.ok(position >= -1 && position <= 0x7fffffff)
            for (let row = 0; row < count * 7; row += 7) {
              for (const [start, end] of [
                [0, 1],
                [2, 3],
                [4, 5],
              ] as const) {
                if (positions[row + end]! < 0) continue
                assert.ok(positions[row + start]! <= positions[row + end]!)
                assert.ok(positions[row + end]! <= buffer.length)
              }
            }
          }
        },
      ),
      runs,
    )
  })

  it('that are no records at all are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (noise) => {
        assert.ok(outcome(() => decode(Buffer.from(noise))) instanceof RecordBatchError)
      }),
      runs,
    )
  })
})

describe('a batch that contradicts itself', () => {
  const refused = (batch: Buffer, message: RegExp): void =>
    assert.throws(() => decode(batch), { name: 'RecordBatchError', code: 'STORAGE', message })
  const changed = (change: (batch: Buffer) => void, records = [textRecord('a'), textRecord('b')]): Buffer => {
    const batch = encode(records)
    change(batch)
    return sealed(batch)
  }

  it('by its count is refused before room is made for it', () => {
    const many = changed((batch) => {
      batch.writeInt32BE(0x7fffffff, 23)
      batch.writeInt32BE(0x7fffffff, 57)
    })
    refused(many, /2147483647 records in \d+ bytes/)
    refused(
      changed((batch) => batch.writeInt32BE(-1, 57)),
      /a batch of -1 records/,
    )
    refused(
      changed((batch) => batch.writeInt32BE(1, 57)),
      /would begin \d+ bytes before the batch's end/,
    )
    const gzipped = encode([textRecord('a')], { compression: 'gzip' })
    gzipped.writeInt32BE(0x7fffffff, 23)
    gzipped.writeInt32BE(0x7fffffff, 57)
    refused(sealed(gzipped), /2147483647 records in \d+ bytes/)
  })

  it('by its offsets is refused', () => {
    refused(
      changed((batch) => batch.writeInt32BE(-1, 23)),
      /offsets 0 to -1/,
    )
    refused(
      changed((batch) => batch.writeInt32BE(0, 23)),
      /2 records/,
    )
    refused(stored(encode([textRecord('a')]), { baseOffset: -5 }), /offsets -5/)
    const behind = Buffer.concat([
      stored(encode([textRecord('a')]), { baseOffset: 7 }),
      encode([textRecord('b')]),
    ])
    refused(behind, /8 is the least possible/)
  })

  it('by its length is refused', () => {
    const batch = encode([textRecord('a')])
    batch.writeInt32BE(5, 8)
    refused(batch, /says that it is 5 bytes long/)
    batch.writeInt32BE(-5, 8)
    refused(batch, /says that it is -5 bytes long/)
    batch.writeInt32BE(0x7fffffff, 8)
    refused(batch, /longer than the \d+ bytes that were sent/)
  })

  it('by the headers that it counts is refused', () => {
    // The last byte of a record without headers is their count.
    refused(
      changed((batch) => (batch[batch.length - 1] = 2)),
      /do not fit/,
    )
    refused(
      changed((batch) => (batch[batch.length - 1] = 1)),
      /do not fit/,
    )
  })

  it('by a length that no key, value or header can have is refused', () => {
    // Attributes, time and offset, all 0; then as zigzag varints: 1 is -1, which is null, and 3 is -2.
    const nothing = decode(handwritten(0, 0, 0, 1, 1, 0)).batches[0]!
    assert.deepEqual([nothing.keyAt(0), nothing.valueAt(0), nothing.hasHeaders(0)], [null, null, false])
    refused(handwritten(0, 0, 0, 3, 1, 0), /do not fit/)
    refused(handwritten(0, 0, 0, 1, 3, 0), /do not fit/)
    refused(handwritten(0, 0, 0, 1, 1, 2, 1), /do not fit/)
    refused(handwritten(0, 0, 0, 1, 1, 2, 0, 3), /do not fit/)
    const nullHeader = decode(handwritten(0, 0, 0, 1, 1, 2, 2, 65, 1)).batches[0]!
    assert.equal(nullHeader.hasHeaders(0), true)
    refused(handwritten(0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0), /do not fit|wrong offset/)
  })

  it('as a control batch without a key that says what it controls is refused', () => {
    const nameless = stored(encode([textRecord('a')]), { attributes: CONTROL })
    refused(nameless, /no key that says what it controls/)
  })

  it('of an older format says so, and what to do', () => {
    const batch = encode([textRecord('a')])
    batch[16] = 1
    refused(batch, /format 1.*since Kafka 0\.11.*Copy the topic/)
    batch[16] = 3
    refused(batch, /format 3/)
  })

  it('compressed in a way that nobody knows is refused', () => {
    refused(
      changed((batch) => batch.writeInt16BE(7, 21)),
      /codec 7/,
    )
  })
})

describe('a batch compressed by zstd', () => {
  it('on a Node without zstd says what to run instead', () => {
    const batch = encode([textRecord('a')], { compression: 'zstd' })
    const { zstdCompressSync } = zlib
    delete (zlib as Partial<typeof zlib>).zstdCompressSync
    syncBuiltinESMExports()
    try {
      assert.throws(() => decode(batch), {
        name: 'RecordBatchError',
        message: /t-0, offset 0: .*run on Node 22\.15/,
      })
      assert.throws(() => encode([textRecord('a')], { compression: 'zstd' }), { code: 'ZSTD_MISSING' })
    } finally {
      Object.assign(zlib, { zstdCompressSync })
      syncBuiltinESMExports()
    }
    assert.deepEqual(valuesOf(decode(batch)), ['a'])
  })
})

describe('a batch that would become too large', () => {
  const bomb = textRecord('0'.repeat(4_000_000))

  it('is refused before it is held, by every codec', () => {
    for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
      const fetched = {
        topic: 't',
        partition: 0,
        records: encode([bomb], { compression }),
        fetchOffset: 0,
        abortedTransactions: [],
      }
      assert.throws(() => decodeRecords(fetched, { maxDecompressedBytes: 1_000_000 }), {
        code: 'RECORD_TOO_LARGE',
        message: new RegExp(`^t-0, offset 0: a ${compression} batch`),
      })
      assert.equal(
        valuesOf(decodeRecords(fetched, { maxDecompressedBytes: 8_000_000 }))[0]!.length,
        4_000_000,
      )
    }
  })

  it('is counted together with the others of its fetch', () => {
    const records = Buffer.concat(
      [0, 1, 2].map((baseOffset) => stored(encode([bomb], { compression: 'gzip' }), { baseOffset })),
    )
    const fetched = { topic: 't', partition: 0, records, fetchOffset: 0, abortedTransactions: [] }
    assert.throws(() => decodeRecords(fetched, { maxDecompressedBytes: 10_000_000 }), {
      code: 'RECORD_TOO_LARGE',
    })
    assert.equal(decodeRecords(fetched, { maxDecompressedBytes: 13_000_000 }).nextOffset, 3)
  })
})
