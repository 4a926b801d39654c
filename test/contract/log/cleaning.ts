import assert from 'node:assert/strict'
import {
  append,
  batchOf,
  fresh,
  type LogUnderTest,
  makeTopic,
  PLENTY,
  producerOf,
  type Read,
  readAll,
  recordsOf,
  rejectsWith,
  valuesIn,
} from './support.ts'
import { BatchBuilder } from '../../../log/batch.ts'

export function cleaningTests(use: () => LogUnderTest): void {
  it('a reader begins at any offset, also in the middle of what was sent at once', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a', 'b', 'c', 'd', 'e'])
    await append(log, topic, 0, ['f'])
    const all = await readAll(log, topic)
    for (const { offset } of all) {
      const reader = log.partitionReader({ topic, partition: 0 }, offset)
      const read = recordsOf((await reader.read(PLENTY))!)
      assert.deepEqual(
        read[0],
        all.find((record) => record.offset === offset),
      )
      assert.equal(reader.position > read.at(-1)!.offset, true)
    }
  })

  it('a batch begins with its base offset, however it was cut', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(
      log,
      topic,
      0,
      Array.from({ length: 50 }, (_, i) => `a value of some length ${i}`),
    )
    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    const values: string[] = []
    while (values.length < 50) {
      const batch = (await reader.read(100))!
      assert.equal(batch.offsetAt(0), batch.baseOffset)
      assert.equal(batch.nextOffset, reader.position)
      values.push(...recordsOf(batch).map(({ value }) => value!))
    }
    assert.deepEqual(
      values,
      Array.from({ length: 50 }, (_, i) => `a value of some length ${i}`),
    )
  })

  it('a reader at the end gets nothing, and what comes later', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a'])
    const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
    const reader = log.partitionReader({ topic, partition: 0 }, offsets!.end)
    assert.equal(await reader.read(PLENTY), null)
    await append(log, topic, 0, ['b'])
    assert.deepEqual(
      recordsOf((await reader.read(PLENTY))!).map(({ value }) => value),
      ['b'],
    )
  })

  it('a position outside of the log is an error, never a reset', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a', 'b', 'c'])
    const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
    const beyond = log.partitionReader({ topic, partition: 0 }, offsets!.end + 1)
    await rejectsWith('OFFSET_OUT_OF_RANGE', () => beyond.read(PLENTY))
    assert.equal(beyond.position, offsets!.end + 1)
    await log.admin.deleteRecords([{ topic, partition: 0, offset: 2 }])
    await rejectsWith('OFFSET_OUT_OF_RANGE', () =>
      log.partitionReader({ topic, partition: 0 }, 1).read(PLENTY),
    )
    const read = await log.partitionReader({ topic, partition: 0 }, 2).read(PLENTY)
    assert.deepEqual(
      recordsOf(read!).map(({ value }) => value),
      ['c'],
    )
  })

  it('deleted records are gone for every reader; the others stay, at their offsets', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 2)
    for (let i = 0; i < 10; i++) await append(log, topic, 0, [`${i}a`, `${i}b`])
    await append(log, topic, 1, ['other'])
    const before = await readAll(log, topic)
    const cut = before[7]!.offset
    await log.admin.deleteRecords([{ topic, partition: 0, offset: cut }])
    const [zero, one] = await log.admin.offsets([
      { topic, partition: 0 },
      { topic, partition: 1 },
    ])
    assert.equal(zero!.start, cut)
    assert.equal(one!.start, 0)
    assert.deepEqual(await readAll(log, topic), before.slice(7))
    assert.deepEqual(await valuesIn(log, topic, 1), ['other'])
    await log.admin.deleteRecords([{ topic, partition: 0, offset: 1 }])
    assert.equal(
      (await log.admin.offsets([{ topic, partition: 0 }]))[0]!.start,
      cut,
      'the start never goes back',
    )
    await log.admin.deleteRecords([{ topic, partition: 0, offset: zero!.stable }])
    assert.deepEqual(await readAll(log, topic), [])
    await rejectsWith('OFFSET_OUT_OF_RANGE', () =>
      log.admin.deleteRecords([{ topic, partition: 0, offset: zero!.end + 1 }]),
    )
  })

  it('compaction keeps the last record of each key, at its offset, and never what is undecided', async () => {
    const { log, compact } = use()
    const topic = await makeTopic(log, 1, { cleanup: 'compact' })
    const producer = await producerOf(log)
    const filler = 'x'.repeat(200)
    const last = new Map<string, Read>()
    let committed = 0
    for (let round = 0; round < 30; round++) {
      const isAborted = round % 7 === 3
      const builder = new BatchBuilder(topic, 0)
      const keys = Array.from({ length: 20 }, (_, k) => k).filter((k) => round % (k + 1) === 0)
      for (const k of keys)
        builder.append(Buffer.from(`k${k}`), round === 28 ? null : Buffer.from(`${round} ${filler}`))
      producer.begin()
      const [first] = await producer.send([builder])
      await (isAborted ? producer.abort() : producer.commit())
      if (isAborted) continue
      committed += keys.length
      keys.forEach((k, i) => {
        last.set(`k${k}`, {
          offset: first! + i,
          key: `k${k}`,
          value: round === 28 ? null : `${round} ${filler}`,
        })
      })
    }
    const open = await producerOf(log)
    open.begin()
    await open.send([batchOf(topic, 0, ['undecided'], 'k0')])
    // Committed, but behind what is undecided: for readers the older values are still the last.
    for (let k = 0; k < 20; k++) {
      await log.idempotentProducer().send([batchOf(topic, 0, [`behind ${filler}`], `k${k}`)])
    }

    await compact({ topic, partition: 0 })
    const after = await readAll(log, topic)
    assert(after.length < committed, `${after.length} of ${committed} records are left`)
    const read = new Map(after.map((record) => [record.key!, record]))
    assert.deepEqual([...read].sort(), [...last].sort())
    after.forEach(({ offset }, i) => assert(i === 0 || offset > after[i - 1]!.offset))
    await open.commit()
    const final = new Map((await readAll(log, topic)).map(({ key, value }) => [key, value]))
    assert.equal(final.size, 20)
    for (const value of final.values()) assert.equal(value, `behind ${filler}`)
  })

  it('a reader in the middle goes on through what was compacted under it', async () => {
    const { log, compact } = use()
    const topic = await makeTopic(log, 1, { cleanup: 'compact' })
    for (let i = 0; i < 40; i++) await append1(i)
    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    const seen = new Map<string, string>()
    const first = (await reader.read(500))!
    for (const { key, value } of recordsOf(first)) seen.set(key!, value!)
    await compact({ topic, partition: 0 })
    const [{ stable } = { stable: 0 }] = await log.admin.offsets([{ topic, partition: 0 }])
    while (reader.position < stable) {
      const batch = await reader.read(500)
      if (batch !== null) for (const { key, value } of recordsOf(batch)) seen.set(key!, value!)
    }
    assert.equal(seen.size, 4)
    for (let k = 0; k < 4; k++) assert(seen.get(`k${k}`)!.startsWith(`${36 + k} `))

    async function append1(i: number): Promise<void> {
      await log.idempotentProducer().send([batchOf(topic, 0, [`${i} ${'y'.repeat(100)}`], `k${i % 4}`)])
    }
  })
}

