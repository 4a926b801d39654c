import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RecordBatch, STRIDE } from '../../../log/batch.ts'
import { BatchSlices } from '../../../log/kafkajs/batch-slices.ts'
import { MemoryLease } from '../../../log/kafkajs/memory-lease.ts'
import { readUntil } from '../../../log/read-until.ts'
import { batchOf, fresh, makeTopic } from '../../contract/log/support.ts'
import { sharedKafka } from '../../support/servers.ts'
import { openTestLog } from './support.ts'

const VALUE_BYTES = 10

/** So many records of ten bytes each, behind so many that are others'. */
function batchOver(memory: Buffer, first: number, count: number): RecordBatch {
  const positions = new Int32Array(count * STRIDE)
  for (let i = 0; i < count; i++) {
    const start = (first + i) * VALUE_BYTES
    positions.set([start, -1, start, start + VALUE_BYTES, -1, -1, i], i * STRIDE)
  }
  const place = { topic: 't', partition: 0, baseOffset: first, nextOffset: first + count, timestampMs: 0 }
  return new RecordBatch({ ...place, buffer: memory, positions, count })
}

describe('the memory of a response', () => {
  it('goes when the last piece of its last batch is done with, and not before', () => {
    const memory = Buffer.alloc(100, 'x')
    const lease = new MemoryLease(memory.buffer)
    const [one, two] = [0, 5].map((first) => new BatchSlices(batchOver(memory, first, 5), lease))
    const pieces = [one!.take(20), one!.take(100), two!.take(30)]
    assert.deepEqual(
      pieces.map(({ count }) => count),
      [2, 3, 3],
    )
    for (const piece of [...pieces, ...pieces]) piece.release()
    assert.equal(memory.length, 100, 'a piece of the second batch is to be handed out yet')
    const last = two!.take(100)
    assert.equal(last.valueAt(1)!.toString(), 'x'.repeat(VALUE_BYTES))
    last.release()
    assert.equal(memory.length, 0)
  })

  it('stays where a batch is dropped before it was handed out whole', () => {
    const memory = Buffer.alloc(100, 'x')
    const slices = new BatchSlices(batchOver(memory, 0, 10), new MemoryLease(memory.buffer))
    slices.take(50).release()
    assert.equal(memory.length, 100)
  })

  it('of Kafka holds its records until they are released, whoever else had them', async function () {
    this.timeout(300_000)
    const { brokers } = await sharedKafka(this)
    const log = await openTestLog(brokers)
    const topic = await makeTopic(log, 2)
    const values = Array.from({ length: 60 }, (_, i) => String(i).padStart(5_000, '0'))
    const producer = log.idempotentProducer()
    for (const partition of [0, 1]) await producer.send([batchOf(topic, partition, values)])
    const seen: string[] = []
    const held: RecordBatch[] = []
    const useUp = (batch: RecordBatch): void => {
      for (let i = 0; i < batch.count; i++) seen.push(batch.valueAt(i)!.toString())
      batch.release()
    }
    const consumer = log.groupConsumer({
      groupId: fresh('group'),
      topics: [[topic]],
      onRevoke: () => Promise.resolve(),
      onAssign: (partitions) => {
        for (const partition of partitions) consumer.seek(partition, 0)
        return Promise.resolve()
      },
    })
    const deadlineMs = Date.now() + 60_000
    for (let polled = 0; polled < 120 && Date.now() < deadlineMs;) {
      for (const batch of await consumer.poll(20_000, 100)) {
        held.push(batch)
        polled += batch.count
      }
      // Some are used while others are read, some much later.
      while (held.length > 5) useUp(held.shift()!)
    }
    held.forEach(useUp)
    assert.deepEqual(seen.toSorted(), [...values, ...values].toSorted())
    await consumer.close()
    await log.close()
  })

  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
    it(`of Kafka goes with the batches that a reader has looked at, compressed by ${compression}`, async function () {
      this.timeout(300_000)
      const { brokers } = await sharedKafka(this)
      const log = await openTestLog(brokers, { compression })
      const topic = await makeTopic(log, 1)
      const values = Array.from({ length: 60 }, () => randomBytes(2_500).toString('hex'))
      // Decompressed they lie in Node's pool, which is everybody's.
      const few = ['a', 'b', 'c'].map((letter) => letter.repeat(2_000))
      const producer = log.idempotentProducer()
      for (const value of few) await producer.send([batchOf(topic, 0, [value])])
      const texts: string[] = []
      await readUntil(log, { topic, partition: 0 }, { from: 0, end: few.length }, (batch) => {
        for (let i = 0; i < batch.count; i++) texts.push(batch.valueAt(i)!.toString())
      })
      assert.deepEqual(texts, few)
      await producer.send([batchOf(topic, 0, values)])
      const seen: string[] = []
      const batches: RecordBatch[] = []
      const all = { from: few.length, end: few.length + values.length, maxBytes: 20_000 }
      await readUntil(log, { topic, partition: 0 }, all, async (batch) => {
        batches.push(batch)
        // What is read ahead meanwhile lies elsewhere.
        await sleep(5)
        for (let i = 0; i < batch.count; i++) seen.push(batch.valueAt(i)!.toString())
      })
      assert.deepEqual(seen, values)
      assert.ok(batches.length > 10)
      for (const { buffer } of batches) assert.equal(buffer.length, 0)
      await log.close()
    })
  }
})
