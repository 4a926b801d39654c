import assert from 'node:assert/strict'
import { appendFile } from 'node:fs/promises'
import fc from 'fast-check'
import type { SourceNotice } from '../../bridge/errors.ts'
import { files } from '../../bridge/files/files-input.ts'
import { generator } from '../../bridge/generator/generator-input.ts'
import { partitionOfSource } from '../../bridge/positions.ts'
import { openSources } from '../../bridge/sources.ts'
import { testScale } from '../../config/test-scale.ts'
import { lastValues } from '../../log/last-values.ts'
import { partitionsOf } from '../../log/partitions.ts'
import type { Log } from '../../log/port.ts'
import { orderMaker } from '../../pipelines/orders/generator.ts'
import { deposedLeader } from '../support/altered-log.ts'
import { FaultyLog, MortalInput, type Fault } from './faulty-log.ts'
import { assertAsModel, content } from './minutes.ts'
import {
  APPLICATION,
  binding,
  newLog,
  orderLine,
  readDeadLetters,
  readTopic,
  run,
  Scratch,
  START_MS,
  stopRuns,
} from './support.ts'
import { until } from '../support/until.ts'

const arbitraryMinutes = fc.array(
  fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 600 }) }, fc.constant(null)),
  {
    maxLength: 60,
  },
)

const arbitraryFault: fc.Arbitrary<Fault> = fc.record({
  atCall: fc.integer({ min: 1, max: 30 }),
  kind: fc.constantFrom('crash', 'error'),
  after: fc.boolean(),
})

