import assert from 'node:assert/strict'
import type { SourceNotice } from '../../bridge/errors.ts'
import { files } from '../../bridge/files/files-input.ts'
import { partitionOfSource } from '../../bridge/positions.ts'
import { openSources } from '../../bridge/sources.ts'
import { LogError } from '../../log/errors.ts'
import { deposedLeader, inFront } from '../support/altered-log.ts'
import { FaultyLog } from './faulty-log.ts'
import { assertAsModel, content } from './minutes.ts'
import {
  APPLICATION,
  binding,
  newLog,
  readDeadLetters,
  readTopic,
  run,
  Scratch,
  START_MS,
  stopRuns,
} from './support.ts'
import { until } from '../support/until.ts'

describe('the end mark of a run', () => {
  let scratch: Scratch

  before(async () => {
    scratch = await Scratch.make()
  })
  afterEach(stopRuns)
  after(() => scratch.remove())

  it('is written in the next run when this one died between the last record and the mark', async () => {
    const log = await newLog()
    const path = await scratch.file('unmarked.ndjson', content([1, 2, 3]))
    const input = files({ paths: [path] })
    // init; send and commit of the opened record and of the data; send is the mark's.
    const faulty = new FaultyLog(log, { atCall: 6, kind: 'crash', after: false })
    void run({ log: faulty, input })
    await faulty.crashed
    assert.deepEqual(
      (await readTopic(log)).marks.flat().filter(({ kind }) => kind === 'end'),
      [],
    )
    const summary = await run({ log, input })
    assert.equal(summary.endMarkMs, START_MS + 3 * 60_000)
    assert.equal(summary.sources[0]!.processed, 0)
    assertAsModel(await readTopic(log), [1, 2, 3])
  })

  it('is not written when nothing valid was read', async () => {
    const log = await newLog()
    const path = await scratch.file('nothing.ndjson', content([null, null]))
    const summary = await run({ log, input: files({ paths: [path] }) })
    assert.equal(summary.endMarkMs, null)
    assert.deepEqual((await readTopic(log)).marks.flat(), [])
    assert.equal((await readDeadLetters(log)).length, 2)
  })

  it('is left to who has taken over in front of it', async () => {
    const log = await newLog({ homes: 1 })
    const path = await scratch.file('taken-over.ndjson', content([1, 2]))
    const notices: SourceNotice[] = []
    const stop = new AbortController()
    let commits = 0
    // The opened record is committed first, then the records, and then the mark.
    const fencing = inFront(log, 'commit', async () => {
      if (++commits !== 3) return
      await log.transactionalProducer({ transactionalId: `${APPLICATION}-source-0` }).init()
    })
    const input = files({ paths: [path] })
    const running = run({ log: fencing, input, finite: true, signal: stop.signal, notices })
    await until(async () => Promise.resolve(notices.some(({ code }) => code === 'FENCED')))
    stop.abort()
    assert.equal((await running).outcome, 'stopped')
    const { records, marks } = await readTopic(log)
    assert.equal(records.length, 2)
    assert.ok(!marks.flat().some(({ kind }) => kind === 'end'))
  })

  it('ends the run with the error when the log refuses it for good', async () => {
    const log = await newLog({ homes: 1 })
    const path = await scratch.file('refused.ndjson', content([1, 2]))
    let commits = 0
    let inits = 0
    const failing = inFront(log, 'commit', () => {
      if (++commits === 3) throw new LogError('OUTCOME_UNKNOWN', 'the answer was lost')
    })
    const refusing = inFront(failing, 'init', () => {
      if (++inits === 2) throw new LogError('UNAUTHORIZED', 'the id is not allowed')
    })
    await assert.rejects(run({ log: refusing, input: files({ paths: [path] }) }), { code: 'UNAUTHORIZED' })
    assert.equal((await readTopic(log)).records.length, 2)
  })

  it('closes what was read, also where the leader of its positions is deposed while it reads', async () => {
    const log = await newLog({ homes: 1 })
    const path = await scratch.file('deposed-later.ndjson', content([1, 2]))
    const place = { topic: 'shop.sources', partition: 0 }
    // As the opening sees it: right behind the opened record.
    const atOpening = { start: 0, stable: 1, end: 1 }
    const summary = await run({
      log: deposedLeader(log, place.topic, atOpening, 4),
      input: files({ paths: [path] }),
    })
    assert.equal(summary.endMarkMs, START_MS + 2 * 60_000)
    assertAsModel(await readTopic(log), [1, 2])
    const second = await run({ log, input: files({ paths: [path] }) })
    assert.deepEqual([second.endMarkMs, second.sources[0]!.processed], [null, 0])
  })

  it('is said once that it cannot be written, and the run pauses longer and longer', async () => {
    const log = await newLog({ homes: 1 })
    const path = await scratch.file('unwritten.ndjson', content([1, 2]))
    const notices: SourceNotice[] = []
    const stop = new AbortController()
    let commits = 0
    let refused = 0
    // Of the opened record and of the records; those of opened records on.
    const failing = inFront(log, 'commit', () => {
      if (++commits <= 2 || commits % 2 === 0) return
      if (++refused === 5) stop.abort()
      throw new LogError('UNAVAILABLE', 'nobody leads the partition')
    })
    const input = files({ paths: [path] })
    const { outcome } = await run({ log: failing, input, signal: stop.signal, notices })
    assert.equal(outcome, 'stopped')
    assert.deepEqual(
      notices.map(({ code }) => code),
      ['RETRYING'],
    )
  })

  it('is one for all sources of a run, of the greatest event time, whoever ends last', async () => {
    const log = await newLog()
    const other = 'shop.refunds'
    await log.admin.createTopics([{ name: other, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
    const one = await scratch.file('orders.ndjson', content([9]))
    const two = await scratch.file('refunds.ndjson', content([30, 20]))
    const sources = await openSources({
      log,
      application: APPLICATION,
      sources: [binding(files({ paths: [one] })), binding(files({ paths: [two] }), 'refunds', other)],
      deadLetterSchemaId: 3,
      finite: true,
    })
    const summary = await sources.run(new AbortController().signal)
    assert.equal(summary.endMarkMs, START_MS + 30 * 60_000)
    for (const topic of [undefined, other]) {
      const { marks } = await readTopic(log, topic)
      for (const here of marks) assert.deepEqual(here.at(-1), { kind: 'end', e: START_MS + 30 * 60_000 })
    }
  })

  it('is one for a run that two processes share, when the last of them has read its part', async () => {
    const log = await newLog()
    const other = 'shop.refunds'
    await log.admin.createTopics([{ name: other, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
    const name = ['refunds', 'returns', 'invoices', 'payments'].find(
      (name) => partitionOfSource(name, 4) !== partitionOfSource('orders', 4),
    )!
    const one = await scratch.file('shared-orders.ndjson', content([9, 8, 7]))
    const two = await scratch.file('shared-refunds.ndjson', content([30, 20]))
    const started = [1, 2].map(async () => {
      const sources = await openSources({
        log,
        application: APPLICATION,
        sources: [
          binding(files({ paths: [one], chunkBytes: 10 })),
          binding(files({ paths: [two], chunkBytes: 10 }), name, other),
        ],
        deadLetterSchemaId: 3,
        finite: true,
      })
      return sources.run(new AbortController().signal)
    })
    const summaries = await Promise.all(started)
    assert.deepEqual(
      summaries.flatMap(({ endMarkMs }) => endMarkMs ?? []),
      [START_MS + 30 * 60_000],
    )
    const processed = summaries.flatMap(({ sources }) => sources.map((source) => source.processed))
    assert.equal(
      processed.reduce((a, b) => a + b),
      5,
    )
    for (const [topic, records] of [
      ['shop.order-events', 3],
      [other, 2],
    ] as const) {
      const contents = await readTopic(log, topic)
      assert.equal(contents.records.length, records)
      for (const here of contents.marks) assert.equal(here.filter(({ kind }) => kind === 'end').length, 1)
    }
  })
})
