import assert from 'node:assert/strict'
import type { TopicPartition } from '../../../../log/port.ts'
import { append, fresh, makeTopic, recordsOf } from '../../../contract/log/support.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { openTestLog, plainKafkajs } from '../support.ts'
import { until } from '../../../support/until.ts'

const VALUES = Array.from({ length: 10 }, (_, i) => `${i}`)

describe('what was fetched before a seek', () => {
  it('is handed out behind it by KafkaJS, and dropped here', async function () {
    const { brokers } = await sharedKafka(this)
    const log = await openTestLog(brokers)
    const topic = await makeTopic(log, 2)
    for (const partition of [0, 1]) await append(log, topic, partition, VALUES)

    const consumer = plainKafkajs(brokers).consumer({ groupId: fresh('group'), maxWaitTimeInMs: 100 })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const batches: { partition: number; firstOffset: string | null; isStale: boolean }[] = []
    await consumer.run({
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch, isStale }) => {
        if (batches.length === 0) consumer.seek({ topic, partition: 1 - batch.partition, offset: '5' })
        batches.push({ partition: batch.partition, firstOffset: batch.firstOffset(), isStale: isStale() })
      },
    })
    await until(() => batches.length >= 2, 'two batches')
    await consumer.disconnect()
    assert.deepEqual(batches[1], { partition: 1 - batches[0]!.partition, firstOffset: '0', isStale: true })

    const ours = log.groupConsumer({
      groupId: fresh('group'),
      topics: [[topic]],
      onRevoke: async () => undefined,
      onAssign: async (partitions) => {
        for (const partition of partitions) ours.seek(partition, 0)
      },
    })
    const seen: (TopicPartition & { value: string })[] = []
    while (seen.length < 15) {
      for (const batch of await ours.poll(1, 1_000)) {
        // The other partition's records were fetched in the same answer.
        if (seen.length === 0) ours.seek({ topic, partition: 1 - batch.partition }, 5)
        for (const { value } of recordsOf(batch))
          seen.push({ topic, partition: batch.partition, value: value! })
      }
    }
    const other = 1 - seen[0]!.partition
    const valuesOf = (partition: number): string[] =>
      seen.filter((record) => record.partition === partition).map(({ value }) => value)
    assert.deepEqual(valuesOf(other), VALUES.slice(5))
    assert.deepEqual(valuesOf(1 - other), VALUES)
    await ours.close()
    await log.close()
  })
})