export function adminTests(use: () => LogUnderTest): void {
  it('creates what is missing and leaves what is there', async () => {
    const { log } = use()
    const [one, two] = [fresh('topic'), fresh('topic')]
    const config = { partitions: 3, cleanup: 'delete' as const, retentionMs: 1_000_000 }
    await log.admin.createTopics([{ name: one, ...config }])
    const [before] = await log.admin.describeTopics([one])
    await log.admin.createTopics([
      { name: one, partitions: 9, cleanup: 'compact', retentionMs: -1 },
      { name: two, partitions: 2, cleanup: 'compact,delete', retentionMs: -1 },
    ])
    const described = await log.admin.describeTopics([two, fresh('none'), one])
    assert.deepEqual(described[2], before)
    const { maxBatchBytes, ...told } = before!
    assert.deepEqual(told, { name: one, topicId: before!.topicId, ...config })
    assert(maxBatchBytes === undefined || maxBatchBytes > 0)
    assert.equal(described[1], null)
    assert.equal(described[0]!.cleanup, 'compact,delete')
    assert.equal(described[0]!.partitions, 2)
    const names = await log.admin.listTopics()
    assert(names.includes(one) && names.includes(two))
  })

  it('gives a topic made anew another id and an empty log', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['old'])
    const [before] = await log.admin.describeTopics([topic])
    await log.admin.deleteTopic(topic)
    assert.deepEqual(await log.admin.describeTopics([topic]), [null])
    await rejectsWith('UNKNOWN_TOPIC', () => append(log, topic, 0, ['nowhere']))
    await log.admin.createTopics([{ name: topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const [after] = await log.admin.describeTopics([topic])
    assert.notEqual(after!.topicId, before!.topicId)
    assert.deepEqual(await valuesIn(log, topic), [])
  })

  it('names its cluster, always the same', async () => {
    const { log } = use()
    const id = await log.admin.clusterId()
    assert(id.length > 0)
    assert.equal(await log.admin.clusterId(), id)
  })

  it('refuses to speak of partitions that are not there', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await rejectsWith('UNKNOWN_TOPIC', () => log.admin.offsets([{ topic, partition: 1 }]))
    await rejectsWith('UNKNOWN_TOPIC', () => log.admin.deleteTopic(fresh('none')))
  })

  it('outlives being closed and opened: records, offsets, ids, committed offsets, generations', async function () {
    const subject = use()
    // What is in memory alone is gone, and closing a broker's client closes nothing of the log.
    if (subject.reopen === undefined) return this.skip()
    let { log } = subject
    const topic = await makeTopic(log, 1)
    const producer = await producerOf(log, 'steady')
    producer.begin()
    await producer.send([batchOf(topic, 0, ['committed'])])
    await producer.commit()
    producer.begin()
    await producer.send([batchOf(topic, 0, ['open'])])
    const [description] = await log.admin.describeTopics([topic])
    const clusterId = await log.admin.clusterId()
    const read = await readAll(log, topic)

    log = await subject.reopen()
    assert.equal(await log.admin.clusterId(), clusterId)
    assert.deepEqual(await log.admin.describeTopics([topic]), [description])
    assert.deepEqual(await readAll(log, topic), read)
    const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
    assert.equal(offsets!.stable, offsets!.end, 'what was open is aborted')
    const again = await append(log, topic, 0, ['after'])
    assert(again > read.at(-1)!.offset)
    assert.deepEqual(await valuesIn(log, topic), ['committed', 'after'])
  })
}
