import assert from 'node:assert/strict'
import { decode, encode, kafkaJsDecode, textRecord } from '../record-batch/support.ts'

describe('a record that was damaged on its way', () => {
  it('is refused by its checksum, with topic, partition and offset; KafkaJS hands it on', async () => {
    const batch = encode([textRecord('amount: 100')])
    batch[batch.indexOf('100')] = '9'.charCodeAt(0)
    const [damaged] = await kafkaJsDecode(batch)
    assert.equal(String(damaged!.value), 'amount: 900')
    assert.throws(() => decode(batch), {
      name: 'RecordBatchError',
      code: 'STORAGE',
      topic: 't',
      partition: 0,
      offset: 0,
      message: /^t-0, offset 0: the batch's CRC32C is [0-9a-f]{8} and should be [0-9a-f]{8}\. Fetch it again/,
    })
  })
})
