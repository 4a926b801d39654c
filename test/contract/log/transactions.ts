import assert from 'node:assert/strict'
import {
  append,
  batchOf,
  fresh,
  type LogUnderTest,
  makeTopic,
  PLENTY,
  producerOf,
  readAll,
  recordsOf,
  rejectsWith,
  valuesIn,
} from './support.ts'

export function transactionTests(use: () => LogUnderTest): void {
  it('show all of their records on all partitions, or none', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 3)
    const producer = await producerOf(log)
    producer.begin()
    await producer.send([batchOf(topic, 0, ['a']), batchOf(topic, 1, ['b'])])
    await producer.send([batchOf(topic, 2, ['c'])])
    for (const partition of [0, 1, 2]) assert.deepEqual(await valuesIn(log, topic, partition), [])
    await producer.commit()
    assert.deepEqual(await valuesIn(log, topic, 0), ['a'])
    assert.deepEqual(await valuesIn(log, topic, 1), ['b'])
    assert.deepEqual(await valuesIn(log, topic, 2), ['c'])
  })

  it('tell the offsets at which their records will stand', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 2)
    const producer = await producerOf(log)
    for (const value of ['a', 'b']) {
      producer.begin()
      const offsets = await producer.send([batchOf(topic, 1, [value, 'x']), batchOf(topic, 0, [value])])
      await producer.commit()
      const at = async (partition: number): Promise<number> =>
        (await readAll(log, topic, partition)).find((read) => read.value === value)!.offset
      assert.deepEqual(offsets, [await at(1), await at(0)])
    }
  })

  it('are never seen once aborted, and readers pass over them', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = await producerOf(log)
    await append(log, topic, 0, ['before'])
    producer.begin()
    await producer.send([batchOf(topic, 0, ['aborted'])])
    await producer.abort()
    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    assert.deepEqual(
      recordsOf((await reader.read(PLENTY))!).map(({ value }) => value),
      ['before'],
    )
    const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
    assert.equal(offsets!.stable, offsets!.end)
    for (let reads = 0; reader.position < offsets!.stable && reads < 1_000; reads++) {
      assert.equal(await reader.read(PLENTY), null)
    }
    assert(reader.position >= offsets!.stable, 'nobody waits for ever for what was aborted')
    producer.begin()
    await producer.send([batchOf(topic, 0, ['after'])])
    await producer.commit()
    assert.deepEqual(await valuesIn(log, topic), ['before', 'after'])
  })

  it('are passed over once aborted, however much they are: what lies behind is given by the next read', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = await producerOf(log)
    const megabyte = 'x'.repeat(1_000_000)
    producer.begin()
    for (let i = 0; i < 6; i++) await producer.send([batchOf(topic, 0, [megabyte])])
    await producer.abort()
    producer.begin()
    await producer.send([batchOf(topic, 0, ['behind'])])
    await producer.commit()
    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    assert.deepEqual(
      recordsOf((await reader.read(PLENTY))!).map(({ value }) => value),
      ['behind'],
    )
    await reader.close()
  })

  it('hold readers at their first record: later ones wait until the older is decided', async () => {
    for (const decision of ['commit', 'abort'] as const) {
      const { log } = use()
      const topic = await makeTopic(log)
      const [older, younger] = [await producerOf(log), await producerOf(log)]
      await append(log, topic, 0, ['before'])
      older.begin()
      const [first] = await older.send([batchOf(topic, 0, ['older'])])
      younger.begin()
      await younger.send([batchOf(topic, 0, ['younger'])])
      await younger.commit()
      const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
      assert.equal(offsets!.stable, first)
      assert(offsets!.end > offsets!.stable + 1)
      assert.deepEqual(await valuesIn(log, topic), ['before'])
      await older[decision]()
      const expected = decision === 'commit' ? ['before', 'older', 'younger'] : ['before', 'younger']
      assert.deepEqual(await valuesIn(log, topic), expected)
    }
  })

  it('may be empty, and many may follow each other', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = await producerOf(log)
    producer.begin()
    await producer.commit()
    producer.begin()
    await producer.abort()
    for (const value of ['a', 'b', 'c']) {
      producer.begin()
      await producer.send([batchOf(topic, 0, [value])])
      await producer.commit()
    }
    assert.deepEqual(await valuesIn(log, topic), ['a', 'b', 'c'])
  })

  it('are one at a time: calls out of turn are refused', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = await producerOf(log)
    await rejectsWith('INVALID_STATE', () => producer.send([batchOf(topic, 0, ['a'])]))
    await rejectsWith('INVALID_STATE', () => producer.commit())
    producer.begin()
    assert.throws(() => producer.begin(), { code: 'INVALID_STATE' })
  })

  it('that stay open too long are aborted by the log, and what waited behind them is seen', async () => {
    const { log, advance } = use()
    const topic = await makeTopic(log)
    const slow = log.transactionalProducer({ transactionalId: fresh('slow'), transactionTimeoutMs: 5_000 })
    await slow.init()
    slow.begin()
    await slow.send([batchOf(topic, 0, ['slow'])])
    await append(log, topic, 0, ['behind'])
    assert.deepEqual(await valuesIn(log, topic), [])
    for (let i = 0; i < 30 && (await valuesIn(log, topic)).length === 0; i++) await advance(1_000)
    assert.deepEqual(await valuesIn(log, topic), ['behind'])
    await rejectsWith(['TRANSACTION_TIMED_OUT', 'FENCED'], () => slow.commit())
    assert.deepEqual(await valuesIn(log, topic), ['behind'])
  })

  it('that a closed producer left open are aborted', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = await producerOf(log)
    producer.begin()
    await producer.send([batchOf(topic, 0, ['left'])])
    await producer.close()
    await append(log, topic, 0, ['after'])
    assert.deepEqual(await valuesIn(log, topic), ['after'])
  })
}

