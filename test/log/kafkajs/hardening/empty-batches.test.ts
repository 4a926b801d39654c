import assert from 'node:assert/strict'
import {
  compacted,
  decode,
  encode,
  kafkaJsDecode,
  stored,
  textRecord,
  valuesOf,
} from '../record-batch/support.ts'
import { kafkajs } from '../record-batch/kafkajs.ts'

const records = ['a', 'b', 'c'].map((value) => textRecord(value, 'key'))
/** Nothing is left of offsets 5 to 7 but the header, which keeps the producer's sequence. */
const emptied = stored(compacted(records, []), { baseOffset: 5 })

describe('a batch that compaction has emptied', () => {
  it('is passed; KafkaJS asks for the same offset again, for ever', async () => {
    const Batch = kafkajs('consumer/batch')
    const messages = await kafkaJsDecode(emptied)
    const batch = new Batch('t', '5', {
      partition: 0,
      highWatermark: '100',
      abortedTransactions: [],
      messages,
    })
    // Its runner moves on by records, or where it can tell that some were left out: here it can tell neither.
    assert.equal(batch.isEmpty(), true)
    assert.equal(batch.isEmptyDueToFiltering(), false)
    assert.equal(batch.isEmptyDueToLogCompactedMessages(), false)
    assert.equal(batch.isEmptyControlRecord(), false)

    assert.deepEqual(decode(emptied, { fetchOffset: 5 }), { batches: [], nextOffset: 8 })
  })

  it('moves on who has read up to it, also within one fetch', () => {
    const fetched = Buffer.concat([
      encode(records),
      emptied,
      stored(encode(records), { baseOffset: 8 }),
      stored(compacted(records, []), { baseOffset: 20 }),
    ])
    const decoded = decode(fetched)
    assert.deepEqual(valuesOf(decoded), ['a', 'b', 'c', 'a', 'b', 'c'])
    assert.equal(decoded.batches.at(-1)!.nextOffset, 23)
    assert.equal(decoded.nextOffset, 23)
  })

  it('may have been compressed', () => {
    const batch = stored(compacted(records, [], { compression: 'zstd' }), { baseOffset: 5 })
    assert.deepEqual(decode(batch, { fetchOffset: 5 }), { batches: [], nextOffset: 8 })
  })
})
