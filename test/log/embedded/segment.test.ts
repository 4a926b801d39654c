import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  BatchBuilder,
  OFFSET_DELTA,
  STRIDE,
  type ProduceBatch,
  type RecordBatch,
} from '../../../log/batch.ts'
import { cutBatch, decodeSegment, encodeSegments, SegmentMerger } from '../../../log/embedded/segment.ts'

const field = fc.option(fc.uint8Array({ maxLength: 30 }))
const record = fc.record({ key: field, value: field, header: field })
type Entry = { key: Uint8Array | null; value: Uint8Array | null; header: Uint8Array | null }

const AT = { partitionId: 1, baseOffset: 1_000, timestampMs: 5 }

function build(records: readonly Entry[]): BatchBuilder {
  const builder = new BatchBuilder('t', 0)
  for (const { key, value, header } of records) {
    builder.append(key, value, header === null ? undefined : { h: header })
  }
  return builder
}

function entriesOf(batch: RecordBatch): (Entry & { offset: number })[] {
  const plain = (bytes: Buffer | null | undefined): Uint8Array | null =>
    bytes === null || bytes === undefined ? null : new Uint8Array(bytes)
  return Array.from({ length: batch.count }, (_, i) => ({
    offset: batch.offsetAt(i),
    key: plain(batch.keyAt(i)),
    value: plain(batch.valueAt(i)),
    header: plain(batch.headerAt(i, 'h')),
  }))
}

const expected = (records: readonly Entry[]): (Entry & { offset: number })[] =>
  records.map((r, i) => ({ ...r, offset: 1_000 + i }))

describe('segments', () => {
  it('give back what was sent, in as many as it takes, each no larger than asked', () => {
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 40, size: 'max' }),
        fc.integer({ min: 1, max: 400 }),
        (records, maxBytes) => {
          const segments = encodeSegments(build(records), AT, maxBytes)
          const batches = segments.map((segment) => decodeSegment(segment, 't', 0))
          assert.deepEqual(batches.flatMap(entriesOf), expected(records))
          batches.forEach((batch, i) => {
            assert(batch.count === 1 || batch.buffer.length <= maxBytes)
            assert.equal(batch.baseOffset, batch.offsetAt(0))
            assert.equal(batch.nextOffset, batches[i + 1]?.baseOffset ?? 1_000 + records.length)
          })
        },
      ),
    )
  })

  it('number the records densely, whatever deltas the sender left in its positions', () => {
    const batch = build([1, 2, 3].map((n) => ({ key: null, value: new Uint8Array([n]), header: null })))
    batch.positions[STRIDE + OFFSET_DELTA] = 17
    batch.positions[2 * STRIDE + OFFSET_DELTA] = 99
    const [segment] = encodeSegments(batch, AT, 1_000)
    assert.deepEqual(
      entriesOf(decodeSegment(segment!, 't', 0)).map(({ offset }) => offset),
      [1000, 1001, 1002],
    )
  })

  it('stay whole where records share bytes', () => {
    const shared = build([{ key: null, value: Buffer.from('the same for all'), header: null }])
    const positions = new Int32Array(STRIDE * 3)
    for (let i = 0; i < 3; i++) positions.set(shared.positions.subarray(0, STRIDE), i * STRIDE)
    const batch: ProduceBatch = {
      topic: 't',
      partition: 0,
      buffer: shared.buffer,
      byteLength: shared.byteLength,
      positions,
      count: 3,
    }
    const segments = encodeSegments(batch, AT, 4)
    const values = segments
      .flatMap((segment) => entriesOf(decodeSegment(segment, 't', 0)))
      .map(({ value }) => Buffer.from(value!).toString())
    assert.deepEqual(values, Array(3).fill('the same for all'))
  })

  it('refuse positions that do not fit', () => {
    const batch = build([{ key: null, value: new Uint8Array(1), header: null }])
    assert.throws(() => encodeSegments({ ...wrap(batch), count: 1_000 }, AT, 100), { code: 'INVALID_STATE' })
    assert.throws(() => encodeSegments({ ...wrap(batch), byteLength: 1e6 }, AT, 100), {
      code: 'INVALID_STATE',
    })
  })

  it('can be read from any offset, in parts of any size', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 40, size: 'max' }),
        fc.nat(39),
        fc.integer({ min: 1, max: 300 }),
        (records, skip, maxBytes) => {
          const [segment] = encodeSegments(build(records), AT, Number.MAX_SAFE_INTEGER)
          const whole = decodeSegment(segment!, 't', 0)
          const from = 1_000 + (skip % records.length)
          const read: unknown[] = []
          for (let position = from; position < whole.nextOffset;) {
            const part = cutBatch(whole, position, maxBytes)
            assert.equal(part.baseOffset, position)
            assert(part.nextOffset > position)
            read.push(...entriesOf(part))
            position = part.nextOffset
          }
          assert.deepEqual(read, expected(records).slice(from - 1_000))
        },
      ),
    )
  })

  it('merge into one that keeps offsets and times', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(record, fc.boolean()), { minLength: 1, maxLength: 40, size: 'max' }),
        (choices) => {
          const kept = choices.map(([, keep], i) => keep || i === 0)
          const segments = encodeSegments(build(choices.map(([r]) => r)), AT, 60)
          const merger = new SegmentMerger(1)
          let i = 0
          segments.forEach((segment, s) => {
            const ref = { ...segment.ref, timestampMs: 5 + s }
            const batch = decodeSegment({ ref, value: segment.value }, 't', 0)
            for (let r = 0; r < batch.count; r++, i++) if (kept[i]) merger.add(batch, r)
          })
          const merged = merger.finish()
          assert.equal(merged.ref.byteLength, merged.value.length)
          const batch = decodeSegment(merged, 't', 0)
          assert.deepEqual(
            entriesOf(batch),
            expected(choices.map(([r]) => r)).filter((_, r) => kept[r]),
          )
          assert.equal(batch.timestampAt(0), 5)
          assert.equal(batch.nextOffset, batch.offsetAt(batch.count - 1) + 1)
          const again = cutBatch(batch, batch.offsetAt(batch.count - 1), 1)
          assert.equal(again.timestampAt(0), batch.timestampAt(batch.count - 1))
        },
      ),
    )
  })
})

function wrap(batch: BatchBuilder): ProduceBatch {
  const { topic, partition, buffer, byteLength, positions, count } = batch
  return { topic, partition, buffer, byteLength, positions, count }
}
