import assert from 'node:assert/strict'
import fc from 'fast-check'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testScale } from '../../../config/test-scale.ts'
import { BatchBuilder } from '../../../log/batch.ts'
import {
  createMemoryLog,
  openEmbeddedLog,
  openLogOn,
  type EmbeddedLog,
} from '../../../log/embedded/embedded-log.ts'
import { MemoryStorage } from '../../../log/embedded/memory-storage.ts'
import { ManualClock, readAll, TestStorage } from './support.ts'

const DAY = 24 * 3_600_000

async function send(
  log: EmbeddedLog,
  topic: string,
  records: readonly [key: string, value: string | null][],
): Promise<void> {
  const builder = new BatchBuilder(topic, 0)
  for (const [key, value] of records)
    builder.append(Buffer.from(key), value === null ? null : Buffer.from(value))
  await log.idempotentProducer().send([builder])
}

function segmentCount(storage: MemoryStorage): number {
  let count = 0
  for (let id = 0; id < 5; id++) count += storage.segmentsFrom(id, 0, 1_000_000).length
  return count
}

describe('retention', () => {
  it('removes what is older, segment by segment, when something is written', async () => {
    const clock = new ManualClock()
    const storage = new MemoryStorage()
    const log = await openLogOn(storage, { clock }, 0)
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: DAY }])
    for (let hour = 0; hour < 48; hour++) {
      await send(log, 't', [['k', String(hour)]])
      await log.cleaned()
      clock.advance(3_600_000)
    }
    const left = await readAll(log, 't')
    assert.deepEqual(
      left.map(({ value }) => value),
      Array.from({ length: 25 }, (_, i) => String(23 + i)),
    )
    assert.equal(segmentCount(storage), 25)
    const [offsets] = await log.admin.offsets([{ topic: 't', partition: 0 }])
    assert.equal(offsets!.start, left[0]!.offset)
    const reopened = await openLogOn(storage, { clock }, 0)
    assert.deepEqual(await readAll(reopened, 't'), left)
  })

  it('of -1, or on a topic that is only compacted, removes nothing', async () => {
    const clock = new ManualClock()
    const log = await createMemoryLog({ clock })
    await log.admin.createTopics([
      { name: 'kept', partitions: 1, cleanup: 'delete', retentionMs: -1 },
      { name: 'compacted', partitions: 1, cleanup: 'compact', retentionMs: 1 },
    ])
    for (const topic of ['kept', 'compacted']) {
      await send(log, topic, [['a', '1']])
      clock.advance(100 * DAY)
      await send(log, topic, [['b', '2']])
      await log.cleaned()
      assert.equal((await readAll(log, topic)).length, 2)
    }
  })

  it('never passes an open transaction', async () => {
    const clock = new ManualClock()
    const log = await createMemoryLog({ clock })
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: 1_000 }])
    const producer = log.transactionalProducer({ transactionalId: 'p', transactionTimeoutMs: 10 * DAY })
    await producer.init()
    producer.begin()
    const open = new BatchBuilder('t', 0)
    open.append(null, Buffer.from('open'))
    await producer.send([open])
    await send(log, 't', [['k', 'behind']])
    clock.advance(DAY)
    await send(log, 't', [['k', 'new']])
    await log.cleaned()
    assert.equal((await log.admin.offsets([{ topic: 't', partition: 0 }]))[0]!.start, 0)
    await producer.commit()
    assert.equal((await readAll(log, 't')).length, 3)
  })
})

describe('deleted records and topics', () => {
  it('give their space back, also when the process died before it was done', async () => {
    const storage = new MemoryStorage()
    const running = new TestStorage(storage)
    const log = await openLogOn(running, {}, 0)
    await log.admin.createTopics([
      { name: 'a', partitions: 1, cleanup: 'delete', retentionMs: -1 },
      { name: 'b', partitions: 1, cleanup: 'delete', retentionMs: -1 },
    ])
    for (let i = 0; i < 600; i++) {
      await send(log, 'a', [['k', 'v']])
      await send(log, 'b', [['k', 'v']])
    }
    await log.admin.deleteRecords([{ topic: 'a', partition: 0, offset: 590 }])
    await log.admin.deleteTopic('b')
    // The cleaner has not had its turn; the next opening does it.
    running.kill()
    const reopened = await openLogOn(storage, {}, 0)
    await reopened.cleaned()
    assert.equal(segmentCount(storage), 10)
    assert.equal((await readAll(reopened, 'a')).length, 10)
  })
})

