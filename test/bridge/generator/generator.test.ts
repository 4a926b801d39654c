import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { GeneratedRecords } from '../../../bridge/generator/generated-records.ts'
import { generator, writeGenerated } from '../../../bridge/generator/generator-input.ts'
import { Random } from '../../../bridge/generator/random.ts'
import { orderMaker } from '../../../pipelines/orders/generator.ts'
import { FaultyLog } from '../faulty-log.ts'
import {
  newLog,
  order,
  readDeadLetters,
  readTopic,
  run,
  START_MS,
  type Contents,
  stopRuns,
} from '../support.ts'
import { until } from '../../support/until.ts'

const MINUTE_MS = 60_000

/** A clock that is moved by hand. */
function clockAt(startMs: number) {
  let now = startMs
  return {
    nowMs: () => now,
    advance: (ms: number) => (now += ms),
  }
}

function records(seed: number, disorderMs = 2000) {
  const schedule = { baseIndex: 0, baseMs: START_MS, stepMs: 120 }
  return new GeneratedRecords({
    maker: orderMaker,
    seed,
    schedule,
    disorderMs,
    badShare: 0.1,
    duplicateShare: 0.1,
  })
}

function bySequence({ records }: Contents): string[] {
  return records.map((record) => JSON.stringify([record.key, record.eventTimeMs, record.watermarkMs])).sort()
}

