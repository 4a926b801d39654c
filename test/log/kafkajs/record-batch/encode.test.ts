import assert from 'node:assert/strict'
import fc from 'fast-check'
import { BatchBuilder, ByteWriter } from '../../../../log/batch.ts'
import { encodedSizeBound, encodeRecordBatch } from '../../../../log/kafkajs/record-batch/encode.ts'
import {
  builderOf,
  encode,
  kafkaJsDecode,
  OPTIONS,
  plainRecords,
  textRecord,
  type PlainRecord,
} from './support.ts'
import { kafkajs } from './kafkajs.ts'

describe('a batch of records, written', () => {
  it('is read by KafkaJS as what was appended, plain and gzipped', async () => {
    await fc.assert(
      fc.asyncProperty(plainRecords, fc.constantFrom('none', 'gzip'), async (records, compression) => {
        const read = await kafkaJsDecode(encode(records, { compression: compression as 'none' | 'gzip' }))
        assert.deepEqual(
          read.map(({ key, value, headers, offset, timestamp }) => ({
            key,
            value,
            headers,
            offset,
            timestamp,
          })),
          records.map(({ key, value, headers }, i) => ({
            key,
            value,
            headers,
            offset: String(i),
            timestamp: String(OPTIONS.timestampMs),
          })),
        )
      }),
    )
  })

  it('says whose it is: producer, epoch, sequence, transaction', async () => {
    const options = { producerId: 2 ** 40 + 5, producerEpoch: 12, baseSequence: 2 ** 31 - 1 }
    const [first] = await kafkaJsDecode(encode([textRecord('a')], { ...options, isTransactional: true }))
    const { producerId, producerEpoch, firstSequence, inTransaction, isControlBatch } = first!.batchContext
    assert.deepEqual(
      { producerId, producerEpoch, firstSequence, inTransaction, isControlBatch },
      {
        producerId: String(2 ** 40 + 5),
        producerEpoch: 12,
        firstSequence: 2 ** 31 - 1,
        inTransaction: true,
        isControlBatch: false,
      },
    )
    const [plain] = await kafkaJsDecode(encode([textRecord('a')], { producerId: -1 }))
    assert.equal(plain!.batchContext.producerId, '-1')
    assert.equal(plain!.batchContext.inTransaction, false)
  })

  it('is byte for byte what KafkaJS writes of the same records', async () => {
    const { RecordBatch } = kafkajs('protocol/recordBatch/v0')
    const record = kafkajs('protocol/recordBatch/record/v0')
    await fc.assert(
      fc.asyncProperty(plainRecords, async (records) => {
        const theirs = (
          await RecordBatch({
            firstTimestamp: OPTIONS.timestampMs,
            maxTimestamp: OPTIONS.timestampMs,
            lastOffsetDelta: records.length - 1,
            producerId: OPTIONS.producerId,
            producerEpoch: OPTIONS.producerEpoch,
            firstSequence: OPTIONS.baseSequence,
            partitionLeaderEpoch: -1,
            records: records.map((each, offsetDelta) => record({ ...each, offsetDelta, timestampDelta: 0 })),
          })
        ).buffer
        assert.equal(encode(records).toString('hex'), theirs.toString('hex'))
      }),
    )
  })

  it('is never longer than its bound says, and stands behind what the writer held', () => {
    fc.assert(
      fc.property(plainRecords, fc.nat(50), (records, before) => {
        const batch = builderOf(records)
        const writer = new ByteWriter(8)
        writer.bytes(Buffer.alloc(before, 9))
        encodeRecordBatch(batch, OPTIONS, writer)
        assert.ok(writer.position - before <= encodedSizeBound(batch))
        assert.deepEqual(writer.buffer.subarray(0, before), Buffer.alloc(before, 9))
        assert.deepEqual(writer.buffer.subarray(before, writer.position), encode(records))
      }),
    )
  })

  it('may share bytes between records', async () => {
    const batch = builderOf([textRecord('shared', 'key'), textRecord('other', 'k')])
    batch.positions.copyWithin(7, 0, 7)
    const writer = new ByteWriter(8)
    encodeRecordBatch(batch, OPTIONS, writer)
    const read = await kafkaJsDecode(writer.buffer.subarray(0, writer.position))
    assert.deepEqual(
      read.map(({ value }) => String(value)),
      ['shared', 'shared'],
    )
  })

  it('is refused when there is nothing in it, or less than it says', () => {
    const refused = { name: 'LogError', code: 'INVALID_STATE', message: /t-3/ }
    const empty = new BatchBuilder('t', 3)
    assert.throws(() => encodeRecordBatch(empty, OPTIONS, new ByteWriter()), refused)
    const { buffer, byteLength, positions } = builderOf([textRecord('a')])
    const lying = { topic: 't', partition: 3, buffer, byteLength, positions, count: 1_000 }
    assert.throws(() => encodeRecordBatch(lying, OPTIONS, new ByteWriter()), refused)
  })

  it('holds records of any length', async () => {
    const lengths = [63, 64, 8_191, 8_192, 1_048_575, 1_048_576]
    const records = lengths.map((length): PlainRecord => ({
      key: Buffer.alloc(length, 1),
      value: Buffer.alloc(length, 2),
      headers: {},
    }))
    const read = await kafkaJsDecode(encode(records))
    assert.deepEqual(
      read.map(({ key, value }) => [key!.length, value!.length]),
      lengths.map((length) => [length, length]),
    )
  })
})