describe('compaction', () => {
  it('leaves, at any time and after any history, the last value of every key at its offset', async () => {
    const operation = fc.tuple(fc.nat(12), fc.option(fc.integer({ min: 1, max: 90 }), { freq: 5 }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(operation, { minLength: 1, maxLength: 6 }), { maxLength: 60, size: 'max' }),
        fc.integer({ min: 200, max: 3_000 }),
        async (sends, compactMinBytes) => {
          const storage = new MemoryStorage()
          const options = {
            clock: new ManualClock(),
            compactMinBytes,
            maxSegmentBytes: 700,
            tombstoneRetentionMs: DAY,
          }
          let running = new TestStorage(storage)
          let log = await openLogOn(running, options, 0)
          await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'compact', retentionMs: -1 }])
          const last = new Map<string, { offset: number; value: string | undefined }>()
          let offset = 0
          for (const [i, records] of sends.entries()) {
            const entries = records.map(([key, size]): [string, string | null] => [
              `key-${key}`,
              size === null ? null : String(offset).padEnd(size),
            ])
            await send(log, 't', entries)
            for (const [key, value] of entries) last.set(key, { offset: offset++, value: value ?? undefined })
            if (i % 7 === 6) await log.cleaned()
            if (i % 20 === 19) {
              running.kill()
              running = new TestStorage(storage)
              log = await openLogOn(running, options, 0)
            }
          }
          await log.cleaned()
          const read = await readAll(log, 't')
          read.forEach((record, i) => assert(i === 0 || record.offset > read[i - 1]!.offset))
          const found = new Map(read.map(({ key, offset: at, value }) => [key!, { offset: at, value }]))
          assert.deepEqual([...found].sort(), [...last].sort())
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('keeps a log that is rewritten over and over about as large as what is alive in it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'millrace-compact-'))
    try {
      const options = { directory, compactMinBytes: 100_000, maxSegmentBytes: 20_000 }
      const log = await openEmbeddedLog(options)
      await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'compact', retentionMs: -1 }])
      const keys = 100
      for (let round = 0; round < 200; round++) {
        await send(
          log,
          't',
          Array.from({ length: keys }, (_, k) => [`key-${k}`, String(round).padEnd(100)]),
        )
      }
      await log.cleaned()
      const read = await readAll(log, 't')
      assert(read.length < keys * 20, `${read.length} of ${keys * 200} records are left`)
      await log.close()
      const reopened = await openEmbeddedLog(options)
      assert.deepEqual(await readAll(reopened, 't'), read)
      const last = new Map(read.map(({ key, value }) => [key, value!.trim()]))
      assert.equal(last.size, keys)
      for (const value of last.values()) assert.equal(value, '199')
      await reopened.close()
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it("keeps the records' own times when it merges", async () => {
    const clock = new ManualClock()
    const log = await createMemoryLog({ clock, compactMinBytes: 1, tombstoneRetentionMs: DAY })
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    const times: number[] = []
    for (let i = 0; i < 10; i++) {
      times.push(clock.nowMs())
      await send(log, 't', [[`k${i}`, 'v']])
      clock.advance(1_000)
    }
    await log.cleaned()
    assert.deepEqual(
      (await readAll(log, 't')).map(({ timestampMs }) => timestampMs),
      times,
    )
  })

  it('keeps tombstones for a while, and then drops them with all that they covered', async () => {
    const clock = new ManualClock()
    const log = await createMemoryLog({ clock, compactMinBytes: 300, tombstoneRetentionMs: DAY })
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    const filler = async (n: number): Promise<void> => {
      for (let i = 0; i < n; i++) await send(log, 't', [['filler', 'x'.repeat(100)]])
      await log.cleaned()
    }
    await send(log, 't', [['gone', 'value']])
    await filler(3)
    await send(log, 't', [['gone', null]])
    await filler(20)
    const gone = async (): Promise<unknown[]> =>
      (await readAll(log, 't')).filter(({ key }) => key === 'gone').map(({ value }) => value)
    assert.deepEqual(await gone(), [undefined], 'the tombstone alone')
    clock.advance(DAY + 1)
    await filler(20)
    assert.deepEqual(await gone(), [])
  })

  it('lets others have their turn while it works', async () => {
    const log = await createMemoryLog({ compactMinBytes: 1_000_000, maxSegmentBytes: 20_000 })
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    for (let i = 0; i < 100; i++) {
      await send(
        log,
        't',
        Array.from({ length: 100 }, (_, k) => [`${i % 3}-${k}`, 'v'.repeat(100)]),
      )
    }
    const state = { isDone: false }
    let turns = 0
    const cleaned = log.cleaned().then(() => (state.isDone = true))
    while (!state.isDone) {
      await new Promise((resolve) => setImmediate(resolve))
      turns++
    }
    await cleaned
    assert(turns > 20, `${turns} turns`)
  })

  it('asks for keys', async () => {
    const log = await createMemoryLog()
    await log.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    const builder = new BatchBuilder('t', 0)
    builder.append(Buffer.from('k'), Buffer.from('v'))
    builder.append(null, Buffer.from('v'))
    await assert.rejects(log.idempotentProducer().send([builder]), { code: 'INVALID_STATE' })
    assert.deepEqual(await readAll(log, 't'), [])
  })
})
