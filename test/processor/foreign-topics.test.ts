import assert from 'node:assert/strict'
import fc from 'fast-check'
import windowedTotals, { event as measured } from '../../bench/windowed-totals.ts'
import { testScale } from '../../config/test-scale.ts'
import { BatchBuilder } from '../../log/batch.ts'
import { partitionFor } from '../../log/partitioner.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import { namedTopics, planPipeline } from '../../processor/topology/plan.ts'
import { count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { topic } from '../../schemas/destinations.ts'
import { double, long, optional, schema, string, timestamp } from '../../schemas/schema.ts'
import { writeHeader } from '../../schemas/wire.ts'
import { follow, schedules } from './schedule.ts'

const START = Date.UTC(2026, 0, 1)
const NOW = START + 3_600_000
const IN = 'others.payments'
const OUT = 'others.totals'
const SIZE = 10_000
const GRACE = 5_000
const DISORDER = 8_000

const payment = contract(
  'Payment',
  { payer: string(), happened: optional(timestamp()), amount: double() },
  {
    id: ['payer', 'happened'],
    key: 'payer',
    eventTime: 'happened',
    disorder: DISORDER,
    maxAge: '1d',
    maxAhead: '10m',
  },
)
interface Payment {
  readonly payer: string
  readonly happened: number | null
  readonly amount: number
}

const total = schema('Total', { payer: string(), window_start: timestamp(), count: long(), sum: double() })

function pipelineOf(options: { encoding?: 'registry' | 'bare'; dedupeHorizon?: '1h' } = {}): Pipeline {
  return definePipeline({
    name: 'foreign',
    sources: { payments: source('payments', payment, { topic: IN, ...options }) },
    build({ payments }) {
      payments
        .groupBy('payer')
        .window(tumbling(SIZE, { grace: GRACE }))
        .aggregate('totals', { count: count(), sum: sum((p) => p.amount) }, { emit: 'updates' })
        .map(({ payer, window_start, count: n, sum: s }) => ({ payer, window_start, count: n, sum: s }), {
          as: total,
        })
        .to(topic('payer-totals', { format: 'json', topic: OUT }))
    },
  })
}

interface Total {
  readonly payer: string
  readonly window_start: number
  readonly count: number
  readonly sum: number
}

describe('a topic that others write', () => {
  let driver: PipelineDriver
  let partitions: number

  async function open(
    pipeline: Pipeline,
    options: Parameters<typeof PipelineDriver.open>[1] = {},
  ): Promise<void> {
    partitions = options.partitions ?? 1
    driver = await PipelineDriver.open(pipeline, { startMs: NOW, ...options, partitions })
    await driver.log.admin.createTopics([{ name: IN, partitions, cleanup: 'delete', retentionMs: -1 }])
  }

  async function send(values: readonly (Payment | Buffer | null)[], schemaId?: number): Promise<void> {
    const builders = Array.from({ length: partitions }, (_, partition) => new BatchBuilder(IN, partition))
    for (const value of values) {
      const isPayment = value !== null && !Buffer.isBuffer(value)
      const key = Buffer.from(isPayment ? value.payer : 'k')
      const builder = builders[partitionFor(key, partitions)]!
      builder.beginKey()
      builder.writer.bytes(key)
      builder.beginValue()
      if (schemaId !== undefined) writeHeader(builder.writer, schemaId)
      if (isPayment) payment.schema.encode(builder.writer, value)
      else if (value !== null) builder.writer.bytes(value)
      builder.end(value === null)
    }
    const producer = driver.log.idempotentProducer()
    await producer.send(builders.filter(({ count: n }) => n > 0))
    await producer.close()
  }

  /** The values as they stand in the topic, in order by partition. */
  async function written(): Promise<string[]> {
    const texts: string[] = []
    for (let partition = 0; partition < partitions; partition++) {
      const [range] = await driver.log.admin.offsets([{ topic: OUT, partition }])
      const reader = driver.log.partitionReader({ topic: OUT, partition }, range!.start)
      for (let batch = await reader.read(2 ** 20); batch !== null; batch = await reader.read(2 ** 20)) {
        for (let i = 0; i < batch.count; i++) texts.push(batch.valueAt(i)!.toString('utf8'))
      }
      await reader.close()
    }
    return texts
  }

  const lateCount = async (): Promise<number> => (await driver.rows('totals-late')).length

  afterEach(() => driver.close())

  it('is read as it is, and what comes of it is written as JSON under the name that is given', async () => {
    await open(pipelineOf({ encoding: 'bare' }))
    await send([
      { payer: 'Zoë "Z"', happened: START + 1, amount: 1.5 },
      { payer: 'Zoë "Z"', happened: START + 2, amount: 2 },
    ])
    await driver.settle()
    assert.deepEqual(await written(), [`{"payer":"Zoë \\"Z\\"","window_start":${START},"count":2,"sum":3.5}`])
  })

  it('is read behind the header of the registry, and refused where no schema explains a value', async () => {
    await open(pipelineOf())
    const id = driver.schemaIds.get(`${IN}-value`)!
    await send([{ payer: 'a', happened: START, amount: 1 }], id)
    await send([{ payer: 'a', happened: START, amount: 1 }], id + 99)
    await send([Buffer.from('not avro'), null])
    await driver.settle()
    assert.equal((await written()).length, 1)
    assert.deepEqual(
      (await driver.deadLetters()).map(({ source: name }) => name),
      [IN, IN, IN],
    )
  })

  it('has its time from its records: late is what lies further back than the disorder and the grace', async () => {
    await open(pipelineOf({ encoding: 'bare' }))
    const closes = START + SIZE + GRACE + DISORDER
    await send([
      { payer: 'a', happened: START, amount: 1 },
      { payer: 'a', happened: closes - 1, amount: 1 },
      { payer: 'a', happened: START + 1, amount: 1 },
      { payer: 'a', happened: closes, amount: 1 },
      { payer: 'a', happened: START + 2, amount: 1 },
    ])
    await driver.settle()
    const first = (await written()).map((text) => JSON.parse(text) as Total)[0]!
    assert.deepEqual([first.window_start, first.count], [START, 2])
    const [late] = await driver.rows('totals-late')
    assert.deepEqual(
      [late!['happened'], late!['watermark'], late!['late_mark']],
      [START + 2, closes - DISORDER, 'watermark'],
    )
  })

  it('gives a record without event time the time of its own timestamp', async () => {
    await open(pipelineOf({ encoding: 'bare' }))
    await send([{ payer: 'a', happened: null, amount: 1 }])
    await driver.settle()
    assert.equal((JSON.parse((await written())[0]!) as Total).window_start, NOW)
  })

  it('is not carried away by an event that lies too far from its timestamp', async () => {
    await open(pipelineOf({ encoding: 'bare' }))
    await send([
      { payer: 'a', happened: NOW + 600_001, amount: 1 },
      { payer: 'a', happened: NOW - 86_400_001, amount: 1 },
      { payer: 'a', happened: NOW, amount: 1 },
    ])
    await driver.settle()
    assert.equal((await written()).length, 1)
    const letters = await driver.deadLetters()
    assert.deepEqual(
      letters.map(({ field }) => field),
      ['happened', 'happened'],
    )
    assert.match(letters[0]!.reason, /600001 ms after its timestamp: the contract allows 600000/)
    assert.equal(await lateCount(), 0)
  })

  it('keeps repetitions unless a horizon for them is given', async () => {
    const twice = [0, 0].map(() => ({ payer: 'a', happened: START, amount: 1 }))
    for (const [options, expected] of [
      [{}, 2],
      [{ dedupeHorizon: '1h' as const }, 1],
    ] as const) {
      await open(pipelineOf({ encoding: 'bare', ...options }))
      await send(twice)
      await driver.settle()
      assert.equal((JSON.parse((await written())[0]!) as Total).count, expected)
      await driver.close()
    }
    await open(pipelineOf())
  })

  it('is aggregated by its key where its records lie, in as many tasks as it has partitions', async () => {
    await open(pipelineOf())
    const named = new Map([
      [IN, 3],
      [OUT, 5],
    ])
    assert.deepEqual(namedTopics(pipelineOf()), [IN, OUT])
    const plan = planPipeline(pipelineOf(), { partitions: 8, named })
    assert.deepEqual(
      plan.subTopologies.map(({ inputTopic, partitions: n, stores }) => [inputTopic, n, stores.length]),
      [[IN, 3, 1]],
    )
    assert.ok(
      plan.topics.every(({ name }) => name !== IN),
      'it is not ours to make',
    )
    assert.equal(plan.topics.find(({ name }) => name === OUT)!.partitions, 5)
  })

  it('is measured by an ordinary pipeline, which counts and sums as it says', async () => {
    driver = await PipelineDriver.open(windowedTotals, { partitions: 1, startMs: NOW })
    const [from, to] = namedTopics(windowedTotals)
    await driver.log.admin.createTopics([{ name: from!, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const builder = new BatchBuilder(from!, 0)
    for (const [minute, amount] of [
      [0, 1],
      [4, 2],
      [5, 4],
    ] as const) {
      builder.beginKey()
      builder.writer.utf8('key-1')
      builder.beginValue()
      measured.schema.encode(builder.writer, {
        key: 'key-1',
        event_time: START + minute * 60_000,
        amount,
        payload: 'x'.repeat(170),
      })
      builder.end()
    }
    const producer = driver.log.idempotentProducer()
    await producer.send([builder])
    await producer.close()
    await driver.settle()
    const batch = await driver.log.partitionReader({ topic: to!, partition: 0 }, 0).read(2 ** 20)
    assert.deepEqual(
      [0, 1].map((i) => batch!.valueAt(i)!.toString('utf8')),
      [
        `{"key":"key-1","window_start":${START},"count":2,"sum":3}`,
        `{"key":"key-1","window_start":${START + 300_000},"count":1,"sum":4}`,
      ],
    )
  })

  it('gives the same totals and late records for any disorder, batches, crashes and lost state', async function () {
    this.timeout(300_000)
    const given = fc.record({ payer: fc.constantFrom('a', 'b', 'c', 'd', 'e'), atMs: fc.nat(90_000) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(given, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 6 }),
        schedules,
        fc.constantFrom(1, 2, 5),
        fc.constantFrom(1, 3, 1_000),
        fc.constantFrom(0, 64 * 1024 * 1024),
        async (parts, schedule, count, commitRecords, cacheBytes) => {
          await open(pipelineOf({ encoding: 'bare' }), {
            partitions: count,
            worker: { commitRecords, cacheBytes, fetchBytes: 200, commitIntervalMs: 0 },
          })
          const sent: Payment[] = []
          for (const part of parts) {
            const values = part.map(({ payer, atMs }, i) => {
              return { payer, happened: START + atMs, amount: 2 ** (sent.length + i) }
            })
            sent.push(...values)
            await send(values)
            await follow(schedule, driver)
          }
          await driver.settle()
          const rows = (await written()).map((text) => JSON.parse(text) as Total)
          const last = new Map(rows.map((row) => [`${row.payer}@${row.window_start}`, row]))
          const expected = modelOf(sent, count)
          assert.deepEqual(
            [...last].map(([id, row]) => [id, row.count, row.sum]).sort(),
            [...expected.totals].map(([id, row]) => [id, row.count, row.sum]).sort(),
          )
          assert.equal(await lateCount(), expected.late)
          await driver.close()
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
    await open(pipelineOf())
  })
})

/** What must come out, from the order of each partition alone. */
function modelOf(
  sent: readonly Payment[],
  partitions: number,
): { totals: Map<string, { count: number; sum: number }>; late: number } {
  const totals = new Map<string, { count: number; sum: number }>()
  const greatest = new Map<number, number>()
  let late = 0
  for (const { payer, happened, amount } of sent) {
    const partition = partitionFor(Buffer.from(payer), partitions)
    const before = greatest.get(partition) ?? -Infinity
    greatest.set(partition, Math.max(before, happened!))
    const start = Math.floor(happened! / SIZE) * SIZE
    if (before - DISORDER >= start + SIZE + GRACE) {
      late++
      continue
    }
    const entry = totals.get(`${payer}@${start}`) ?? { count: 0, sum: 0 }
    totals.set(`${payer}@${start}`, { count: entry.count + 1, sum: entry.sum + amount })
  }
  return { totals, late }
}