export function fencingTests(use: () => LogUnderTest): void {
  it('ends what an earlier producer of the id left open, and refuses it ever after', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const id = fresh('id')
    const zombie = await producerOf(log, id)
    zombie.begin()
    await zombie.send([batchOf(topic, 0, ['zombie'])])
    const owner = await producerOf(log, id)
    const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
    assert.equal(offsets!.stable, offsets!.end, 'nothing is left open')
    await rejectsWith('FENCED', () => zombie.send([batchOf(topic, 0, ['again'])]))
    await rejectsWith('FENCED', () => zombie.commit())
    owner.begin()
    await owner.send([batchOf(topic, 0, ['owner'])])
    await owner.commit()
    assert.deepEqual(await valuesIn(log, topic), ['owner'])
  })

  it('strikes between begin and commit, with nothing sent in between', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const id = fresh('id')
    const zombie = await producerOf(log, id)
    zombie.begin()
    await zombie.send([batchOf(topic, 0, ['zombie'])])
    await producerOf(log, id)
    await rejectsWith('FENCED', () => zombie.commit())
    assert.deepEqual(await valuesIn(log, topic), [])
  })

  it('strikes a producer that was idle', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const id = fresh('id')
    const zombie = await producerOf(log, id)
    await producerOf(log, id)
    await rejectsWith('FENCED', async () => {
      zombie.begin()
      await zombie.send([batchOf(topic, 0, ['zombie'])])
      await zombie.commit()
    })
    assert.deepEqual(await valuesIn(log, topic), [])
  })

  it('waits for a commit that is under way: it is there when init returns, or never', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const id = fresh('id')
    for (let round = 0; round < 5; round++) {
      const first = await producerOf(log, id)
      first.begin()
      await first.send([batchOf(topic, 0, [`round ${round}`])])
      const outcome = first.commit().then(
        () => true,
        () => false,
      )
      await producerOf(log, id)
      const after = await valuesIn(log, topic)
      assert.equal(after.includes(`round ${round}`), await outcome)
      assert.deepEqual(await valuesIn(log, topic), after)
    }
  })

  it('leaves other ids alone', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const [one, other] = [await producerOf(log), await producerOf(log)]
    one.begin()
    await one.send([batchOf(topic, 0, ['one'])])
    other.begin()
    await other.send([batchOf(topic, 0, ['other'])])
    await one.commit()
    await other.commit()
    assert.deepEqual(await valuesIn(log, topic), ['one', 'other'])
  })
}
