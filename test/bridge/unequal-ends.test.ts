import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { files } from '../../bridge/files/files-input.ts'
import type { SourceInput, SourceReader } from '../../bridge/reader.ts'
import { openSources, type SourcesSummary } from '../../bridge/sources.ts'
import { testScale } from '../../config/test-scale.ts'
import type { Log } from '../../log/port.ts'
import type { Mark } from '../../schemas/marks.ts'
import { ManualClock } from '../log/embedded/support.ts'
import { over } from '../support/altered-log.ts'
import { FaultyLog } from './faulty-log.ts'
import { content } from './minutes.ts'
import { APPLICATION, binding, newLog, order, readTopic, Scratch, START_MS } from './support.ts'
import { until } from '../support/until.ts'

/** Of the sources whose files are short. */
const SHORT = ['orders', 'invoices', 'payments']
const LONG = 'refunds'
const SHORT_MINUTE = 5
const LONG_MINUTE = 9

const topicOf = (source: string): string => `shop.${source}`

describe('finite sources of which one is read longer than the others', () => {
  let scratch: Scratch
  let paths: string[]

  before(async () => {
    scratch = await Scratch.make()
    paths = await Promise.all(
      [...SHORT, LONG].map((name) =>
        scratch.file(`${name}.ndjson`, content([name === LONG ? LONG_MINUTE : SHORT_MINUTE])),
      ),
    )
  })
  after(() => scratch.remove())

  async function logOf(homes: number): Promise<Log> {
    const log = await newLog({ homes })
    await log.admin.createTopics(
      [...SHORT, LONG].map((name) => ({
        name: topicOf(name),
        partitions: 2,
        cleanup: 'delete',
        retentionMs: -1,
      })),
    )
    return log
  }

  /** A run whose long file gives nothing until it is let go. */
  async function start(log: Log): Promise<{
    readonly clock: ManualClock
    readonly running: Promise<SourcesSummary>
    readonly letGo: () => void
  }> {
    let isHeld = true
    const clock = new ManualClock()
    clock.advance(START_MS + 86_400_000 - clock.nowMs())
    const inputs = paths.map((path) => files({ paths: [path] }))
    const long = inputs.pop()!
    const open: SourceInput['open'] = async (context) => {
      const reader = await long.open(context)
      const read: SourceReader['read'] = (...args) =>
        isHeld ? Promise.resolve('idle') : reader.read(...args)
      return over(reader, 'read', read)
    }
    const sources = await openSources({
      log,
      application: APPLICATION,
      sources: [
        ...inputs.map((input, i) => binding(input, SHORT[i], topicOf(SHORT[i]!))),
        binding(over(long, 'open', open), LONG, topicOf(LONG)),
      ],
      deadLetterSchemaId: 3,
      finite: true,
      clock,
      backoffMs: 1,
    })
    return { clock, running: sources.run(new AbortController().signal), letGo: () => (isHeld = false) }
  }

  async function shortMarks(log: Log): Promise<Mark[][]> {
    const contents = await Promise.all(SHORT.map((name) => readTopic(log, topicOf(name))))
    return contents.flatMap(({ marks }) => marks)
  }

  async function untilRepeated(log: Log, clock: ManualClock, times: number): Promise<void> {
    await until(async () => {
      clock.advance(1_000)
      return (await shortMarks(log)).every((marks) => marks.length >= times)
    })
  }

  /** Heartbeats of where the short ones end, and behind them the end mark. */
  async function assertWell(log: Log): Promise<void> {
    const end = { kind: 'end', e: START_MS + LONG_MINUTE * 60_000 }
    for (const name of SHORT) {
      const { records, marks } = await readTopic(log, topicOf(name))
      assert.equal(records.length, 1)
      const t = START_MS + SHORT_MINUTE * 60_000 - order.disorderMs
      for (const here of marks) {
        assert.deepEqual(here.pop(), end)
        for (const mark of here) assert.deepEqual(mark, { kind: 'heartbeat', writer: name, t })
      }
    }
    const { records, marks } = await readTopic(log, topicOf(LONG))
    assert.equal(records.length, 1)
    for (const here of marks) assert.deepEqual(here.at(-1), end)
  }

  it('go on with the heartbeats of those that are read, and none of them is behind the end mark', async () => {
    for (const [homes, delayMs] of [
      [1, 0],
      [4, 0],
      [1, 20],
      [4, 20],
    ] as const) {
      const log = await logOf(homes)
      const { clock, running, letGo } = await start(new FaultyLog(log, null, delayMs))
      await untilRepeated(log, clock, 4)
      letGo()
      // Where heartbeats are due at every look, some are under way when the last source ends.
      const ticking = setInterval(() => clock.advance(1_000), 5)
      assert.equal((await running).endMarkMs, START_MS + LONG_MINUTE * 60_000)
      clearInterval(ticking)
      await assertWell(log)
      await log.close()
    }
  })

  it('go on with them when one of them could not be written, with nothing twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({ atCall: fc.integer({ min: 1, max: 50 }), after: fc.boolean() }),
        fc.constantFrom(1, 4),
        async (fault, homes) => {
          const log = await logOf(homes)
          const { clock, running, letGo } = await start(new FaultyLog(log, { ...fault, kind: 'error' }))
          await untilRepeated(log, clock, 3)
          letGo()
          assert.equal((await running).outcome, 'ended')
          await assertWell(log)
          await log.close()
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
  })

  it('say nothing behind their end mark when a further run finds nothing new', async () => {
    const log = await logOf(4)
    const first = await start(log)
    first.letGo()
    await first.running
    const before = await shortMarks(log)
    const { clock, running, letGo } = await start(log)
    for (let second = 0; second < 5; second++) {
      await sleep(300)
      clock.advance(1_000)
    }
    letGo()
    assert.equal((await running).outcome, 'ended')
    assert.deepEqual(await shortMarks(log), before)
    await log.close()
  })
})
