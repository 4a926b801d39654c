import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  APPEND_TIME,
  compacted,
  decode,
  encode,
  expected,
  headerNamesOf,
  marker,
  OPTIONS,
  plainRecords,
  recordsOf,
  stored,
  textRecord,
  valuesOf,
} from './support.ts'
import { kafkajs } from './kafkajs.ts'

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

const texts = (...values: string[]): ReturnType<typeof textRecord>[] =>
  values.map((value) => textRecord(value))

describe('fetched records, read', () => {
  it('are what was written, through every codec and any mixture of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(plainRecords, fc.constantFrom(...CODECS), fc.nat(5)), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.nat(3),
        (sent, cut) => {
          let offset = 0
          const wanted = []
          const parts = []
          for (const [records, compression, gap] of sent) {
            offset += gap
            parts.push(stored(encode(records, { compression }), { baseOffset: offset }))
            wanted.push(...expected(records, { baseOffset: offset }))
            offset += records.length
          }
          // A fetch ends where its bytes end.
          const whole = Buffer.concat([...parts, encode(texts('cut off')).subarray(0, cut * 20)])
          const { batches, nextOffset } = decode(whole)
          assert.deepEqual(recordsOf(batches, headerNamesOf(sent.flatMap(([records]) => records))), wanted)
          assert.equal(nextOffset, offset)
          assert.equal(batches.at(-1)?.nextOffset, offset)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('are what KafkaJS wrote, each with its own time', async () => {
    const { RecordBatch } = kafkajs('protocol/recordBatch/v0')
    const record = kafkajs('protocol/recordBatch/record/v0')
    const time = fc.oneof(fc.constant(0), fc.integer({ min: -5_000, max: 5_000 }), fc.nat(2 ** 41))
    await fc.assert(
      fc.asyncProperty(
        plainRecords,
        fc.array(time, { minLength: 80, maxLength: 80 }),
        async (records, times) => {
          const batch = (
            await RecordBatch({
              firstTimestamp: OPTIONS.timestampMs,
              lastOffsetDelta: records.length - 1,
              records: records.map((each, i) =>
                record({ ...each, offsetDelta: i, timestampDelta: times[i]! }),
              ),
            })
          ).buffer
          const read = recordsOf(decode(batch).batches, headerNamesOf(records))
          const wanted = expected(records).map((each, i) => ({
            ...each,
            timestampMs: OPTIONS.timestampMs + times[i]!,
          }))
          assert.deepEqual(read, wanted)
        },
      ),
    )
  })

  it('are joined over one buffer, without a copy, where nothing is compressed', () => {
    const fetched = Buffer.concat([
      encode(texts('a', 'b')),
      stored(encode(texts('c')), { baseOffset: 2 }),
      stored(encode(texts('d')), { baseOffset: 9 }),
    ])
    const { batches } = decode(fetched)
    assert.equal(batches.length, 1)
    assert.equal(batches[0]!.buffer, fetched)
    assert.deepEqual(
      recordsOf(batches).map(({ offset }) => offset),
      [0, 1, 2, 9],
    )
  })

  it('have the append time where the topic has append times, one time a batch as long as it is the same', () => {
    const at = (baseOffset: number, maxTimestampMs: number): Buffer =>
      stored(encode(texts('x', 'y')), { baseOffset, attributes: APPEND_TIME, maxTimestampMs })
    const same = decode(Buffer.concat([at(0, 500), at(2, 500)])).batches
    assert.equal(same[0]!.timestampsMs, null)
    assert.equal(same[0]!.timestampMs, 500)
    const different = decode(
      Buffer.concat([at(0, 500), at(2, 500), at(4, 900), at(6, 400), at(8, 500)]),
    ).batches
    assert.deepEqual(
      recordsOf(different).map(({ timestampMs }) => timestampMs),
      [500, 500, 500, 500, 900, 900, 400, 400, 500, 500],
    )
  })

  it('begin at the offset that was asked for', () => {
    const fetched = Buffer.concat([
      encode(texts('a', 'b', 'c')),
      stored(encode(texts('d', 'e')), { baseOffset: 3 }),
    ])
    for (let fetchOffset = 0; fetchOffset < 5; fetchOffset++) {
      const decoded = decode(fetched, { fetchOffset })
      assert.equal(valuesOf(decoded).join(''), 'abcde'.slice(fetchOffset))
      assert.equal(decoded.batches[0]!.baseOffset, fetchOffset)
      assert.equal(decoded.batches[0]!.offsetAt(0), fetchOffset)
      assert.equal(decoded.nextOffset, 5)
    }
  })

  it('keep their offsets where compaction left gaps', () => {
    const records = texts('a', 'b', 'c', 'd', 'e')
    const batch = stored(compacted(records, [1, 3]), { baseOffset: 100 })
    assert.deepEqual(
      recordsOf(decode(batch, { fetchOffset: 100 }).batches).map(({ offset }) => offset),
      [101, 103],
    )
    assert.equal(decode(batch, { fetchOffset: 104 }).batches.length, 0)
    assert.equal(decode(batch, { fetchOffset: 104 }).nextOffset, 105)
  })

  it('lie in batches whose offsets fit 32 bits, however far the log has come', () => {
    const far = 2 ** 52
    const fetched = Buffer.concat([
      encode(texts('a')),
      stored(encode(texts('b')), { baseOffset: 2 ** 31 - 1 }),
      stored(encode(texts('c')), { baseOffset: 2 ** 31 }),
      stored(encode(texts('d')), { baseOffset: far }),
    ])
    const { batches, nextOffset } = decode(fetched)
    assert.deepEqual(
      recordsOf(batches).map(({ offset }) => offset),
      [0, 2 ** 31 - 1, 2 ** 31, far],
    )
    assert.equal(batches.length, 3)
    assert.equal(nextOffset, far + 1)
  })

  it('take the marks behind them along in their next offset', () => {
    const fetched = Buffer.concat([
      marker('commit', 1, 0),
      stored(encode(texts('a')), { baseOffset: 1 }),
      marker('commit', 1, 2),
      stored(encode(texts('b'), { compression: 'lz4' }), { baseOffset: 3 }),
      marker('abort', 2, 4),
      marker('commit', 1, 5),
    ])
    const { batches, nextOffset } = decode(fetched)
    assert.deepEqual(
      batches.map((batch) => batch.nextOffset),
      [3, 6],
    )
    assert.equal(nextOffset, 6)
    assert.deepEqual(decode(marker('commit', 1, 7), { fetchOffset: 7 }), { batches: [], nextOffset: 8 })
  })

  it('are none where the broker sent none', () => {
    assert.deepEqual(decode(Buffer.alloc(0), { fetchOffset: 5 }), { batches: [], nextOffset: 5 })
  })
})
