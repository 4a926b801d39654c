import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { BatchBuilder, type Headers } from '../../../log/batch.ts'
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

export function recordTests(use: () => LogUnderTest): void {
  it('come back as they were sent: keys, values, headers, null and empty told apart', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const builder = new BatchBuilder(topic, 0)
    const bytes = (text: string): Buffer => Buffer.from(text)
    const headers: Headers = { 'millrace-mark': bytes('end'), empty: bytes('') }
    builder.append(bytes('k'), bytes('v'), headers)
    builder.append(null, bytes('v'))
    builder.append(bytes('k'), null)
    builder.append(bytes(''), bytes(''))
    builder.append(null, null, { only: bytes('headers') })
    await log.idempotentProducer().send([builder])

    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    const batch = (await reader.read(PLENTY))!
    assert.deepEqual(
      recordsOf(batch).map(({ key, value }) => [key, value]),
      [
        ['k', 'v'],
        [null, 'v'],
        ['k', null],
        ['', ''],
        [null, null],
      ],
    )
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((i) => batch.hasHeaders(i)),
      [true, false, false, false, true],
    )
    assert.equal(batch.headerAt(0, 'millrace-mark')?.toString(), 'end')
    assert.equal(batch.headerAt(0, 'empty')?.toString(), '')
    assert.equal(batch.headerAt(0, 'other'), undefined)
    assert.equal(batch.headerAt(4, 'only')?.toString(), 'headers')
    assert.equal(batch.topic, topic)
    assert.equal(batch.partition, 0)
  })

  it('carry a time of ingestion that lies between before and after the send', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a'])
    await append(log, topic, 0, ['b'])
    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    const first = (await reader.read(1))!
    const second = await reader.read(PLENTY)
    assert(first.timestampAt(0) > 0)
    if (second !== null) assert(second.timestampAt(0) >= first.timestampAt(0))
  })

  it('keep their order and their offsets grow, also over many sends', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = log.idempotentProducer()
    const firsts: number[] = []
    for (let i = 0; i < 20; i++)
      firsts.push(...(await producer.send([batchOf(topic, 0, [`${i}a`, `${i}b`])])))
    const read = await readAll(log, topic)
    assert.deepEqual(
      read.map(({ value }) => value),
      Array.from({ length: 20 }, (_, i) => [`${i}a`, `${i}b`]).flat(),
    )
    read.forEach(({ offset }, i) => assert(i === 0 || offset > read[i - 1]!.offset))
    assert.deepEqual(
      read.filter((_, i) => i % 2 === 0).map(({ offset }) => offset),
      firsts,
    )
  })

  it('may be many in one send, and are all there, in any size of read', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const count = 200_000
    const builder = new BatchBuilder(topic, 0)
    for (let i = 0; i < count; i++) builder.append(Buffer.from(`key-${i % 977}`), Buffer.from(`value ${i}`))
    const producer = await producerOf(log)
    producer.begin()
    await producer.send([builder])
    await producer.commit()
    for (const maxBytes of [100_000, PLENTY]) {
      const reader = log.partitionReader({ topic, partition: 0 }, 0)
      let i = 0
      let last = -1
      for (let batch = await reader.read(maxBytes); i < count; batch = await reader.read(maxBytes)) {
        if (batch === null) continue
        assert(maxBytes === PLENTY || batch.count < count / 4, 'a small read is not the whole send')
        for (let r = 0; r < batch.count; r++, i++) {
          if (batch.keyAt(r)!.toString() !== `key-${i % 977}`) assert.fail(`key of record ${i}`)
          if (batch.valueAt(r)!.toString() !== `value ${i}`) assert.fail(`value of record ${i}`)
          if (batch.offsetAt(r) <= last) assert.fail(`offset of record ${i}`)
          last = batch.offsetAt(r)
        }
      }
      assert.equal(i, count)
    }
  })

  it('may be large: 10 MB in one', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const large = randomBytes(10_000_000)
    const builder = new BatchBuilder(topic, 0)
    builder.append(Buffer.from('small'), Buffer.from('before'))
    builder.append(Buffer.from('large'), large)
    builder.append(Buffer.from('small'), Buffer.from('after'))
    await log.idempotentProducer().send([builder])
    const reader = log.partitionReader({ topic, partition: 0 }, 0)
    const values: Buffer[] = []
    while (values.length < 3) {
      const batch = (await reader.read(1000))!
      for (let i = 0; i < batch.count; i++) values.push(batch.valueAt(i)!)
    }
    assert.equal(values[0]!.toString(), 'before')
    assert(values[1]!.equals(large))
    assert.equal(values[2]!.toString(), 'after')
  })

  it('are taken when a send returns: the builder may be filled again', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = await producerOf(log)
    const builder = batchOf(topic, 0, ['first'])
    producer.begin()
    await producer.send([builder])
    builder.clear()
    builder.append(null, Buffer.from('2ndly'))
    await producer.send([builder])
    await producer.commit()
    assert.deepEqual(await valuesIn(log, topic), ['first', '2ndly'])
  })

  it('stay as they were handed out, whatever is written later', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['kept'])
    const batch = (await log.partitionReader({ topic, partition: 0 }, 0).read(PLENTY))!
    for (let i = 0; i < 20; i++) await append(log, topic, 0, ['x'.repeat(10_000)])
    assert.equal(batch.valueAt(0)!.toString(), 'kept')
  })

  it('of an unknown topic or partition are refused, with nothing of the send kept', async () => {
    const { log } = use()
    const topic = await makeTopic(log)
    const producer = log.idempotentProducer()
    await rejectsWith('UNKNOWN_TOPIC', () =>
      producer.send([batchOf(topic, 0, ['a']), batchOf(fresh('none'), 0, ['a'])]),
    )
    await rejectsWith('UNKNOWN_TOPIC', () => producer.send([batchOf(topic, 7, ['a'])]))
    await rejectsWith('UNKNOWN_TOPIC', () => log.partitionReader({ topic, partition: 7 }, 0).read(PLENTY))
    assert.deepEqual(await valuesIn(log, topic), [])
  })
}
