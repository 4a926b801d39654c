import assert from 'node:assert/strict'
import { BatchBuilder, ByteWriter } from '../../../../log/batch.ts'
import { encodeRecordBatch } from '../../../../log/kafkajs/record-batch/encode.ts'
import { decode, kafkaJsDecode, OPTIONS } from '../record-batch/support.ts'

const COUNT = 200_000

function large(): Buffer {
  const builder = new BatchBuilder('t', 0)
  for (let i = 0; i < COUNT; i++) builder.append(null, null)
  const writer = new ByteWriter()
  encodeRecordBatch(builder, OPTIONS, writer)
  return writer.buffer.subarray(0, writer.position)
}

describe('a batch of 200,000 records', () => {
  it('is read; in KafkaJS it overflows the stack', async () => {
    const batch = large()
    await assert.rejects(kafkaJsDecode(batch), /Maximum call stack size exceeded/)
    const [read] = decode(batch).batches
    assert.equal(read!.count, COUNT)
    assert.equal(read!.offsetAt(COUNT - 1), COUNT - 1)
    assert.equal(read!.nextOffset, COUNT)
  })
})