describe('generator: made-up records that can be made again', () => {
  afterEach(stopRuns)

  it('makes record n of a seed the same, in whatever order it is asked', () => {
    const forwards = Array.from({ length: 500 }, (_, index) => records(7).textAt(index))
    const one = records(7)
    for (let index = 499; index >= 0; index--) assert.equal(one.textAt(index), forwards[index])
    assert.notDeepEqual(
      Array.from({ length: 500 }, (_, index) => records(8).textAt(index)),
      forwards,
    )
  })

  it('keeps to its shares, and every bad record is one that the contract refuses', () => {
    const made = records(1)
    const texts = Array.from({ length: 20_000 }, (_, index) => made.textAt(index))
    const refused = texts.filter((text) => !accepts(text)).length
    assert.ok(Math.abs(refused / texts.length - 0.1) < 0.01, `${refused} refused`)
    const repeated = texts.length - new Set(texts).size
    assert.ok(Math.abs(repeated / texts.length - 0.08) < 0.02, `${repeated} repeated`)
  })

  it('draws evenly', () => {
    const random = new Random()
    const counts = new Array<number>(10).fill(0)
    for (let index = 0; index < 100_000; index++) counts[random.seed(3, index).below(10)]!++
    for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, counts.join(' '))
  })

  it('never puts a record behind its own promise, in its history or live', async () => {
    const log = await newLog()
    const clock = clockAt(START_MS)
    const input = generator({ maker: orderMaker, count: 5_000, duplicateShare: 0.1, ratePerMinute: 300 })
    const summary = await run({ log, input, clock, transaction: { maxRecords: 100 } })
    assert.equal(summary.sources[0]!.processed + summary.sources[0]!.invalid, 5_000)
    assert.equal(summary.sources[0]!.behindWatermark, 0)
    const { records } = await readTopic(log)
    for (const { eventTimeMs, watermarkMs } of records) {
      assert.ok(eventTimeMs >= (watermarkMs ?? -Infinity))
      assert.ok(eventTimeMs <= START_MS)
    }
    assert.equal((await readDeadLetters(log)).length, summary.sources[0]!.invalid)
  })

  it('goes on behind the last commit after a crash, with the records that it would have made', async () => {
    const options = { maker: orderMaker, count: 4_500, seed: 5 }
    const transaction = { maxRecords: 500 }
    const whole = await newLog()
    await run({ log: whole, input: generator(options), clock: clockAt(START_MS), transaction })
    const broken = await newLog()
    for (const atCall of [3, 4, 5]) {
      for (const after of [true, false]) {
        const faulty = new FaultyLog(broken, { atCall, kind: 'crash', after })
        const running = run({ log: faulty, input: generator(options), clock: clockAt(START_MS), transaction })
        await Promise.race([running, faulty.crashed])
      }
    }
    await run({ log: broken, input: generator(options), clock: clockAt(START_MS), transaction })
    const keys = (contents: Contents) =>
      contents.records.map(({ key, eventTimeMs }) => `${key} ${eventTimeMs}`).sort()
    assert.deepEqual(keys(await readTopic(broken)), keys(await readTopic(whole)))
  })

  it('fills in its history, then goes on live, and moves T while no record is due', async () => {
    const log = await newLog()
    const clock = clockAt(START_MS)
    const stop = new AbortController()
    const running = run({
      log,
      input: generator({
        maker: orderMaker,
        ratePerMinute: 1,
        sinceMs: 60 * MINUTE_MS,
        badShare: 0,
        duplicateShare: 0,
      }),
      clock,
      finite: false,
      signal: stop.signal,
      transaction: { maxMs: 0 },
    })
    await until(async () => (await readTopic(log)).records.length === 61)
    // 30 s on, nothing is due, and still T follows the clock.
    clock.advance(MINUTE_MS / 2)
    const disorderMs = 2 * MINUTE_MS
    const expectedT = START_MS + MINUTE_MS / 2 - disorderMs
    await until(async () => {
      const { marks } = await readTopic(log)
      return marks.every((here) => here.some((mark) => mark.kind === 'heartbeat' && mark.t === expectedT))
    })
    assert.equal((await readTopic(log)).records.length, 61)
    clock.advance(MINUTE_MS / 2)
    await until(async () => (await readTopic(log)).records.length === 62)
    stop.abort()
    await running
  })

  it('does not begin a new history when it starts again, but makes up for the time between', async () => {
    const log = await newLog()
    const clock = clockAt(START_MS)
    const input = generator({
      maker: orderMaker,
      ratePerMinute: 10,
      sinceMs: 10 * MINUTE_MS,
      badShare: 0,
      duplicateShare: 0,
    })
    await run({ log, input, clock })
    assert.equal((await readTopic(log)).records.length, 101)
    clock.advance(5 * MINUTE_MS)
    const summary = await run({ log, input, clock })
    assert.equal(summary.sources[0]!.processed, 50)
    assert.equal(summary.sources[0]!.behindWatermark, 0)
  })

  it('goes on where it stood in time when the rate is another', async () => {
    const log = await newLog()
    const clock = clockAt(START_MS)
    const options = { maker: orderMaker, badShare: 0, duplicateShare: 0, sinceMs: 10 * MINUTE_MS }
    await run({ log, input: generator({ ...options, ratePerMinute: 10 }), clock })
    clock.advance(MINUTE_MS)
    const summary = await run({ log, input: generator({ ...options, ratePerMinute: 60 }), clock })
    // Its next record lay a tenth of a minute ahead; from there on, one a second.
    assert.equal(summary.sources[0]!.processed, 55)
  })

  it('adds nothing when all that it was to make has been made', async () => {
    const log = await newLog()
    const input = generator({ maker: orderMaker, count: 100 })
    await run({ log, input })
    const before = bySequence(await readTopic(log))
    const summary = await run({ log, input })
    assert.equal(summary.endMarkMs, null)
    assert.deepEqual(bySequence(await readTopic(log)), before)
  })

  it('catches up no faster than it is told to', async () => {
    const log = await newLog()
    const clock = clockAt(START_MS)
    const stop = new AbortController()
    const options = { maker: orderMaker, sinceMs: 60 * MINUTE_MS, maxRecordsPerSecond: 1000 }
    const running = run({
      log,
      input: generator(options),
      clock,
      finite: false,
      signal: stop.signal,
      transaction: { maxMs: 0 },
    })
    await until(async () => (await count(log)) > 0)
    clock.advance(1000)
    await until(async () => (await count(log)) >= 1001)
    stop.abort()
    await running
    assert.equal(await count(log), 1001)
  })

  it('writes NDJSON no faster than it is taken', async () => {
    const output = new PassThrough({ highWaterMark: 1024 })
    const read = text(output)
    await writeGenerated(output, { maker: orderMaker, count: 1_000, badShare: 0 }, START_MS)
    output.end()
    const lines = (await read).split('\n')
    assert.equal(lines.pop(), '')
    assert.equal(lines.length, 1_000)
    for (const line of lines) assert.ok(accepts(line))
  })

  it('refuses settings that cannot be', () => {
    const maker = orderMaker
    assert.throws(() => generator({ maker, ratePerMinute: 0 }), { code: 'BAD_SOURCE', message: /rate 0/ })
    assert.throws(() => generator({ maker, badShare: 1.5 }), { code: 'BAD_SOURCE' })
    assert.throws(() => generator({ maker, seed: 0.5 }), { code: 'BAD_SOURCE' })
  })
})

function accepts(line: string): boolean {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    return false
  }
  return typeof order.check(json, START_MS, START_MS) === 'number'
}

async function count(log: Parameters<typeof readTopic>[0]): Promise<number> {
  return (await readTopic(log)).records.length + (await readDeadLetters(log)).length
}
