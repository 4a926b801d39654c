import assert from 'node:assert/strict'
import {
  append,
  batchOf,
  fresh,
  type LogUnderTest,
  makeTopic,
  PLENTY,
  producerOf,
  recordsOf,
  rejectsWith,
} from './support.ts'

/** A poll that nobody wakes. */
const LONG_MS = 60_000

export function pollTests(use: () => LogUnderTest): void {
  const setup = async (partitions: number, seek = true) => {
    const { log } = use()
    const topic = await makeTopic(log, partitions)
    const state = { isAssigned: false }
    const consumer = log.groupConsumer({
      groupId: fresh('group'),
      topics: [[topic]],
      onRevoke: async () => undefined,
      onAssign: async (assigned) => {
        if (seek) for (const partition of assigned) consumer.seek(partition, 0)
        state.isAssigned = true
      },
    })
    while (!state.isAssigned) await consumer.poll(PLENTY, 50)
    const values = async (count: number, maxBytes = PLENTY): Promise<string[]> => {
      const found: string[] = []
      while (found.length < count) {
        for (const batch of await consumer.poll(maxBytes, 1_000))
          found.push(...recordsOf(batch).map((r) => r.value!))
      }
      return found
    }
    return { log, topic, consumer, values }
  }

  it('gives what is committed, in order within each partition', async () => {
    const { log, topic, consumer, values } = await setup(2)
    for (let i = 0; i < 10; i++) await append(log, topic, i % 2, [`${i}`])
    const found = await values(10)
    assert.deepEqual(
      found.filter((v) => Number(v) % 2 === 0),
      ['0', '2', '4', '6', '8'],
    )
    assert.deepEqual(
      found.filter((v) => Number(v) % 2 === 1),
      ['1', '3', '5', '7', '9'],
    )
    assert.deepEqual(await consumer.poll(PLENTY, 0), [])
    await consumer.close()
  })

  it('wakes for records that become visible while it waits, by a commit or an abort before them', async () => {
    const { log, topic, consumer } = await setup(1)
    const older = await producerOf(log)
    for (const decision of ['commit', 'abort'] as const) {
      older.begin()
      await older.send([batchOf(topic, 0, ['older'])])
      await append(log, topic, 0, ['younger'])
      const startMs = Date.now()
      const polled = consumer.poll(PLENTY, LONG_MS)
      await older[decision]()
      const batches = await polled
      assert(Date.now() - startMs < LONG_MS / 2)
      let found = batches.flatMap(recordsOf)
      while (found.at(-1)?.value !== 'younger')
        found = found.concat((await consumer.poll(PLENTY, 1_000)).flatMap(recordsOf))
      assert.deepEqual(
        found.map(({ value }) => value),
        decision === 'commit' ? ['older', 'younger'] : ['younger'],
      )
    }
    await consumer.close()
  })

  it('ends early when it is woken up', async () => {
    const { consumer } = await setup(1)
    const startMs = Date.now()
    const polled = consumer.poll(PLENTY, LONG_MS)
    consumer.wakeup()
    assert.deepEqual(await polled, [])
    assert(Date.now() - startMs < LONG_MS / 2)
    await consumer.close()
  })

  it('is silent about partitions without a seek, and about paused ones until they are resumed', async () => {
    const { log, topic, consumer, values } = await setup(3, false)
    for (let partition = 0; partition < 3; partition++) await append(log, topic, partition, [`${partition}`])
    consumer.seek({ topic, partition: 1 }, 0)
    consumer.seek({ topic, partition: 2 }, 0)
    consumer.pause([{ topic, partition: 2 }])
    assert.deepEqual(await values(1), ['1'])
    assert.deepEqual(await consumer.poll(PLENTY, 50), [])
    consumer.resume([{ topic, partition: 2 }])
    assert.deepEqual(await values(1), ['2'])
    consumer.seek({ topic, partition: 1 }, 0)
    assert.deepEqual(await values(1), ['1'])
    await consumer.close()
  })

  it('keeps to about maxBytes, loses nothing by it, and lets no partition starve', async () => {
    const { log, topic, consumer } = await setup(3)
    const value = 'z'.repeat(1_000)
    const producer = log.idempotentProducer()
    for (let i = 0; i < 5; i++)
      await producer.send([
        batchOf(
          topic,
          0,
          Array.from({ length: 100 }, () => value),
        ),
      ])
    await append(log, topic, 1, ['one'])
    await append(log, topic, 2, ['two'])
    // All is written now: no poll is answered before it could be fetched.
    for (const partition of [0, 1, 2]) consumer.seek({ topic, partition }, 0)
    const counts = [0, 0, 0]
    let polls = 0
    let othersSeenAt = 0
    while (counts.some((count, p) => count < [500, 1, 1][p]!)) {
      const batches = await consumer.poll(20_000, 1_000)
      polls++
      assert(batches.reduce((sum, { count }) => sum + count, 0) < 100, 'one poll is not everything')
      for (const batch of batches) counts[batch.partition]! += batch.count
      if (othersSeenAt === 0 && counts[1]! + counts[2]! === 2) othersSeenAt = polls
    }
    assert.deepEqual(counts, [500, 1, 1])
    assert(othersSeenAt <= 6, `the small partitions were seen in poll ${othersSeenAt} of ${polls}`)
    await consumer.close()
  })

  it('tells of a position that is not in the log, and goes on from another', async () => {
    const { log, topic, consumer, values } = await setup(1)
    await append(log, topic, 0, ['a', 'b', 'c'])
    await log.admin.deleteRecords([{ topic, partition: 0, offset: 2 }])
    // What may have been read ahead counts no more.
    consumer.seek({ topic, partition: 0 }, 0)
    await rejectsWith('OFFSET_OUT_OF_RANGE', async () => {
      for (let i = 0; i < 20; i++) await consumer.poll(PLENTY, 500)
    })
    consumer.seek({ topic, partition: 0 }, 2)
    assert.deepEqual(await values(1), ['c'])
    await consumer.close()
  })

  it('is refused once the consumer is closed', async () => {
    const { consumer } = await setup(1)
    const polled = consumer.poll(PLENTY, 20_000).catch((error: unknown) => error)
    await consumer.close()
    await polled
    await rejectsWith('CLOSED', () => consumer.poll(PLENTY, 0))
  })
}