describe('sources: what they write, whatever happens', () => {
  let scratch: Scratch

  before(async () => {
    scratch = await Scratch.make()
  })
  afterEach(stopRuns)
  after(() => scratch.remove())

  it('holds each record once, with its watermark by the model, after any faults and restarts', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryMinutes,
        fc.array(arbitraryFault, { maxLength: 4 }),
        fc.record({
          chunkBytes: fc.integer({ min: 1, max: 400 }),
          maxRecords: fc.integer({ min: 1, max: 20 }),
          partitions: fc.constantFrom(1, 4, 8),
        }),
        async (minutes, faults, { chunkBytes, maxRecords, partitions }) => {
          const log = await newLog({ partitions })
          const path = await scratch.file('model.ndjson', content(minutes))
          const input = files({ paths: [path], chunkBytes })
          for (const fault of [...faults, null]) {
            const faulty = new FaultyLog(log, fault)
            const mortal = new MortalInput(input)
            const running = run({ log: faulty, input: mortal, transaction: { maxRecords } })
            await Promise.race([running, faulty.crashed])
            await mortal.close()
          }
          assertAsModel(await readTopic(log), minutes)
          const refused = minutes.flatMap((minute, id) => (minute === null ? [id] : []))
          assert.equal((await readDeadLetters(log)).length, refused.length)
          await log.close()
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('keeps two sources of one partition whole when the log fails under both', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryMinutes,
        arbitraryMinutes,
        fc.record({ atCall: fc.integer({ min: 2, max: 30 }), after: fc.boolean() }),
        async (minutes, otherMinutes, fault) => {
          const log = await newLog({ homes: 1 })
          const other = 'shop.refunds'
          await log.admin.createTopics([{ name: other, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
          const one = await scratch.file('two-1.ndjson', content(minutes))
          const two = await scratch.file('two-2.ndjson', content(otherMinutes))
          const sources = await openSources({
            log: new FaultyLog(log, { ...fault, kind: 'error' }),
            application: APPLICATION,
            sources: [
              binding(files({ paths: [one], chunkBytes: 100 })),
              binding(files({ paths: [two], chunkBytes: 100 }), 'refunds', other),
            ],
            deadLetterSchemaId: 3,
            finite: true,
            backoffMs: 1,
            transaction: { maxRecords: 3 },
          })
          await sources.run(new AbortController().signal)
          const isValid = (minute: number | null): boolean => minute !== null
          assert.equal((await readTopic(log)).records.length, minutes.filter(isValid).length)
          assert.equal((await readTopic(log, other)).records.length, otherMinutes.filter(isValid).length)
          await log.close()
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('fills the next transaction, and no other, while a slow log takes the one before', async () => {
    const log = await newLog()
    const minutes = Array.from({ length: 200 }, (_, id) => id)
    const path = await scratch.file('slow.ndjson', content(minutes))
    const slow = new FaultyLog(log, null, 5)
    await run({
      log: slow,
      input: files({ paths: [path], chunkBytes: 1000 }),
      transaction: { maxRecords: 1 },
    })
    assertAsModel(await readTopic(log), minutes)
  })

  it('carries the same watermarks with 1, 4 and 8 partitions and any transaction size', async () => {
    const minutes = Array.from({ length: 300 }, (_, id) => (id * 7919) % 500)
    const path = await scratch.file('same.ndjson', content(minutes))
    const seen: string[] = []
    for (const [partitions, maxRecords] of [
      [1, 10_000],
      [4, 1],
      [8, 7],
    ] as const) {
      const log = await newLog({ partitions })
      await run({ log, input: files({ paths: [path], chunkBytes: 1000 }), transaction: { maxRecords } })
      const { records, marks } = await readTopic(log)
      assert.equal(marks.length, partitions)
      const rows = records.map(({ key, eventTimeMs, watermarkMs, value }) =>
        JSON.stringify([key, eventTimeMs, watermarkMs, value]),
      )
      seen.push(rows.sort().join())
    }
    assert.equal(seen[1], seen[0])
    assert.equal(seen[2], seen[0])
  })

  it('says in every partition that it is there, also while its records are behind T', async () => {
    const log = await newLog()
    const minutes = [500, ...Array.from({ length: 30 }, (_, id) => id)]
    const path = await scratch.file('behind.ndjson', content(minutes))
    let nowMs = START_MS
    await run({
      log,
      input: files({ paths: [path], chunkBytes: 100 }),
      transaction: { maxRecords: 1 },
      clock: { nowMs: () => (nowMs += 100) },
    })
    const { marks } = await readTopic(log)
    for (const here of marks) {
      const beats = here.filter(({ kind }) => kind === 'heartbeat')
      assert.ok(beats.length > 2, `${beats.length} heartbeats`)
    }
  })

  it('counts the records that come behind the watermark', async () => {
    const log = await newLog()
    const path = await scratch.file('late.ndjson', content([0, 200, 139, 140, 10]))
    const summary = await run({ log, input: files({ paths: [path] }) })
    assert.deepEqual(summary.sources, [
      {
        name: 'orders',
        processed: 5,
        invalid: 0,
        behindWatermark: 2,
        bytes: content([0, 200, 139, 140, 10]).length - 5,
      },
    ])
  })

  it('adds nothing in a second run of the same input', async () => {
    const log = await newLog()
    const path = await scratch.file('twice.ndjson', content([1, 2, null, 3]))
    const input = files({ paths: [path] })
    const first = await run({ log, input })
    const before = await contents(log)
    const second = await run({ log, input })
    assert.deepEqual(await contents(log), before)
    assert.equal(first.endMarkMs, START_MS + 3 * 60_000)
    assert.equal(second.endMarkMs, null)
    assert.equal(second.sources[0]!.processed, 0)
    assert.equal(second.outcome, 'ended')
  })

  it('adds the further file only, and ends with its greatest event time', async () => {
    const log = await newLog()
    const one = await scratch.file('one.ndjson', content([5, 100]))
    const two = await scratch.file('two.ndjson', `${orderLine(7, 50)}\n`)
    await run({ log, input: files({ paths: [one] }) })
    const summary = await run({ log, input: files({ paths: [one, two] }) })
    assert.equal(summary.sources[0]!.processed, 1)
    assert.equal(summary.endMarkMs, START_MS + 50 * 60_000)
    const { records } = await readTopic(log)
    assert.equal(records.find(({ key }) => key === 'o-7')!.watermarkMs, START_MS + 40 * 60_000)
  })

  it('says once that the log refuses writes, and once that it writes again', async () => {
    const log = await newLog()
    const notices: SourceNotice[] = []
    const path = await scratch.file('retry.ndjson', content([1, 2, 3]))
    const faulty = new FaultyLog(log, { atCall: 5, kind: 'error', after: true })
    await run({ log: faulty, input: files({ paths: [path] }), notices })
    assert.deepEqual(
      notices.map(({ code }) => code),
      ['RETRYING', 'RECOVERED'],
    )
    assertAsModel(await readTopic(log), [1, 2, 3])
  })

  it('hands over to a second process when the first stops, with nothing twice', async () => {
    const log = await newLog()
    const path = await scratch.file('two-processes.ndjson', content([1, 2, 3]))
    const input = files({ paths: [path], pollMs: 1 })
    const first = new AbortController()
    const second = new AbortController()
    const running = [first, second].map(({ signal }) => run({ log, input, finite: false, signal }))
    await until(async () => (await readTopic(log)).records.length === 3)
    first.abort()
    await running[0]
    await appendFile(path, `${orderLine(3, 4)}\n${orderLine(4, 5)}\n`)
    await until(async () => (await readTopic(log)).records.length === 5)
    second.abort()
    await running[1]
    const { records } = await readTopic(log)
    assert.deepEqual(records.map(({ key }) => key).sort(), ['o-0', 'o-1', 'o-2', 'o-3', 'o-4'])
  })

  it('stops writing when another process has fenced it, and says so', async () => {
    const log = await newLog({ homes: 1 })
    const path = await scratch.file('fenced.ndjson', content([1]))
    const notices: SourceNotice[] = []
    const stop = new AbortController()
    const running = run({
      log,
      input: files({ paths: [path], pollMs: 1 }),
      finite: false,
      signal: stop.signal,
      notices,
    })
    await until(async () => (await readTopic(log)).records.length === 1)
    await log.transactionalProducer({ transactionalId: `${APPLICATION}-source-0` }).init()
    await appendFile(path, `${orderLine(1, 2)}\n`)
    await until(async () => notices.some(({ code }) => code === 'FENCED'))
    stop.abort()
    await running
    assert.equal((await readTopic(log)).records.length, 1)
  })

  it('reads nothing twice when a deposed leader of its positions tells an old end', async () => {
    const log = await newLog({ homes: 1 })
    const path = await scratch.file('deposed.ndjson', content([1, 2]))
    const [old] = await log.admin.offsets([{ topic: 'shop.sources', partition: 0 }])
    const input = files({ paths: [path] })
    await run({ log, input })
    await appendFile(path, content([null, null, 3]))
    await run({ log: deposedLeader(log, 'shop.sources', old!, 5), input })
    const { records } = await readTopic(log)
    assert.deepEqual(records.map(({ key }) => key).sort(), ['o-0', 'o-1', 'o-2'])
  })

  it('is held by its gate, and commits what it had read before it waits', async () => {
    const log = await newLog()
    const minutes = Array.from({ length: 50 }, (_, id) => id)
    const path = await scratch.file('gate.ndjson', content(minutes))
    let chunks = 0
    const opened = Promise.withResolvers<undefined>()
    const running = run({
      log,
      input: files({ paths: [path], chunkBytes: 500 }),
      gate: () => (++chunks > 3 ? opened.promise : undefined),
    })
    await until(async () => (await readTopic(log)).records.length > 0)
    const held = (await readTopic(log)).records.length
    assert.ok(held < 50)
    chunks = -Infinity
    opened.resolve(undefined)
    await running
    assert.equal((await readTopic(log)).records.length, 50)
  })

  it('ends at a transaction boundary when it is told to stop, and goes on from there', async () => {
    const log = await newLog()
    const minutes = Array.from({ length: 200 }, (_, id) => id)
    const path = await scratch.file('stop.ndjson', content(minutes))
    const input = files({ paths: [path], chunkBytes: 300 })
    const stop = new AbortController()
    let chunks = 0
    const summary = await run({
      log,
      input,
      signal: stop.signal,
      gate: () => {
        if (++chunks === 10) stop.abort()
        return undefined
      },
    })
    assert.equal(summary.outcome, 'stopped')
    const before = (await readTopic(log)).records.length
    assert.ok(before > 0 && before < 200)
    assert.equal(summary.sources[0]!.processed, before)
    await run({ log, input })
    assertAsModel(await readTopic(log), minutes)
  })

  it('refuses to run without its topics, naming the one that is missing', async () => {
    const log = await newLog()
    await log.admin.deleteTopic('shop.dead-letters')
    await assert.rejects(run({ log, input: generator({ maker: orderMaker }) }), {
      code: 'SOURCE_TOPIC_MISSING',
      message: /shop\.dead-letters/,
    })
  })
})

/** Where the topics end, and where the sources stand. */
async function contents(log: Log): Promise<unknown> {
  const topics = await log.admin.describeTopics(['shop.order-events', 'shop.dead-letters'])
  const places = topics.flatMap((topic) => partitionsOf(topic!.name, topic!.partitions))
  const home = { topic: 'shop.sources', partition: partitionOfSource('orders', 4) }
  const positions = await lastValues(log, home, { barrier: -1, onWait: () => undefined })
  positions.delete('opened')
  return { ends: await log.admin.offsets(places), positions }
}
